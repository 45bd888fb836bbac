"""How a training went, as a picture: the loss of each epoch and what was measured on dev."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from diptych.exceptions import MissingExtra

__all__ = ["draw_curves"]

MOST = 5
"""Panels: the loss and so many of what was measured."""


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
    figure = Figure(figsize=(3.4 * (1 + len(names)), 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(names), squeeze=False)[0]
    for axis, (title, group, name) in zip(
        axes, [("train loss", "train", "loss"), *((f"dev {n}", "dev", n) for n in names)], strict=True
    ):
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
