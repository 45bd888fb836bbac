"""Verification of a version: files, lists, digests recomputed from values, blobs, and equal inputs elsewhere.

Everything is checked, whatever was found before; each problem names the file and, where there is one, the row.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from diptych.exceptions import NotFound, StoreError
from diptych.storage.manifest import Manifest, StageEntry, manifest_digests
from diptych.storage.parts import Part, part_digests, read_chunk, stage_totals
from diptych.storage.references import snapshot_blobs, snapshot_path
from diptych.storage.rows import count_rows
from diptych.storage.segment_info import TABLE, SegmentRef, load_info
from diptych.storage.segment_reader import Segment, check_file

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["Problem", "VerifyReport", "verify"]


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    kind: str
    """missing, damaged, digest, count, blob or unequal."""
    file: str
    row: str
    text: str


@dataclass
class VerifyReport:
    """What was checked and what is wrong."""

    dataset: str
    version: int
    files: int = 0
    bytes: int = 0
    rows: int = 0
    blobs: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Differences that are allowed: floats that differ between versions with equal inputs."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(store: Store, version: int | str = "latest", *, values: bool = True, blobs: bool = True) -> VerifyReport:
    """Check a version; ``values`` recomputes every row's digests, ``blobs`` reads every blob's bytes.

    With ``blobs`` False only their presence is checked. Raises only when the version itself cannot be opened.
    """
    store.chunks.clear()  # what is on the disk counts, not what was read before
    manifest = store.log.manifest(version)
    report = VerifyReport(store.name, manifest.version)
    check = _Check(store, report, values)
    for stage in manifest.stages:
        check.stage(manifest, stage)
    for fit in manifest.fits:
        for name in (fit.result, *fit.partials):
            check.list(name)
    found = manifest_digests(manifest.snapshot, manifest.stages, manifest.fits)
    for name in ("input", "exact", "floats"):
        check.equal(
            f"{name} digest of the version", "manifest", getattr(manifest, f"{name}_digest"), getattr(found, name)
        )
    check.blobs(manifest, read=blobs)
    before = [m for n, m in store.log.versions().items() if n < manifest.version]
    if before:
        check.compare(manifest, next((m for m in before if m.version == manifest.parent), before[-1]))
    return report


class _Check:
    """Checks stages; a segment that several parts of a stage name is read once."""

    def __init__(self, store: Store, report: VerifyReport, values: bool) -> None:
        self._store = store
        self._report = report
        self._values = values
        self._segments: dict[str, pa.Table | None] = {}

    def problem(self, kind: str, file: str, text: str, row: str = "") -> None:
        self._report.problems.append(Problem(kind, file, row, text))

    def failed(self, file: str, error: StoreError) -> None:
        self.problem("missing" if isinstance(error, NotFound) else "damaged", file, str(error))

    def equal(self, what: str, file: str, expected: object, found: object, row: str = "") -> None:
        if expected != found:
            kind = "count" if isinstance(expected, int) or "rows" in what else "digest"
            self.problem(kind, file, f"{what}: expected {_show(expected)}, found {_show(found)}", row)

    def list(self, name: str) -> pa.Table | None:
        """The list of that name; None, and a problem, when it cannot be read."""
        self._report.files += 1
        try:
            table = self._store.lists.get(name)
            self._report.bytes += self._store.lists.size(name)
            return table
        except StoreError as error:
            self.failed(f"lists/{name}.parquet", error)
            return None

    def stage(self, manifest: Manifest, stage: StageEntry) -> None:
        """All parts of a stage, and its entry's totals."""
        self._segments.clear()
        parts: list[Part] = []
        for chunk in stage.chunks:
            if self.list(chunk) is not None:
                parts += read_chunk(self._store, chunk)
        for part in parts:
            self._part(stage, part)
        where = f"manifest, stage {stage.name}"
        if [p.shard for p in parts] != list(range(manifest.shards)):
            self.problem("count", where, f"expected shards 0 to {manifest.shards - 1}, found {len(parts)} parts")
            return
        totals = stage_totals(parts)
        self.equal("rows", where, stage.counts.as_dict(), totals.counts.as_dict())
        for name in ("input", "exact", "floats"):
            self.equal(f"{name} digest", where, getattr(stage, name), getattr(totals, name))

    def _part(self, stage: StageEntry, part: Part) -> None:
        for ref in part.segments:
            if ref.path not in self._segments:
                self._segments[ref.path] = self._segment(ref)
        rows = self.list(part.rows)
        if rows is None:
            return
        file = f"lists/{part.rows}.parquet"
        self._report.rows += rows.num_rows
        self.equal("rows by status", file, part.counts.as_dict(), count_rows(rows).as_dict())
        for name, found in part_digests(rows).items():
            self.equal(f"{name} digest of stage {stage.name}, shard {part.shard}", file, getattr(part, name), found)
        for number, ref in enumerate(part.segments):
            stored = self._segments[ref.path]
            if stored is not None:
                self._rows(ref, rows.filter(pa.array(rows["segment"].to_numpy() == number)), stored)

    def _rows(self, ref: SegmentRef, rows: pa.Table, stored: pa.Table) -> None:
        """Live rows of a row table against the rows of their segment."""
        there = stored.take(rows["row"])
        for name in ("key", "input_hash", "status", "code", "exact", "floats"):
            if there[name].equals(rows[name]):
                continue
            pairs = zip(rows["key"].to_pylist(), rows[name].to_pylist(), there[name].to_pylist(), strict=True)
            for key, expected, found in pairs:
                self.equal(f"{name} of the row", ref.path, expected, found, key)

    def _segment(self, ref: SegmentRef) -> pa.Table | None:
        """The segment's rows with digests recomputed from its values; None when its table cannot be read."""
        for file in ref.files:
            self._report.files += 1
            self._report.bytes += file.size
            try:
                check_file(self._store, ref.path, file)
            except StoreError as error:
                self.failed(f"{ref.path}/{file.name}", error)
        segment = Segment(self._store, ref)
        try:
            rows = segment.rows()
            if self._values:
                digests = segment.recompute()
                for name, values in (("exact", digests.exact), ("floats", digests.floats)):
                    rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, pa.binary(16)))
            return rows
        except StoreError as error:
            self.failed(f"{ref.path}/{TABLE}", error)
            return None

    def blobs(self, manifest: Manifest, read: bool) -> None:
        """Every blob the snapshot names: there, and (``read``) with its SHA-256."""
        self._report.files += 1
        try:
            names = sorted(set(snapshot_blobs(self._store, manifest.snapshot)))
        except StoreError as error:
            self.failed(snapshot_path(manifest.snapshot), error)
            return
        blobs = self._store.blobs

        def look(sha256: str) -> StoreError | int:
            try:
                return len(blobs.get(sha256)) if read else blobs.size(sha256)
            except StoreError as error:
                return error

        with ThreadPoolExecutor(4) as pool:
            for sha256, found in zip(names, pool.map(look, names), strict=True):
                self._report.blobs += 1
                if isinstance(found, StoreError):
                    self.problem("blob", f"raw/blobs/{sha256[:2]}/{sha256}", str(found))

    def compare(self, manifest: Manifest, other: Manifest) -> None:
        """Equal input and unequal content, made on one machine with one set of packages, is a bug."""
        entries = {s.name: s for s in other.stages}
        for stage in manifest.stages:
            old = entries.get(stage.name)
            same = old is not None and (old.key, old.packages) == (stage.key, stage.packages)
            if same and old is not None and other.packages == manifest.packages and old.chunks != stage.chunks:
                self._compare_stage(stage, manifest, old, other)

    def _compare_stage(self, stage: StageEntry, manifest: Manifest, old: StageEntry, other: Manifest) -> None:
        try:
            before = dict(_settled(self._store, old, set(stage.chunks)))
            for key, (input_hash, exact, floats, path) in _settled(self._store, stage, set(old.chunks)):
                was = before.get(key)
                if was is None or was[0] != input_hash or was[1:3] == (exact, floats) or was[3] == path:
                    continue
                if _host(self._store, was[3]) != _host(self._store, path):
                    continue
                text = f"stage {stage.name}: same input as in version {other.version} ({was[3]}), other values"
                if was[1] != exact:
                    why = "same machine and packages, so the stage is not deterministic or its version was not raised"
                    self.problem("unequal", path, f"{text}; {why}", key)
                else:
                    self._report.notes.append(f"{key}: {text} in floats")
        except StoreError as error:
            if other.version == manifest.parent and isinstance(error, NotFound):
                self._report.notes.append(f"not compared with version {other.version}: {error}")
            else:
                self._report.notes.append(f"stage {stage.name}: comparison with version {other.version} ended: {error}")


_Settled = tuple[str, tuple[bytes, bytes, bytes, str]]


def _settled(store: Store, stage: StageEntry, shared: set[str]) -> list[_Settled]:
    """Key, input hash, digests and segment of the rows that did not fail, in chunks the other side lacks."""
    found: list[_Settled] = []
    for chunk in stage.chunks:
        for part in read_chunk(store, chunk) if chunk not in shared else ():
            table = store.lists.get(part.rows)
            names = ("key", "status", "input_hash", "exact", "floats", "segment")
            for key, status, *hashes, segment in zip(*(table[n].to_pylist() for n in names), strict=True):
                if not status.startswith("failed"):
                    found.append((key, (hashes[0], hashes[1], hashes[2], part.segments[segment].path)))
    return found


def _host(store: Store, path: str) -> object:
    return load_info(store, path).info.meta.get("host")


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
