"""Results as text and JSON: our row beside the paper's table, several seeds as mean and deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.training.config import Departure, Plain
from diptych.training.task import PaperTable

__all__ = ["Spread", "plain_table", "results_text", "spread"]


@dataclass(frozen=True)
class Spread:
    """A metric over runs that differ in their seed; the deviation is that of a sample (n - 1), nan for one run."""

    mean: float
    deviation: float
    runs: int

    def text(self, scale: float = 1.0, digits: int = 4) -> str:
        """As ``48.19 ± 0.31``."""
        mean = "-" if math.isnan(self.mean) else f"{self.mean * scale:.{digits}f}"
        return mean if math.isnan(self.deviation) else f"{mean} ± {self.deviation * scale:.{digits}f}"


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and deviation of the values there are."""
    found = np.array([v for v in values if v is not None and not math.isnan(v)], np.float64)
    if not len(found):
        return Spread(math.nan, math.nan, 0)
    return Spread(float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else math.nan, len(found))


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first to the left, the others to the right."""
    widths = [max(len(str(row[n])) for row in [columns, *rows]) for n in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(str(c).rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join([line(columns), "  ".join("-" * w for w in widths), *(line(row) for row in rows)])


def results_text(
    title: str,
    name: str,
    metrics: Mapping[str, Spread],
    paper: PaperTable | None,
    departures: Sequence[Departure] = (),
    intervals: Mapping[str, Sequence[float]] | None = None,
    fitted: Mapping[str, float] | None = None,
) -> str:
    """One run's (or several seeds') test metrics beside the paper's table, and the settings that are not printed.

    ``fitted`` are figures of the training itself, on dev.
    """
    parts = [title]
    if paper is None:
        parts.append(plain_table(["metric", "ours"], [[n, s.text()] for n, s in metrics.items()]))
    else:
        digits = 2 if paper.scale > 1 else 4
        columns = [m for m in paper.columns if m in metrics or any(m in row for row in paper.rows.values())]
        row = [f"ours: {name}", *(metrics[m].text(paper.factor(m), digits) if m in metrics else "-" for m in columns)]
        rows = [
            [f"paper: {other}{' *' if other == name else ''}", *(_figure(figures.get(m), digits) for m in columns)]
            for other, figures in paper.rows.items()
        ]
        ours = [row]
        if intervals:
            ours.append(["  95 % interval", *(_interval(intervals.get(m), paper.factor(m), digits) for m in columns)])
        parts.append(plain_table(["", *(paper.columns[m] for m in columns)], [*ours, *rows]))
        parts.append(f"paper: {paper.source}, other data ({paper.data}); * the same configuration")
        parts[-1] += "".join(f"\nnote: {note}" for note in paper.notes)
        others = [[n, s.text()] for n, s in metrics.items() if n not in paper.columns]
        if others:
            parts.append(plain_table(["metric", "ours"], others))
    if fitted:
        parts.append(plain_table(["of the training, on dev", "ours"], [[n, f"{v:.4f}"] for n, v in fitted.items()]))
    if departures:
        rows = [
            [d.field, _short(d.value), _short(d.printed) if d.printed is not None else "silent", d.why]
            for d in departures
        ]
        parts.append("Settings that are not the paper's printed value:\n" + _listing(rows))
    return "\n\n".join(parts) + "\n"


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(ends: Sequence[float] | None, scale: float, digits: int) -> str:
    return "-" if ends is None or math.isnan(ends[0]) else f"{ends[0] * scale:.{digits}f}..{ends[1] * scale:.{digits}f}"


def _short(value: Plain) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def _listing(rows: Sequence[Sequence[Any]]) -> str:
    widths = [max(len(r[n]) for r in rows) for n in range(3)]
    return "\n".join(
        f"  {r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  (paper: {r[2]})".ljust(sum(widths) + 18) + f"{r[3]}".rstrip()
        for r in rows
    )
