"""Rows of CSV and TSV text: each with the line it begins on, none hidden in the quotes of another.

A row of one line that cannot be read is left out. A quoted value that runs over several lines and ends wrongly may
have taken in any number of rows, so it ends the reading, with the line on which its quote opens.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from diptych.exceptions import SourceError
from diptych.sources.malformed import Malformed

__all__ = ["check_header", "read_csv", "read_header"]

_REMEDY = 'close the quote, or write one that belongs to the text as two ("")'


def read_csv(
    path: Path, text: Iterable[str], delimiter: str, malformed: Malformed
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, values by column) of each good row; raises :class:`SourceError` where rows would be lost unseen.

    ``text`` is UTF-8 read with ``surrogateescape``.
    """
    rows = _rows(path, text, delimiter, malformed)
    header = _header(path, rows, delimiter, malformed)
    for number, values in rows:
        if len(values) != len(header):
            hint = f"; a value with {delimiter!r} stands in quotes" if len(values) > len(header) else ""
            malformed.add(path, f"line {number}", f"{len(header)} columns", f"{len(values)}{hint}: {values}")
        elif _is_other(values):
            malformed.add(path, f"line {number}", "UTF-8", ascii(values))
        else:
            yield number, dict(zip(header, values, strict=True))


def read_header(path: Path, text: Iterable[str], delimiter: str, malformed: Malformed) -> list[str]:
    """The columns; empty for a file without a line."""
    return _header(path, _rows(path, text, delimiter, malformed), delimiter, malformed)


def check_header(path: Path, header: Sequence[str], delimiter: str) -> None:
    """:class:`SourceError` when the first line has one column only because something else separates them."""
    other = next((c for c in ",;\t|" if c != delimiter and len(header) == 1 and c in header[0]), "")
    if other:
        raise SourceError(
            f"{path}, line 1: expected columns separated by {delimiter!r}, found {header[0][:200]!r}, separated by "
            f"{other!r}; save it with {delimiter!r} (a .csv has commas, a .tsv tabs)"
        )


def _header(path: Path, rows: Iterator[tuple[int, list[str]]], delimiter: str, malformed: Malformed) -> list[str]:
    broken = len(malformed.lines)
    number, values = next(rows, (1, []))
    if len(malformed.lines) > broken:  # what follows a header that cannot be read is no header
        raise SourceError(f"source {malformed.source!r}, {malformed.lines[broken]}")
    if _is_other(values):
        raise SourceError(f"{path}, line {number}: expected columns in UTF-8, found {ascii(values)[:200]}; save it so")
    header = [name.strip() for name in values]
    check_header(path, header, delimiter)
    return header


def _is_other(values: list[str]) -> bool:
    """Whether some value has bytes that are no UTF-8."""
    return any("\udc80" <= char <= "\udcff" for value in values if not value.isascii() for char in value)


class _Lines:
    """Passes lines on, and keeps those of the row that is being read."""

    def __init__(self, text: Iterable[str]) -> None:
        self._lines = iter(text)
        self.kept: list[str] = []
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.ended = True
            raise
        self.kept.append(line)
        return line


def _rows(path: Path, text: Iterable[str], delimiter: str, malformed: Malformed) -> Iterator[tuple[int, list[str]]]:
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        lines.kept.clear()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if lines.ended or len(lines.kept) > 1:
                began = number + _opened(lines.kept, delimiter)
                found = "the file ends inside it" if lines.ended else str(error)
                raise SourceError(
                    f"source {malformed.source!r}, {path}, line {began}: expected a quoted value that is closed, "
                    f"found, in line {reader.line_num}: {found}; {_REMEDY}"
                ) from None
            malformed.add(path, f"line {number}", f"a CSV row ({_REMEDY})", error)
            continue
        if values:
            yield number, values


def _opened(lines: list[str], delimiter: str) -> int:
    """Which of the lines of a broken row its last quoted value begins on, counted from 0."""
    found, state = 0, "before"
    for place, line in enumerate(lines):
        for char in line:
            if state == "quoted":
                state = "closing" if char == '"' else state
            elif char == '"' and state != "plain":
                found = place if state == "before" else found
                state = "quoted"
            elif char == delimiter:
                state = "before"
            elif state == "closing" and char not in "\r\n":
                return found
            else:
                state = "plain"
    return found
