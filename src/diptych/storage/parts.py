"""Parts: one shard of one stage in one version, as a row table over segments; and the lists of parts.

A part list of a stage is at most 32 *chunks* of consecutive shards. A chunk is a list (content-addressed), so a
version that changed one shard of 100,000 writes one chunk and names the other 31 of its parent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from diptych.exceptions import Corrupt, StoreError
from diptych.storage.canonical import table_digest
from diptych.storage.part_reader import PartReader
from diptych.storage.rows import ROWS_SCHEMA, Counts, check_keys, count_rows, empty_rows
from diptych.storage.segment_info import FileRef, SegmentRef

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = [
    "MAX_CHUNKS",
    "Part",
    "PartReader",
    "StageTotals",
    "assemble",
    "groups",
    "make_part",
    "part_digests",
    "read_chunk",
    "stage_totals",
    "write_chunk",
]

Item = TypeVar("Item")

MAX_CHUNKS = 32
_CHUNKS_KEPT = 16


@dataclass(frozen=True)
class Part:
    """One shard of one stage; ``input``, ``exact`` and ``floats`` are digests over its rows in order."""

    shard: int
    rows: str
    """Name of the row table in ``lists/``."""
    segments: tuple[SegmentRef, ...]
    counts: Counts
    bytes: int
    """Size of its segments; segments that other versions share count whole."""
    input: str
    exact: str
    floats: str

    @property
    def dead(self) -> int:
        """Rows of its segments that no row of the part uses."""
        return sum(s.rows for s in self.segments) - self.counts.total


def assemble(
    keys: Sequence[str], sources: Sequence[tuple[pa.Table, Sequence[SegmentRef]]]
) -> tuple[pa.Table, list[SegmentRef]]:
    """A row table with exactly ``keys``, in that order, from row tables and their segments; later sources win.

    :class:`StoreError` names a key that no source has. The result goes to :func:`make_part`.
    """
    segments: list[SegmentRef] = []
    tables: list[pa.Table] = []
    position: dict[str, int] = {}
    rows = 0
    for table, refs in sources:
        numbers = pa.array(table["segment"].to_numpy() + np.int32(len(segments)))
        tables.append(table.set_column(1, ROWS_SCHEMA.field("segment"), numbers))
        position.update((key, rows + i) for i, key in enumerate(table["key"].to_pylist()))
        segments.extend(refs)
        rows += table.num_rows
    missing = [key for key in keys if key not in position]
    if missing:
        raise StoreError(
            f"{len(missing)} of {len(keys)} rows were neither computed nor reused, the first is {missing[0]}"
        )
    if not keys:
        return empty_rows(), []
    return pa.concat_tables(tables).take(pa.array([position[k] for k in keys], pa.int64())), segments


def make_part(store: Store, shard: int, row_table: pa.Table, segments: Sequence[SegmentRef]) -> Part:
    """Store a row table and return the part; segments that no row uses are dropped, equal ones merged."""
    if row_table.schema.names != ROWS_SCHEMA.names:
        raise StoreError(f"not a row table: expected {ROWS_SCHEMA.names}, found {row_table.schema.names}")
    table = row_table.cast(ROWS_SCHEMA)
    check_keys(table)
    used = sorted(table["segment"].unique().to_pylist())
    if used and not 0 <= used[0] <= used[-1] < len(segments):
        raise StoreError(f"shard {shard}: rows name segments {used[0]} to {used[-1]}, given are {len(segments)}")
    kept = {segments[i].path: segments[i] for i in used}
    order = {path: i for i, path in enumerate(kept)}
    renumber = np.zeros(len(segments) + 1, np.int32)
    for i in used:
        renumber[i] = order[segments[i].path]
    numbers = renumber[table["segment"].to_numpy()]
    table = table.set_column(1, ROWS_SCHEMA.field("segment"), pa.array(numbers, pa.int32()))
    _check_rows_in_segments(shard, table, list(kept.values()))
    return Part(
        shard=shard,
        rows=store.lists.put(table),
        segments=tuple(kept.values()),
        counts=count_rows(table),
        bytes=sum(s.bytes for s in kept.values()),
        **part_digests(table),
    )


def part_digests(rows: pa.Table) -> dict[str, str]:
    """``input``, ``exact`` and ``floats`` of a part from its row table; where the rows lie does not matter."""
    names = {"input": ["key", "input_hash", "status"], "exact": ["key", "exact"], "floats": ["key", "floats"]}
    return {name: table_digest(rows.select(columns)) for name, columns in names.items()}


def _check_rows_in_segments(shard: int, table: pa.Table, segments: Sequence[SegmentRef]) -> None:
    if table.num_rows:
        limits = np.array([s.rows for s in segments])[table["segment"].to_numpy()]
        rows = table["row"].to_numpy()
        if rows.min() < 0 or (rows >= limits).any():
            key = table["key"][int(np.argmax((rows < 0) | (rows >= limits)))].as_py()
            raise StoreError(f"shard {shard}, row {key}: it points behind the end of its segment")


@dataclass(frozen=True)
class StageTotals:
    """What a stage entry of the manifest says about all its parts together."""

    counts: Counts
    bytes: int
    input: str
    exact: str
    floats: str


def stage_totals(parts: Iterable[Part]) -> StageTotals:
    """Counts, bytes and digests over all parts of a stage, given in shard order, however they are chunked."""
    hashers = {name: hashlib.blake2b(digest_size=32) for name in ("input", "exact", "floats")}
    counts, size, sizes = Counts(), 0, {}
    for part in parts:
        for name, hasher in hashers.items():
            hasher.update(part.shard.to_bytes(8, "little") + bytes.fromhex(getattr(part, name)))
        counts += part.counts
        size += part.bytes
        sizes.update((s.path, s.bytes) for s in part.segments)
    shared = sum(sizes.values())  # after a reshard two parts may share a segment: count it once
    return StageTotals(counts, min(size, shared), **{name: h.hexdigest() for name, h in hashers.items()})


def groups(shards: int) -> list[range]:
    """The ranges of consecutive shards that make one chunk each: at most 32, equal in length."""
    if shards < 1 or shards & (shards - 1):
        raise StoreError(f"the number of shards is a power of two, not {shards}")
    length = max(1, shards // MAX_CHUNKS)
    return [range(start, start + length) for start in range(0, shards, length)]


_FILE = pa.struct([("name", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
_SEGMENT = pa.struct([("path", pa.string()), ("rows", pa.int64()), ("files", pa.list_(_FILE))])
_COUNTS = pa.struct([(name, pa.int64()) for name in Counts.__dataclass_fields__])
CHUNK_SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("rows", pa.string()),
        ("segments", pa.list_(_SEGMENT)),
        ("counts", _COUNTS),
        ("bytes", pa.int64()),
        ("input", pa.string()),
        ("exact", pa.string()),
        ("floats", pa.string()),
    ]
)


def write_chunk(store: Store, parts: Sequence[Part]) -> str:
    """Store the parts of a group of shards (of a partial build: those it has); returns the chunk's name."""
    shards = [part.shard for part in parts]
    if shards != sorted(set(shards)):
        raise StoreError(f"a chunk holds shards in order, each once; found {shards}")
    values = [_part_dict(part) for part in parts]
    return store.lists.put(pa.Table.from_pylist(values, schema=CHUNK_SCHEMA))


def read_chunk(store: Store, digest: str) -> tuple[Part, ...]:
    """The parts of a chunk; :class:`Corrupt` when the list is something else. A store keeps the last few."""
    known = store.chunks.get(digest)
    if known is not None:
        return known
    table = store.lists.get(digest)
    if table.schema.names != CHUNK_SCHEMA.names:
        raise Corrupt(f"list {digest} is not a part list: it has the columns {table.schema.names}")
    parts = tuple(_parts(table))
    while len(store.chunks) >= _CHUNKS_KEPT:
        store.chunks.pop(next(iter(store.chunks)), None)
    store.chunks[digest] = parts
    return parts


def _part_dict(part: Part) -> dict[str, Any]:
    value = {name: getattr(part, name) for name in ("shard", "rows", "bytes", "input", "exact", "floats")}
    return value | {"segments": [s.as_dict() for s in part.segments], "counts": part.counts.as_dict()}


def _parts(table: pa.Table) -> Iterator[Part]:
    """The rows of a part list. Column by column: a list of 4,096 parts is ten thousand nested dicts less."""
    segments = _column(table, "segments")
    files = segments.flatten().field("files")
    named = files.flatten()
    refs = [FileRef(*values) for values in zip(*(named.field(n).to_pylist() for n in _FILE.names), strict=True)]
    names, rows = (segments.flatten().field(n).to_pylist() for n in ("path", "rows"))
    held = [SegmentRef(*values) for values in zip(names, rows, _split(refs, files), strict=True)]
    counts = _column(table, "counts")
    numbers = zip(*(counts.field(n).to_pylist() for n in Counts.__dataclass_fields__), strict=True)
    plain = [table[n].to_pylist() for n in ("bytes", "input", "exact", "floats")]
    yield from (
        Part(shard, row_table, own, Counts(*several), *rest)
        for shard, row_table, own, several, *rest in zip(
            table["shard"].to_pylist(), table["rows"].to_pylist(), _split(held, segments), numbers, *plain, strict=True
        )
    )


def _column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece, from its beginning."""
    return pa.concat_arrays([pa.array([], table.schema.field(name).type), *table[name].chunks])


def _split(values: Sequence[Item], lists: pa.ListArray) -> list[tuple[Item, ...]]:
    """``values``, the elements of all ``lists`` one after another, as a tuple for each list."""
    ends = np.cumsum(lists.value_lengths().to_numpy()).tolist()
    return [tuple(values[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
