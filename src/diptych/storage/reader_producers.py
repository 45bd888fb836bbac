"""Writing a reader's index: the values of each producer, and for each row the places it reads.

Files, by the number of a producer: ``N.arrow`` its columns, ``N.<tensor>.tensor`` (segment, start, count) of each
of its rows, ``N.segments.arrow`` the segments, ``N.places`` the place that a row reads (-1: not ok) or, with
``N.ends``, all places of a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from diptych.naming import Key
from diptych.storage.manifest import Manifest
from diptych.storage.reader_fields import Field
from diptych.storage.reader_join import ShardPart, ShardRows
from diptych.storage.reader_spool import ArraySpool, TableSpool
from diptych.storage.reader_values import TEXTS
from diptych.storage.store import Store

__all__ = ["Finder", "Links", "Producer", "open_producer"]


class Producer(Protocol):
    """Writes the values of one producer, shard by shard, and finds them by key."""

    def add(self, shard: ShardRows, parts: Mapping[str, ShardPart]) -> None:
        """Write the producer's rows of a shard."""

    def places(self, keys: Sequence[str]) -> np.ndarray:
        """The places of rows of the shard added last, -1 where a row is absent or not ok."""
        ...

    def close(self) -> None:
        """Complete the files."""


class _ByKey:
    """Places by key, for producers whose rows come shard by shard."""

    def __init__(self) -> None:
        self._count = 0
        self._place: dict[str, int] = {}

    def _set(self, keys: Sequence[str], valid: np.ndarray | None = None) -> None:
        first = self._count
        self._place = {k: first + n for n, k in enumerate(keys) if valid is None or valid[n]}
        self._count += len(keys)

    def places(self, keys: Sequence[str]) -> np.ndarray:
        get = self._place.get
        return np.fromiter((get(key, -1) for key in keys), np.int64, len(keys))


class _StageRows(_ByKey):
    def __init__(self, folder: Path, number: int, fields: Sequence[Field]) -> None:
        super().__init__()
        self._name = fields[0].producer
        columns = [(f.column, f.type) for f in fields if f.tensor is None]
        self._table = TableSpool(folder / f"{number}.arrow", pa.schema(columns)) if columns else None
        self._columns = [name for name, _ in columns]
        self._tensors = {
            f.column: ArraySpool(folder / f"{number}.{f.column}.tensor") for f in fields if f.tensor is not None
        }
        self._needed = [f.column for f in fields if f.tensor is not None and not f.tensor.ragged and not f.listed]
        self._segments = TableSpool(folder / f"{number}.segments.arrow", pa.schema([("ref", pa.string())]))

    def add(self, shard: ShardRows, parts: Mapping[str, ShardPart]) -> None:
        part = parts[self._name]
        if not part.keys:
            return self._set([])
        table = part.table([*self._columns, *(f"{n}.{p}" for n in self._tensors for p in ("start", "count"))])
        if self._table is not None:
            self._table.append(table)
        valid = np.ones(table.num_rows, bool)
        segment = part.reader.rows["segment"].filter(part.mask).to_numpy() + self._segments.rows
        for name, spool in self._tensors.items():
            start = table[f"{name}.start"].fill_null(-1).to_numpy()
            spool.append(np.stack([segment, start, table[f"{name}.count"].to_numpy()], 1))
            if name in self._needed:
                valid &= start >= 0
        self._segments.append_columns({"ref": [json.dumps(s.as_dict()) for s in part.reader.part.segments]})
        self._set(part.keys, valid)

    def close(self) -> None:
        for spool in (self._table, self._segments, *self._tensors.values()):
            if spool is not None:
                spool.close()


class _TableRows(_ByKey):
    """The engine's own tables, from the snapshot."""

    def __init__(self, folder: Path, number: int, fields: Sequence[Field]) -> None:
        super().__init__()
        self._name = fields[0].producer
        columns = {f.column: f.type for f in fields}
        if self._name == "images":
            columns = {"key": pa.string()}
        elif self._name == "documents":
            columns = {n: t for n, t in columns.items() if n not in TEXTS}
            columns["content"] = pa.string()
        self._columns = list(columns)
        self._table = TableSpool(folder / f"{number}.arrow", pa.schema(list(columns.items())))

    def add(self, shard: ShardRows, parts: Mapping[str, ShardPart]) -> None:
        rows = dict(self._rows(shard))
        self._table.append_columns({c: [row[c] or "" for row in rows.values()] if c != "position" else
                                    [row[c] for row in rows.values()] for c in self._columns})  # fmt: skip
        self._set(list(rows))

    def _rows(self, shard: ShardRows) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if self._name == "documents":
            yield from ((key, {**row, "key": key}) for key, row in shard.records.items())
        elif self._name == "sentence":
            yield from ((key, {"key": key, "text": text}) for key, text in shard.texts.items())
        else:
            for pair in (p for pairs in shard.pairs.values() for p in pairs):
                if self._name == "images":
                    yield pair.image, {"key": pair.image}
                else:
                    yield pair.key, {**pair.entry, "key": pair.key, "position": pair.position}

    def close(self) -> None:
        self._table.close()


class _FitRows:
    """A keyed fit's result; its rows are found by a sorted array of keys."""

    def __init__(self, folder: Path, number: int, fields: Sequence[Field], table: pa.Table) -> None:
        spool = TableSpool(folder / f"{number}.arrow", pa.schema([(f.column, f.type) for f in fields]))
        spool.append(table)
        spool.close()
        self.places = Finder(table["key"])

    def add(self, shard: ShardRows, parts: Mapping[str, ShardPart]) -> None:
        """Everything was written at once."""

    def close(self) -> None:
        """Nothing is open."""


class Finder:
    """Positions of keys in a column, -1 for absent ones."""

    def __init__(self, keys: pa.ChunkedArray) -> None:
        raw = np.array([k.encode() for k in keys.to_pylist()], "S") if len(keys) else np.zeros(0, "S1")
        self._order = np.argsort(raw, kind="stable")
        self._sorted = raw[self._order]

    def __call__(self, keys: Sequence[str]) -> np.ndarray:
        if not len(self._sorted) or not keys:
            return np.full(len(keys), -1, np.int64)
        wanted = np.array([k.encode() for k in keys], "S")
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[at] == wanted, self._order[at], -1).astype(np.int64)


class Links:
    """For each row the place, or the places, that it reads of one producer."""

    def __init__(self, folder: Path, number: int, fields: Sequence[Field]) -> None:
        self.key: Key = fields[0].key
        self.listed = fields[0].listed
        self._places = ArraySpool(folder / f"{number}.places")
        self._ends = ArraySpool(folder / f"{number}.ends") if self.listed else None
        self._total = 0

    def add(self, related: Sequence[tuple[str, ...]], places: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
        """Write them; returns which rows have what they need (a list may be empty)."""
        flat = places([key for keys in related for key in keys])
        if self._ends is None:
            self._places.append(flat)
            return flat >= 0
        owner = np.repeat(np.arange(len(related)), [len(keys) for keys in related])[flat >= 0]
        self._places.append(flat[flat >= 0])
        ends = self._total + np.cumsum(np.bincount(owner, minlength=len(related)))
        self._ends.append(ends)
        self._total = int(ends[-1]) if len(ends) else self._total
        return np.ones(len(related), bool)

    def close(self) -> None:
        """Complete the files."""
        for spool in (self._places, self._ends):
            if spool is not None:
                spool.close()


def open_producer(folder: Path, number: int, fields: Sequence[Field], store: Store, manifest: Manifest) -> Producer:
    """The writer of a producer's values; all fields are of that one producer."""
    if fields[0].kind == "stage":
        return _StageRows(folder, number, fields)
    if fields[0].kind == "table":
        return _TableRows(folder, number, fields)
    fit = next(f for f in manifest.fits if f.name == fields[0].producer)
    return _FitRows(folder, number, fields, store.lists.get(fit.result))
