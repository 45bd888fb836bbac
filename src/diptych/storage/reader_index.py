"""Opening a reader: one pass over the shards that joins rows to the places of their values.

Memory is that of one shard and some bytes a row; what is written stands in ``reader_producers``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from diptych.exceptions import NotFound, UsageError
from diptych.naming import Key, shard_of
from diptych.storage.manifest import Manifest
from diptych.storage.part_reader import PartReader
from diptych.storage.reader_fields import Field
from diptych.storage.reader_join import SNAPSHOT_COLUMNS, ShardPart, ShardRows, gates
from diptych.storage.reader_producers import Finder, Links, open_producer
from diptych.storage.reader_spool import TableSpool
from diptych.storage.reader_values import Values, producers
from diptych.storage.snapshot import read_snapshot
from diptych.storage.store import Store

if TYPE_CHECKING:
    from diptych.storage.parts import Part

__all__ = ["SPLITS", "Index", "check_split", "write_index"]

SPLITS = ("test", "dev", "train")
"""From the most protected to the least: an image or sentence of several records stands in the first of theirs."""
_NO_SPLIT = 127


@dataclass(frozen=True)
class Index:
    """The rows a reader has, and those it left out."""

    rows: np.ndarray
    """Their numbers in the spool, ascending."""
    dropped: Mapping[str, int]
    """Producer to rows left out because its row was not ok."""
    digest: str
    """SHA-256 of the keys in order."""


def write_index(
    folder: Path,
    store: Store,
    manifest: Manifest,
    fields: tuple[Field, ...],
    kind: Key,
    *,
    optional: frozenset[str],
    split: str | None,
    where: Callable[[Values, int], bool] | None,
    verify: bool,
) -> Index:
    """Write the index of all rows and return which are wanted; a row may lack what ``optional`` fields read."""
    rank = _ranks(store, manifest) if split is not None else None
    names = list(producers(fields))
    of = {name: [f for f in fields if f.producer == name] for name in names}
    made = [open_producer(folder, n, of[name], store, manifest) for n, name in enumerate(names)]
    links = [Links(folder, n, of[name]) for n, name in enumerate(names)]
    needed = [any(f.name not in optional for f in of[name]) for name in names]
    rows = TableSpool(folder / "rows.arrow", pa.schema([("key", pa.string())]))
    ranks: list[np.ndarray] = []
    causes: list[np.ndarray] = []
    judges = gates(manifest)
    stages = {n for n in names if of[n][0].kind == "stage"} | set(judges)
    if kind == "sentence" or any(f.key == "sentence" for f in fields):
        stages.add("sentences")
    with ExitStack() as open_files:
        for spool in (*made, *links, rows):
            open_files.callback(spool.close)
        for records, parts in _shards(store, manifest, stages, verify):
            shard = ShardRows(records, parts, judges)
            owned = shard.rows(kind)
            related: dict[Key, list[tuple[str, ...]]] = {}
            cause = np.full(len(owned), -1, np.int16)
            for number, (producer, link) in enumerate(zip(made, links, strict=True)):
                producer.add(shard, parts)
                if link.key not in related:
                    target: Key = link.key
                    related[target] = [shard.related(kind, row, target) for row, _ in owned]
                present = link.add(related[link.key], producer.places)
                if needed[number]:
                    cause[(cause < 0) & ~present] = number
            rows.append(pa.table({"key": pa.array([key for key, _ in owned], pa.string())}))
            causes.append(cause)
            if rank is not None:
                ranks.append(rank([records for _, records in owned]))
    values = Values(folder, store.root.url, store.name, fields)
    return _choose(
        values, names, kind, _joined(causes, np.int16), _joined(ranks, np.int8) if ranks else None, split, where
    )


def _ranks(store: Store, manifest: Manifest) -> Callable[[Sequence[tuple[str, ...]]], np.ndarray]:
    """For rows, given by the records they belong to, how protected the most protected one is."""
    fit = next((f for f in manifest.fits if f.name == "splits"), None)
    if fit is None:
        raise NotFound(
            f"version {manifest.version} of {manifest.dataset} has no fit 'splits', so no split can be chosen: "
            "read it with split=None, or build it again (every recipe has the fit)"
        )
    table = store.lists.get(fit.result)
    finder = Finder(table["key"])
    known = np.array([SPLITS.index(s) if s in SPLITS else _NO_SPLIT for s in table["split"].to_pylist()] + [_NO_SPLIT])

    def rank(owners: Sequence[tuple[str, ...]]) -> np.ndarray:
        flat = known[finder([record for records in owners for record in records])]
        starts = np.cumsum([0, *(len(records) for records in owners)])[:-1]
        return np.minimum.reduceat(flat, starts).astype(np.int8) if len(owners) else np.zeros(0, np.int8)

    return rank


def _shards(
    store: Store, manifest: Manifest, stages: set[str], verify: bool
) -> Iterator[tuple[list[Mapping[str, Any]], dict[str, ShardPart]]]:
    """Each shard's snapshot rows and parts, in order; the snapshot is read once, in bounded memory."""
    rows = read_snapshot(store, manifest.snapshot).iter_rows(SNAPSHOT_COLUMNS)
    row = next(rows, None)
    parts: dict[str, Iterator[Part]] = {name: store.parts(manifest.stage(name)) for name in sorted(stages)}
    checked: set[str] = set()
    for shard in range(manifest.shards):
        records: list[Mapping[str, Any]] = []
        while row is not None and shard_of(row["record"], manifest.shards) == shard:
            records.append(row)
            row = next(rows, None)
        found = {name: PartReader(store, next(iterator)) for name, iterator in parts.items()}
        for reader in found.values() if verify else ():
            for segment in reader.segments:
                if segment.ref.path not in checked:
                    segment.verify()
                    checked.add(segment.ref.path)
        yield records, {name: ShardPart(reader) for name, reader in found.items()}


def _joined(arrays: Sequence[np.ndarray], dtype: type[np.signedinteger[Any]]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays])


def _choose(
    values: Values,
    names: Sequence[str],
    kind: Key,
    cause: np.ndarray,
    ranks: np.ndarray | None,
    split: str | None,
    where: Callable[[Values, int], bool] | None,
) -> Index:
    """The rows of the split that ``where`` keeps and that have what they need, each key once."""
    codes: np.ndarray | None = None
    if kind in ("image", "sentence") and len(cause):  # one row a shard; here one row a version
        encoded = values.keys.dictionary_encode().unify_dictionaries()
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])
        if ranks is not None:
            best = np.full(int(codes.max()) + 1, _NO_SPLIT, np.int8)
            np.minimum.at(best, codes, ranks)
            ranks = best[codes]
    wanted = np.ones(len(cause), bool) if ranks is None or split is None else ranks == SPLITS.index(split)
    if where is not None:
        for row in np.flatnonzero(wanted):
            wanted[row] = where(values, int(row))
    rows, lost = np.flatnonzero(wanted & (cause < 0)), np.flatnonzero(wanted & (cause >= 0))
    if codes is not None:
        rows = np.sort(rows[np.unique(codes[rows], return_index=True)[1]])
        lost = lost[np.unique(codes[lost], return_index=True)[1]]
        lost = lost[~np.isin(codes[lost], codes[rows])]
    counts = np.bincount(cause[lost], minlength=len(names)) if len(lost) else np.zeros(len(names), int)
    dropped = {name: int(n) for name, n in zip(names, counts, strict=True) if n}
    hasher = hashlib.sha256(f"{kind}:{len(rows)}".encode())
    start = 0
    for chunk in values.keys.chunks:  # taking from the whole would copy the whole
        first, last = np.searchsorted(rows, [start, start + len(chunk)])
        keys = chunk.take(pa.array(rows[first:last] - start)).to_pylist()
        hasher.update("".join(f"\n{key}" for key in keys).encode())
        start += len(chunk)
    return Index(rows, dropped, hasher.hexdigest())


def check_split(split: str | None) -> None:
    """Raise :class:`UsageError` for a split that does not exist."""
    if split is not None and split not in SPLITS:
        raise UsageError(f"split is train, dev, test or None (all), not {split!r}")
