"""Which rows of a stage failed, and why: what a build's log says beyond counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diptych.naming import split_pair_key
from diptych.stage import Status
from diptych.storage.part_reader import PartReader
from diptych.storage.parts import read_chunk
from diptych.storage.snapshot import Snapshot
from diptych.storage.store import Store

__all__ = ["FailedRow", "failed_rows"]


@dataclass(frozen=True)
class FailedRow:
    """One row of a stage that failed, and the records it belongs to (at most a few)."""

    stage: str
    key: str
    status: str
    code: str
    text: str
    records: tuple[str, ...]

    def __str__(self) -> str:
        where = f" of record {', '.join(self.records)}" if self.records and self.key not in self.records else ""
        named = "record" if self.key in self.records else "row"
        return f"{self.stage}: {named} {self.key}{where} {self.status}: {self.code}: {self.text or 'no text'}"


def failed_rows(
    store: Store, stage: str, kind: str, chunks: Sequence[str], snapshot: Snapshot, shards: int, most: int = 20
) -> Iterator[FailedRow]:
    """The first ``most`` failed rows of a stage's finished parts, with the records whose URL people know."""
    left = most
    for chunk in chunks:
        for part in read_chunk(store, chunk) if chunk else ():
            if not part.counts.failed or not left:
                continue
            rows = PartReader(store, part).table([], True)
            owners = _owners(snapshot, part.shard, shards) if kind == "image" else {}
            for row in rows.select(["key", "status", "code", "error"]).to_pylist():
                if not Status(row["status"]).failed:
                    continue
                key = row["key"]
                records = owners.get(key, []) if kind == "image" else _record(kind, key)
                yield FailedRow(
                    stage, key, row["status"], row["code"] or "", (row["error"] or "")[:500], tuple(records[:3])
                )
                left -= 1
                if not left:
                    return


def _record(kind: str, key: str) -> list[str]:
    return [key] if kind == "document" else [split_pair_key(key)[0]] if kind == "pair" else []


def _owners(snapshot: Snapshot, shard: int, shards: int) -> dict[str, list[str]]:
    """Image key to what its pictures are called: record and URL."""
    found: dict[str, list[str]] = {}
    for row in snapshot.shard(shard, shards, ["record", "url", "images"]).to_pylist():
        for image in row["images"] or ():
            if image["key"]:
                name = f"{row['record']} ({image['url'] or row['url']})"
                found.setdefault(image["key"], []).append(name)
    return found
