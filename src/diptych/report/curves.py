"""How a training went, as a picture: the loss of each epoch and what was measured on dev."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from diptych.exceptions import MissingExtra

__all__ = ["draw_curves"]

MOST = 6
"""Panels: the loss and what was measured first."""
WIDE = 3
"""Panels side by side."""


def draw_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes | None:
    """A PNG of runs by name with the epochs of their ``metrics.json``; None when nothing was fitted.

    One panel for the loss, one for each value of dev; epochs are counted through all phases.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "report") from None
    names = list(dict.fromkeys(n for epochs in runs.values() for e in epochs for n in e["dev"]))[: MOST - 1]
    if not any(runs.values()):
        return None
    panels = [("train loss", "train", "loss"), *((f"dev {n}", "dev", n) for n in names)]
    wide = min(WIDE, len(panels))
    high = -(-len(panels) // wide)
    figure = Figure(figsize=(3.1 * wide, 2.4 * high), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(high, wide, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.axis("off")
    for axis, (title, group, name) in zip(axes, panels, strict=False):
        for run, epochs in runs.items():
            points = [(n + 1, e[group].get(name)) for n, e in enumerate(epochs)]
            kept = [(n, v) for n, v in points if isinstance(v, int | float) and math.isfinite(v)]
            if kept:
                axis.plot(*zip(*kept, strict=True), marker="o", markersize=3, linewidth=1.4, label=run)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    if len(runs) > 1:
        axes[0].legend(fontsize=7)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
