"""Runs beside each other: a table of means and deviations, a plot, and the paired bootstrap between two runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from diptych.exceptions import MissingExtra, UsageError
from diptych.metrics.bootstrap import PairedBootstrap, paired_bootstrap
from diptych.models.registry import find_task
from diptych.training.folder import RunFolder
from diptych.training.results import Spread, plain_table, spread
from diptych.training.task import Line, PaperTable, Task

__all__ = ["Group", "bootstrap_runs", "comparison_text", "draw", "group_runs", "leading"]


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in their seed alone."""

    model: str
    row: str
    """``full``, or an ablation's or baseline's name"""
    on: str
    """``dataset@version, split``"""
    preset: str
    runs: tuple[str, ...]
    metrics: Mapping[str, Spread]
    paper: Mapping[str, float]
    """the paper's figures of the same row, as shares; other data"""

    @property
    def label(self) -> str:
        """Model and row."""
        return f"{self.model} {self.row}"


def group_runs(runs: Sequence[RunFolder]) -> tuple[Group, ...]:
    """Runs by model, row, version and settings, in the order given; series with a seed in common stay apart.

    :class:`UsageError` for an unfinished one, and for one that is named twice: it would count as two seeds.
    """
    series: dict[tuple[str, ...], list[tuple[RunFolder, Any, Any]]] = {}
    seen: set[tuple[str, str]] = set()
    for run in runs:
        if (run.store.name, run.path) in seen:
            raise UsageError(f"run {run.model}/{run.run} is named twice; name each run once")
        seen.add((run.store.name, run.path))
        about = run.about()
        if "task" not in about:
            raise UsageError(f"run {run.model}/{run.run} was not made by `diptych train`; only such runs are compared")
        if about.get("status") != "finished":
            raise UsageError(f"run {run.model}/{run.run} is not finished: diptych train --resume {run.model}/{run.run}")
        results = run.read_json("results.json")
        on = f"{about['dataset']}@{about['version']}, {results['split']}"
        settings = str(sorted(run.read_json("config.json").items()))
        key = (run.model, results["row"], on, about["preset"], settings)
        series.setdefault((*key, str(about.get("series"))), []).append((run, about, results))
    found: dict[tuple[Any, ...], list[tuple[RunFolder, Any, Any]]] = {}
    for (*key, _), members in series.items():
        place, seeds = 0, {about["seed"] for _, about, _ in members}
        while any(about["seed"] in seeds for _, about, _ in found.get((*key, place), ())):
            place += 1
        found.setdefault((*key, place), []).extend(members)
    groups = []
    for (model, row, on, preset, *_), members in found.items():
        results = members[0][2]
        metrics = [r["metrics"][r["split"]] for _, _, r in members]
        paper: dict[str, Any] = results["paper"] or {"rows": {}}
        table = PaperTable("", "", {}, paper["rows"], paper.get("scale", 1.0), paper.get("unscaled", ()))
        groups.append(
            Group(
                model, row, on, preset,
                tuple(run.run for run, _, _ in members),
                {name: spread([m.get(name) for m in metrics]) for name in metrics[0]},
                {name: value / table.factor(name) for name, value in table.rows.get(row, {}).items()},
            )
        )  # fmt: skip
    return tuple(groups)


def leading(metrics: Mapping[str, float | None], task: str) -> dict[str, float | None]:
    """Metrics in the order of the paper's table, others after them; as they are when the task cannot be found."""
    try:
        paper = find_task(task).paper
    except (UsageError, ImportError):
        paper = None
    columns = paper.columns if paper is not None else {}
    return {name: metrics[name] for name in dict.fromkeys([*(c for c in columns if c in metrics), *metrics])}


def comparison_text(groups: Sequence[Group], metrics: Sequence[str] = ()) -> str:
    """A table with a line for each group, and the paper's figures below each that the paper has."""
    names = list(metrics) or list(dict.fromkeys(name for group in groups for name in group.metrics))
    unknown = [n for n in names if not any(n in group.metrics for group in groups)]
    if unknown:
        known = ", ".join(dict.fromkeys(n for group in groups for n in group.metrics))
        raise UsageError(f"no metric {', '.join(unknown)}; there are {known}")
    rows = []
    for group in groups:
        empty = Spread(math.nan, math.nan, 0)
        shown = [group.metrics.get(name, empty).text() for name in names]
        rows.append([group.label, group.on, str(len(group.runs)), *shown])
        if any(name in group.paper for name in names):
            figures = [f"{group.paper[n]:.4f}" if n in group.paper else "-" for n in names]
            rows.append(["  paper, other data", "", "", *figures])
    return plain_table(["", "on", "runs", *names], rows)


_PANELS = 4
"""Metrics in a row of the picture: more would be too small to read on a page."""


def draw(groups: Sequence[Group], metrics: Sequence[str], form: str) -> bytes:
    """A picture (``png``, ``svg``, ``pdf``): one panel a metric, a bar a group, its deviation, the paper's figure."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("matplotlib", "report") from None
    names = list(metrics) or list(dict.fromkeys(n for g in groups for n in g.metrics))
    wide = min(_PANELS, len(names))
    high = math.ceil(len(names) / wide)
    figure = Figure(figsize=(1.6 + 3.2 * wide, 0.4 + high * (0.8 + 0.45 * len(groups))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(high, wide, sharey=True, squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    places = np.arange(len(groups))
    empty = Spread(math.nan, math.nan, 0)
    paper: list[Any] = []
    for axis, name in zip(axes, names, strict=False):
        found = [g.metrics.get(name, empty) for g in groups]
        means = [0.0 if math.isnan(s.mean) else s.mean for s in found]
        spreads = [0.0 if math.isnan(s.deviation) else s.deviation for s in found]
        axis.barh(places, means, xerr=spreads, height=0.6, color="#4a7ab5", ecolor="#1b2a3d", capsize=3)
        printed = [(place, g.paper[name]) for place, g in zip(places, groups, strict=True) if name in g.paper]
        if printed:
            heights, figures = zip(*printed, strict=True)
            paper = axis.plot(figures, heights, "D", color="#c4622d", markersize=5, label="paper, other data")
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    if paper:
        figure.legend(handles=paper, fontsize=7, loc="outside lower right")
    several = len({g.on for g in groups}) > 1
    axes[0].set_yticks(places, [f"{g.label}\n{g.on}" if several else g.label for g in groups])
    axes[0].invert_yaxis()
    if not several:
        figure.suptitle(groups[0].on, fontsize=9)
    buffer = BytesIO()
    figure.savefig(buffer, format=form, dpi=150)
    return buffer.getvalue()


def bootstrap_runs(
    task: Task, first: Sequence[Line], second: Sequence[Line], metric: str, *, samples: int = 1000
) -> PairedBootstrap:
    """The paired bootstrap of a metric over the rows that both runs predicted."""
    mine, other = ({str(line["id"]): line for line in lines} for lines in (first, second))
    shared = [key for key in mine if key in other]
    if not shared:
        raise UsageError("the two runs have predicted no row in common")

    def of(lines: Mapping[str, Line]) -> Any:
        def measure(rows: np.ndarray) -> float:
            found = task.evaluate([lines[shared[n]] for n in rows])
            if metric not in found:
                raise UsageError(f"no metric {metric!r}; there are {', '.join(found)}")
            return float(found[metric])

        return measure

    return paired_bootstrap(len(shared), of(mine), of(other), samples=samples)
