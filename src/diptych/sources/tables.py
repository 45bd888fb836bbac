"""Rows of CSV, TSV, JSONL (also gzipped) and Parquet files, one after the other, with the number of their line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import RecipeError, SourceError
from diptych.sources.malformed import Malformed

__all__ = ["SUFFIXES", "Row", "check_header", "column_names", "extra_json", "read_rows", "table_format", "text_of"]

Row = dict[str, Any]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LONGEST = 64 << 20
_BATCH = 1024


def table_format(path: Path) -> str:
    """``csv``, ``tsv``, ``jsonl`` or ``parquet``, by the name (without ``.gz``); :class:`RecipeError` for others."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in SUFFIXES:
        raise RecipeError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)} (or .gz), found {suffix!r}")
    return "jsonl" if suffix == ".ndjson" else suffix[1:]


def read_rows(path: Path, malformed: Malformed) -> Iterator[tuple[int, Row]]:
    """(line or row number, values by column); lines that cannot be read go to ``malformed``, and reading goes on."""
    kind = table_format(path)
    try:
        if kind == "parquet":
            yield from _parquet(path)
        elif kind == "jsonl":
            with _open(path) as file:
                yield from _jsonl(path, file, malformed)
        else:
            with _open(path) as file:
                text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
                yield from _csv(path, text, "\t" if kind == "tsv" else ",", malformed)
    except (OSError, EOFError, pa.ArrowException) as error:  # a torn archive, a disk that fails
        raise SourceError(f"source {malformed.source!r}, {path}: cannot be read to its end: {error}") from error


def column_names(path: Path, malformed: Malformed) -> frozenset[str]:
    """Columns of the file (of JSONL: of its first object)."""
    if table_format(path) == "parquet":
        try:
            return frozenset(pq.read_schema(path).names)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"source {malformed.source!r}, {path}: expected a Parquet file: {error}") from error
    return frozenset(next(read_rows(path, malformed), (0, {}))[1])


def text_of(row: Row, column: str) -> str:
    """One value as text: empty for an absent one; a list has one line for each item."""
    value = row.get(column) if column else None
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "\n".join(" ".join(str(item).split()) for item in value if item is not None)
    return value.strip() if isinstance(value, str) else str(value)


def extra_json(values: Row) -> str:
    """JSON of the values that are not empty, sorted by name; empty when there are none."""
    kept = {name: value for name, value in values.items() if value is not None and value != ""}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str) if kept else ""


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, row


def _jsonl(path: Path, file: IO[bytes], malformed: Malformed) -> Iterator[tuple[int, Row]]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if not line.strip():
            continue
        try:
            value = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError) as error:
            malformed.add(path, f"line {number}", "a JSON object", f"{line[:60]!r} ({error})")
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            malformed.add(path, f"line {number}", "a JSON object", value)


def check_header(path: Path, header: Sequence[str], delimiter: str) -> None:
    """:class:`SourceError` when the first line has one column only because something else separates them."""
    other = next((c for c in ",;\t|" if c != delimiter and len(header) == 1 and c in header[0]), "")
    if other:
        raise SourceError(
            f"{path}, line 1: expected columns separated by {delimiter!r}, found {header[0][:200]!r}, separated by "
            f"{other!r}; save it with {delimiter!r} (a .csv has commas, a .tsv tabs)"
        )


def _csv(path: Path, text: io.TextIOWrapper, delimiter: str, malformed: Malformed) -> Iterator[tuple[int, Row]]:
    rows = csv.reader(text, delimiter=delimiter)
    header: list[str] | None = None
    while True:
        number = rows.line_num + 1
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            malformed.add(path, f"line {number}", "a CSV row", error)
            continue
        if header is None:
            header = [name.strip() for name in values]
            check_header(path, header, delimiter)
        elif not values:
            continue
        elif len(values) != len(header):
            malformed.add(path, f"line {number}", f"{len(header)} columns", f"{len(values)}: {values}")
        elif any("\udc80" <= char <= "\udcff" for value in values if not value.isascii() for char in value):
            malformed.add(path, f"line {number}", "UTF-8", ascii(values))
        else:
            yield number, dict(zip(header, values, strict=True))
