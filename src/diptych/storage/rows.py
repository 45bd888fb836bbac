"""Row tables: for one part, which segment holds each row, from which input, with which outcome and digest.

A row table is small (about 150 bytes a row), content-addressed in ``lists/`` and enough to plan a build, to
compare two versions and to find one row; no value has to be read for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import pyarrow as pa

from diptych.exceptions import StoreError
from diptych.naming import HASH_BYTES
from diptych.stage import Status

__all__ = ["ROWS_SCHEMA", "Counts", "RowPlace", "count_rows", "empty_rows", "index_rows", "make_rows", "places"]

_HASH = pa.binary(HASH_BYTES)

ROWS_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("segment", pa.int32()),  # index into the part's segments
        ("row", pa.int64()),  # row of that segment's table
        ("input_hash", _HASH),
        ("status", pa.string()),
        ("code", pa.string()),
        ("exact", _HASH),
        ("floats", _HASH),
    ]
)


@dataclass(frozen=True)
class Counts:
    """Rows by status."""

    ok: int = 0
    rejected: int = 0
    skipped: int = 0
    failed_transient: int = 0
    failed_permanent: int = 0

    @property
    def total(self) -> int:
        """All rows."""
        return self.ok + self.rejected + self.skipped + self.failed

    @property
    def failed(self) -> int:
        """Rows that count against the recipe's limit."""
        return self.failed_transient + self.failed_permanent

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    def as_dict(self) -> dict[str, int]:
        """Status name to number of rows."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, statuses: pa.ChunkedArray | pa.Array) -> Self:
        """Count the values of a status column; :class:`StoreError` on an unknown status."""
        found = {item["values"]: item["counts"] for item in statuses.value_counts().to_pylist()}
        unknown = sorted(str(name) for name in set(found) - {str(s) for s in Status})
        if unknown:
            raise StoreError(f"unknown status {', '.join(unknown)}; known are {', '.join(Status)}")
        return cls(**{str(name): count for name, count in found.items()})


class RowPlace(NamedTuple):
    """Where one row is and what it was made from."""

    segment: int
    row: int
    input_hash: bytes
    status: str


def make_rows(
    *,
    keys: Sequence[str],
    segment: Sequence[int],
    row: Sequence[int],
    input_hash: Sequence[bytes],
    status: Sequence[str],
    code: Sequence[str],
    exact: Sequence[bytes],
    floats: Sequence[bytes],
) -> pa.Table:
    """A row table from its columns; :class:`StoreError` when a key occurs twice."""
    columns = [keys, segment, row, input_hash, status, code, exact, floats]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, ROWS_SCHEMA, strict=True)], schema=ROWS_SCHEMA)
    check_keys(table)
    return table


def empty_rows() -> pa.Table:
    """A row table of a shard without rows."""
    return ROWS_SCHEMA.empty_table()


def check_keys(rows: pa.Table) -> None:
    """Raise :class:`StoreError` when a key occurs twice or is missing."""
    keys = rows["key"]
    if keys.null_count:
        raise StoreError("a row has no key")
    if len(keys.unique()) != rows.num_rows:
        twice = next(k["values"] for k in keys.value_counts().to_pylist() if k["counts"] > 1)
        raise StoreError(f"row key {twice!r} occurs twice in one shard; keys must be distinct")


def index_rows(rows: pa.Table) -> dict[str, int]:
    """Row key to position in the row table."""
    return {key: i for i, key in enumerate(rows["key"].to_pylist())}


def places(rows: pa.Table) -> dict[str, RowPlace]:
    """Row key to its place: what a build compares input hashes with."""
    names = ("segment", "row", "input_hash", "status")
    columns = [rows[name].to_pylist() for name in names]
    return {key: RowPlace(*values) for key, *values in zip(rows["key"].to_pylist(), *columns, strict=True)}


def count_rows(rows: pa.Table) -> Counts:
    """Rows by status."""
    return Counts.of(rows["status"])
