"""Rows of CSV, TSV, JSONL (also gzipped) and Parquet files, one after the other, with the number of their line."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import RecipeError, SourceError
from diptych.sources.csv_rows import read_csv, read_header
from diptych.sources.fields import Wrong, load_json, shown
from diptych.sources.malformed import Malformed

__all__ = [
    "SUFFIXES",
    "Row",
    "batch_rows",
    "check_texts",
    "column_names",
    "extra_json",
    "read_rows",
    "table_format",
    "text_of",
]

Row = dict[str, Any]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LONGEST = 64 << 20
_BATCH = 1024
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def table_format(path: Path, otherwise: str = "") -> str:
    """``csv``, ``tsv``, ``jsonl`` or ``parquet``, by the name (without ``.gz``).

    Other names are of the format ``otherwise``, where it is given; else :class:`RecipeError`.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES and not otherwise:
        raise RecipeError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)} (or .gz), found {suffix!r}")
    if suffix not in SUFFIXES:
        return otherwise
    return "jsonl" if suffix == ".ndjson" else suffix[1:]


def read_rows(path: Path, malformed: Malformed, otherwise: str = "") -> Iterator[tuple[int, Row]]:
    """(line or row number, values by column); rows that cannot be read go to ``malformed``, and reading goes on.

    Raises :class:`SourceError` when the file breaks off, or a broken quote may hide any number of rows.
    """
    kind = table_format(path, otherwise)
    try:
        if kind == "parquet":
            yield from _parquet(path, malformed)
        elif kind == "jsonl":
            with _open(path) as file:
                yield from _jsonl(path, file, malformed)
        else:
            with _open(path) as file, _text(file) as text:
                yield from read_csv(path, _lines(text), _DELIMITERS[kind], malformed)
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeDecodeError) as error:  # torn; a disk that fails
        raise SourceError(f"source {malformed.source!r}, {path}: cannot be read to its end: {error}") from error


def column_names(path: Path, malformed: Malformed, otherwise: str = "") -> frozenset[str]:
    """Columns of the file (of JSONL: of its first object)."""
    kind = table_format(path, otherwise)
    if kind == "parquet":
        try:
            return frozenset(pq.read_schema(path).names)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            raise SourceError(f"source {malformed.source!r}, {path}: expected a Parquet file: {error}") from error
    if kind == "jsonl":
        return frozenset(next(read_rows(path, malformed, kind), (0, {}))[1])
    try:
        with _open(path) as file, _text(file) as text:
            return frozenset(read_header(path, _lines(text), _DELIMITERS[kind], malformed))
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"source {malformed.source!r}, {path}: cannot be read: {error}") from error


def batch_rows(batch: pa.RecordBatch, first: int, path: Path, malformed: Malformed) -> Iterator[tuple[int, Row]]:
    """(number, values) of the rows of a Parquet batch; those that no Python value can hold go to ``malformed``."""
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError):  # text that is no UTF-8, a date that no calendar has
        rows = None
    if rows is not None:
        yield from enumerate(rows, first)
        return
    for place in range(batch.num_rows):
        try:
            (row,) = batch.slice(place, 1).to_pylist()
        except (ValueError, OverflowError) as error:
            malformed.add(path, f"row {first + place}", "values that can be read", error)
            continue
        yield first + place, row


def check_texts(row: Row, columns: Iterable[str]) -> None:
    """:class:`Wrong` for the first of the columns that holds neither text (or a number) nor a list of those."""
    for column in columns:
        value = row.get(column)
        items = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(item, dict | list | tuple | bytes) for item in items):
            raise Wrong(column, "text or a list of texts", shown(value))


def text_of(row: Row, column: str) -> str:
    """One value as text: empty for an absent one (or NaN); a list has one line for each item."""
    value = row.get(column) if column else None
    if value is None or value != value:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(" ".join(str(item).split()) for item in value if item is not None)
    return value.strip() if isinstance(value, str) else str(value)


def extra_json(values: Row) -> str:
    """JSON of the values that are not empty (nor NaN), sorted by name; empty when there are none."""
    kept = {name: value for name, value in values.items() if value is not None and value != "" and value == value}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str) if kept else ""


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _text(file: IO[bytes]) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines; of one that is longer than memory should hold, the pieces."""
    return iter(lambda: text.readline(_LONGEST), "")


def _parquet(path: Path, malformed: Malformed) -> Iterator[tuple[int, Row]]:
    number = 1
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            yield from batch_rows(batch, number, path, malformed)
            number += batch.num_rows


def _jsonl(path: Path, file: IO[bytes], malformed: Malformed) -> Iterator[tuple[int, Row]]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if not line.strip():
            continue
        try:
            value = load_json(line.removeprefix(b"\xef\xbb\xbf"))
        except ValueError as error:
            why = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            malformed.add(path, f"line {number}", "a JSON object", f"{line[:60]!r} ({why})")
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            malformed.add(path, f"line {number}", "a JSON object", value)
