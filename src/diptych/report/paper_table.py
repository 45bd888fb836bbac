"""The table in which a paper describes its data, with our figures beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Cell", "DataTable", "Figures", "aligned", "table_lines", "table_of"]


@dataclass(frozen=True)
class Cell:
    """One figure of ours and of the paper; None where there is none."""

    ours: float | int | None
    paper: float | int | None


@dataclass(frozen=True)
class DataTable:
    """A table of a paper: ``rows`` maps a label to one cell a column."""

    title: str
    """with the table's number in the paper"""
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    notes: tuple[str, ...] = ()

    def ours(self, row: str, column: str) -> float | int | None:
        """Our figure; KeyError or ValueError when the table has no such place."""
        return self.rows[row][self.columns.index(column)].ours


Figures = Sequence[float | int | None]


def table_of(
    title: str,
    columns: Sequence[str],
    ours: Mapping[str, Figures],
    paper: Mapping[str, Figures],
    notes: Sequence[str] = (),
) -> DataTable:
    """A table whose rows are ours in their order; a row that the paper lacks has no paper figures, and likewise."""
    none: Figures = (None,) * len(columns)
    rows = {
        label: tuple(Cell(a, b) for a, b in zip(ours.get(label, none), paper.get(label, none), strict=True))
        for label in dict.fromkeys([*ours, *paper])
    }
    return DataTable(title, tuple(columns), rows, tuple(notes))


def table_lines(table: DataTable) -> list[str]:
    """For a terminal: two columns for each of the table's, ours and the paper's."""
    head = ["", *(text for column in table.columns for text in (column, "paper"))]
    body = [
        [label, *(_figure(value) for cell in cells for value in (cell.ours, cell.paper))]
        for label, cells in table.rows.items()
    ]
    return [table.title, *aligned([head, *body]), *(f"  {note}" for note in table.notes)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, the first to the left, the others to the right."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(
            c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _figure(value: float | int | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
