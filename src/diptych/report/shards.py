"""One shard of a version as the report reads it: its records, and what became of each use of an image.

Everything is read shard by shard, so that memory is bounded by the largest shard, not by the version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from diptych.naming import pair_key
from diptych.records import Document
from diptych.stage import Status
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.part_reader import PartReader
from diptych.version import Version

__all__ = ["Refusal", "ShardRows", "Use", "gates", "iter_shards", "open_shard"]

_OK = Status.OK.value


@dataclass(frozen=True)
class Refusal:
    """The first row that kept a document or a use of an image from being accepted."""

    stage: str
    status: str
    code: str


@dataclass(frozen=True)
class Use:
    """One document's use of one image; ``key`` and ``image`` are empty when the image was never fetched."""

    key: str
    record: str
    image: str
    position: int
    url: str
    caption: str
    alt: str
    extra: str
    outcome: str
    """Of the fetch: ok, gone, failed:<code>."""


def gates(manifest: Manifest) -> tuple[StageEntry, ...]:
    """Stages that decide what is accepted: the cleaning stages, and any other that rejected a row."""
    guessed = {s.name for s in manifest.stages if s.name.startswith("clean") or s.counts.rejected}
    return tuple(s for s in manifest.stages if (s.name in guessed if s.gate is None else s.gate))


class ShardRows:
    """The records of one shard and the rows that every stage has for them."""

    def __init__(self, version: Version, shard: int, readers: dict[str, PartReader]) -> None:
        self.version = version
        self.shard = shard
        self.readers = readers
        self._states: dict[str, dict[str, tuple[str, str]]] = {}
        self._gates = gates(version.manifest)
        self._documents: dict[str, Document] = {}

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Rows of the snapshot, sorted by record."""
        return self.version.snapshot.shard(self.shard, self.version.manifest.shards).to_pylist()

    def states(self, stage: str) -> dict[str, tuple[str, str]]:
        """Row key to status and code; reads the row table only."""
        if stage not in self._states:
            rows = self.readers[stage].rows
            columns = (rows[n].to_pylist() for n in ("key", "status", "code"))
            self._states[stage] = {key: (status, code or "") for key, status, code in zip(*columns, strict=True)}
        return self._states[stage]

    @cached_property
    def uses(self) -> dict[str, tuple[Use, ...]]:
        """Every image that each record refers to, in order, fetched or not."""
        found: dict[str, tuple[Use, ...]] = {}
        for row in self.records:
            seen: dict[str, int] = {}
            uses = []
            for position, image in enumerate(row["images"] or ()):
                key, name = image["key"] or "", ""
                if key:
                    seen[key] = seen.get(key, 0) + 1
                    name = pair_key(row["record"], key, seen[key])
                texts = (image[n] or "" for n in ("url", "caption", "alt", "extra", "outcome"))
                uses.append(Use(name, row["record"], key, position, *texts))
            found[row["record"]] = tuple(uses)
        return found

    def document_refusal(self, record: str) -> Refusal | None:
        """Why a record with content is not accepted; None when it is."""
        return self._refusal((("document", record),))

    def use_refusal(self, use: Use) -> Refusal | None:
        """Why a fetched image is not an accepted pair: by its own rows first, then by its document's."""
        return self._refusal((("image", use.image), ("pair", use.key), ("document", use.record)))

    def _refusal(self, rows: Sequence[tuple[str, str]]) -> Refusal | None:
        for kind, key in rows:
            for gate in self._gates:
                if gate.rows != kind:
                    continue
                status, code = self.states(gate.name).get(key, (Status.SKIPPED.value, "no_row"))
                if status != _OK:
                    return Refusal(gate.name, status, code)
        return None

    @cached_property
    def accepted(self) -> dict[str, tuple[Use, ...]]:
        """Accepted pairs of each accepted record."""
        return {
            row["record"]: tuple(u for u in self.uses[row["record"]] if u.key and self.use_refusal(u) is None)
            for row in self.records
            if row["outcome"] == "ok" and self.document_refusal(row["record"]) is None
        }

    def table(self, stage: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Key, outcome and columns of a stage's rows, in row order."""
        return self.readers[stage].table(columns, True)

    def has(self, stage: str, column: str) -> bool:
        """Whether the version has that column and the shard a row of it."""
        reader = self.readers.get(stage)
        return reader is not None and column in reader.schema.names and reader.rows.num_rows > 0

    def document(self, row: dict[str, Any]) -> Document:
        """The text of a snapshot row; empty when it has no content."""
        record = row["record"]
        if record not in self._documents:
            content = row["content"]
            self._documents[record] = (
                Document.from_bytes(self.version.store.blobs.get(content)) if content else Document()
            )
        return self._documents[record]

    @cached_property
    def languages(self) -> dict[str, str]:
        """Record to language: as the cleaning stage found it, else as the source declares it."""
        found: dict[str, str] = {}
        if self.has("clean_text", "language"):
            table = self.table("clean_text", ["language"])
            found = {k: v for k, v in zip(table["key"].to_pylist(), table["language"].to_pylist(), strict=True) if v}
        for row in self.records:
            if row["record"] not in found and row["content"]:
                found[row["record"]] = self.document(row).language
        return found


def iter_shards(version: Version) -> Iterator[ShardRows]:
    """All shards in order; each is read when it is used and can be dropped after."""
    names = [s.name for s in version.manifest.stages]
    parts = [version.parts(name) for name in names]
    for shard in range(version.manifest.shards):
        yield ShardRows(version, shard, {name: next(part) for name, part in zip(names, parts, strict=True)})


def open_shard(version: Version, shard: int) -> ShardRows:
    """One shard."""
    manifest = version.manifest
    return ShardRows(version, shard, {s.name: version.store.part(manifest, s.name, shard) for s in manifest.stages})
