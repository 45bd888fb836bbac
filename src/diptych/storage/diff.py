"""The difference of two versions, from row tables and snapshots alone; no value is read.

Rows are matched by key within a stage, over all shards. A row counts once, in the first that applies: added,
removed, changed (its values without floats, its status or its code), changed in floats only, same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from diptych.storage.canonical import row_digests
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.parquet import SNAPSHOT_ADVICE, opened
from diptych.storage.parts import Part, read_chunk
from diptych.storage.references import snapshot_path
from diptych.storage.snapshot import OVERRIDDEN, SCHEMA

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["RecordsDiff", "StageDiff", "VersionDiff", "diff"]


@dataclass(frozen=True)
class StageDiff:
    """How a stage's rows differ; the tuples hold row keys, sorted."""

    stage: str
    key_before: str | None
    """Stage key; None when the version has no such stage."""
    key_after: str | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    same: int = 0

    @property
    def key_changed(self) -> bool:
        """Whether its meaning changed (version, settings, weights or what it reads)."""
        return self.key_before != self.key_after

    @property
    def equal(self) -> bool:
        """Whether no row differs."""
        return not (self.added or self.removed or self.changed or self.floats)


@dataclass(frozen=True)
class RecordsDiff:
    """How the snapshots differ; record ids, sorted. ``changed`` have another content, outcome, split or images."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    same: int


_SHOWN = 8


def _names(values: tuple[str, ...]) -> str:
    return ", ".join(values[:_SHOWN]) + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")


@dataclass(frozen=True)
class VersionDiff:
    """The difference between two versions of a dataset."""

    dataset: str
    before: int
    after: int
    records: RecordsDiff
    stages: tuple[StageDiff, ...]
    fits: Mapping[str, tuple[str | None, str | None]]
    """Fits whose result differs: digests before and after."""

    @property
    def equal(self) -> bool:
        """Whether records, rows and fits are the same."""
        records = self.records.added or self.records.removed or self.records.changed
        return not records and not self.fits and all(s.equal and not s.key_changed for s in self.stages)

    def __str__(self) -> str:
        """A table for people: records, then rows by stage."""
        lines = [f"{self.dataset}: version {self.before} -> {self.after}"]
        for name in ("added", "removed", "changed"):
            records: tuple[str, ...] = getattr(self.records, name)
            lines.append(f"  records {name:8} {len(records):>6}  {_names(records)}".rstrip())
        lines.append(f"  {'stage':18}{'added':>8}{'removed':>9}{'changed':>9}{'floats':>8}{'same':>9}")
        for s in self.stages:
            counts = f"{len(s.added):>8}{len(s.removed):>9}{len(s.changed):>9}{len(s.floats):>8}{s.same:>9}"
            lines.append(f"  {s.stage:18}{counts}{'  new settings, weights or inputs' if s.key_changed else ''}")
        if self.fits:
            lines.append(f"  fits with another result: {', '.join(self.fits)}")
        return "\n".join(lines)


def diff(store: Store, a: int | str, b: int | str) -> VersionDiff:
    """What changed from version ``a`` to version ``b``."""
    one, two = store.log.manifest(a), store.log.manifest(b)
    before, after = {s.name: s for s in one.stages}, {s.name: s for s in two.stages}
    names = [*after, *(name for name in before if name not in after)]
    fits_a, fits_b = ({f.name: f.result.partition("~")[0] for f in m.fits} for m in (one, two))
    fits = {n: (fits_a.get(n), fits_b.get(n)) for n in {**fits_b, **fits_a} if fits_a.get(n) != fits_b.get(n)}
    return VersionDiff(
        dataset=store.name,
        before=one.version,
        after=two.version,
        records=_records(store, one, two),
        stages=tuple(_stage(store, name, before.get(name), after.get(name)) for name in names),
        fits=fits,
    )


_Row = tuple[str, str, bytes, bytes]


def _stage(store: Store, name: str, before: StageEntry | None, after: StageEntry | None) -> StageDiff:
    keys = (before.key if before else None, after.key if after else None)
    if before and after and before.chunks == after.chunks:
        return StageDiff(name, *keys, same=before.counts.total)
    old, new, shared = _differing_rows(store, before, after)
    added = sorted(new.keys() - old.keys())
    removed = sorted(old.keys() - new.keys())
    both = sorted(old.keys() & new.keys())
    changed = tuple(k for k in both if old[k][:3] != new[k][:3])
    floats = tuple(k for k in both if old[k][:3] == new[k][:3] and old[k][3] != new[k][3])
    same = shared + len(both) - len(changed) - len(floats)
    return StageDiff(name, *keys, tuple(added), tuple(removed), changed, floats, same)


def _differing_rows(
    store: Store, before: StageEntry | None, after: StageEntry | None
) -> tuple[dict[str, _Row], dict[str, _Row], int]:
    """Rows of the shards that are not the same list on both sides, and how many rows the others have."""
    common = set(before.chunks) & set(after.chunks) if before and after else set()
    if before and after and len(before.chunks) != len(after.chunks):
        common = set()
    chunks = [[c for c in (entry.chunks if entry else ()) if c not in common] for entry in (before, after)]
    sides = [[part for chunk in side for part in read_chunk(store, chunk)] for side in chunks]
    tables = {(p.shard, p.rows) for p in sides[0]} & {(p.shard, p.rows) for p in sides[1]}
    if before and after and len(sides[0]) != len(sides[1]):
        tables = set()  # another number of shards: equal tables may belong to other shards
    shared = sum(p.counts.total for p in sides[0] if (p.shard, p.rows) in tables)
    if before and common:  # what the other lists say together is in the manifest: they are not read
        shared += before.counts.total - sum(p.counts.total for p in sides[0])
    old, new = (dict(_rows(store, [p for p in side if (p.shard, p.rows) not in tables])) for side in sides)
    return old, new, shared


def _rows(store: Store, parts: list[Part]) -> Iterator[tuple[str, _Row]]:
    for part in parts:
        table = store.lists.get(part.rows)
        columns = [table[name].to_pylist() for name in ("key", "status", "code", "exact", "floats")]
        for key, *values in zip(*columns, strict=True):
            yield key, (values[0], values[1], values[2], values[3])


def _records(store: Store, one: Manifest, two: Manifest) -> RecordsDiff:
    if one.snapshot == two.snapshot:
        with opened(store.home, snapshot_path(one.snapshot), SNAPSHOT_ADVICE) as file:
            rows = file.metadata.num_rows
        return RecordsDiff((), (), (), rows)
    decided = any(_decided(store, manifest.snapshot) for manifest in (one, two))
    old, new = (_digests(store, manifest.snapshot, decided) for manifest in (one, two))
    changed = tuple(sorted(k for k in old.keys() & new.keys() if old[k] != new[k]))
    same = len(old.keys() & new.keys()) - len(changed)
    return RecordsDiff(tuple(sorted(new.keys() - old.keys())), tuple(sorted(old.keys() - new.keys())), changed, same)


def _decided(store: Store, digest: str) -> bool:
    with opened(store.home, snapshot_path(digest), SNAPSHOT_ADVICE) as file:
        return file.schema_arrow.names == OVERRIDDEN.names


def _digests(store: Store, digest: str, decided: bool) -> dict[str, bytes]:
    """Record id to a digest of everything the snapshot says about it.

    ``decided``: as a snapshot with people's decisions says it; one without has no such column, which means none.
    """
    found: dict[str, bytes] = {}
    with opened(store.home, snapshot_path(digest), SNAPSHOT_ADVICE) as file:
        for batch in file.iter_batches(8192):
            table = pa.Table.from_batches([batch])
            if decided and table.schema.names == SCHEMA.names:
                table = pa.Table.from_pylist(table.to_pylist(), OVERRIDDEN)
            digests = row_digests([(f.name, f.type, table[f.name]) for f in table.schema], table.num_rows).exact
            found.update(zip(table["record"].to_pylist(), digests, strict=True))
    return found
