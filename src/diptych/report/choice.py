"""What the page shows: a seeded sample of records that has every rule, status, split and language, and examples."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from diptych.naming import sentence_key, split_pair_key
from diptych.report.shards import ShardRows
from diptych.stage import Status
from diptych.storage.manifest import Manifest

__all__ = ["Choice", "Example"]

EXAMPLES = 4
"""Examples of one reason."""
_REPRESENTATIVES = 3
_OK = Status.OK.value


@dataclass(frozen=True)
class Example:
    """One row that was not kept (or only by a person), and a record it belongs to."""

    stage: str
    kind: str
    status: str
    code: str
    key: str
    record: str
    shard: int


@dataclass(frozen=True, order=True)
class _Candidate:
    rank: int
    record: str
    shard: int
    categories: frozenset[tuple[str, ...]]


class Choice:
    """Sees every record once and keeps a bounded number of candidates."""

    def __init__(self, manifest: Manifest, splits: dict[str, str], size: int, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self._manifest, self._splits = manifest, splits
        self._sample: list[tuple[int, str, _Candidate]] = []  # heap of the lowest ranks, negated
        self._by_category: dict[tuple[str, ...], list[tuple[int, str, _Candidate]]] = {}
        self._examples: dict[tuple[str, str, str], list[tuple[int, str, Example]]] = {}

    def add(self, shard: ShardRows) -> None:
        """Look at one shard."""
        bad = self._bad_rows(shard)
        for row in shard.records:
            record = row["record"]
            categories: set[tuple[str, ...]] = {("outcome", row["outcome"].partition(":")[0])}
            categories.update(("image", use.outcome) for use in shard.uses[record] if use.outcome != "ok")
            if row["outcome"] != "ok":
                categories.add(("page", row["outcome"]))
            else:
                categories.add(("split", self._splits.get(record) or row["split"] or "none"))
                categories.add(("language", shard.languages.get(record) or "unknown"))
            categories.update(bad.get(record, ()))
            candidate = _Candidate(self._rank(record), record, shard.shard, frozenset(categories))
            if row["outcome"] == "ok":
                _keep(self._sample, candidate.rank, record, candidate, self.size)
            for category in categories:
                _keep(self._by_category.setdefault(category, []), candidate.rank, record, candidate, _REPRESENTATIVES)

    def records(self) -> dict[int, list[str]]:
        """The chosen records by shard: first as few as show every category, then the lowest ranks."""
        if not self.size:
            return {}
        chosen: dict[str, _Candidate] = {}
        missing = set(self._by_category)
        candidates = {c.record: c for heap in self._by_category.values() for _, _, c in heap}
        while missing:
            best = max(candidates.values(), key=lambda c: (len(c.categories & missing), -c.rank))
            chosen[best.record] = best
            missing -= best.categories
        for _, record, candidate in sorted(self._sample, key=lambda item: -item[0]):
            if len(chosen) >= self.size:
                break
            chosen.setdefault(record, candidate)
        found: dict[int, list[str]] = {}
        for candidate in sorted(chosen.values()):
            found.setdefault(candidate.shard, []).append(candidate.record)
        return found

    def order(self, record: str) -> int:
        """The place of a record among others on the page."""
        return self._rank(record)

    def examples(self) -> list[Example]:
        """A few rows of every reason for which a row was rejected or failed."""
        return [
            example
            for _, heap in sorted(self._examples.items())
            for _, _, example in sorted(heap, key=lambda item: -item[0])
        ]

    def _bad_rows(self, shard: ShardRows) -> dict[str, set[tuple[str, ...]]]:
        """Categories of the rows that are not ok, by record."""
        owners: dict[str, list[str]] = {}
        for record, uses in shard.uses.items():
            for image in {u.image for u in uses if u.image}:
                owners.setdefault(image, []).append(record)
        found: dict[str, set[tuple[str, ...]]] = {}
        for entry in self._manifest.stages:
            kind = entry.rows or "document"
            sentences: dict[str, list[str]] | None = None
            for key, (status, code) in shard.states(entry.name).items():
                if status == _OK and not code:  # a code of an ok row names the rule that a person overrode
                    continue
                if kind == "sentence":
                    sentences = _sentence_owners(shard) if sentences is None else sentences
                    records: Iterable[str] = sentences.get(key, ())
                else:
                    records = owners.get(key, ()) if kind == "image" else (split_pair_key(key)[0],)
                for record in records:
                    found.setdefault(record, set()).add(("row", entry.name, status, code))
                if status != Status.SKIPPED.value:
                    first = next(iter(records), "")
                    example = Example(entry.name, kind, status, code, key, first, shard.shard)
                    heap = self._examples.setdefault((entry.name, status, code), [])
                    _keep(heap, self._rank(key), key, example, EXAMPLES)
        return found

    def _rank(self, name: str) -> int:
        digest = hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


def _keep(heap: list[tuple[int, str, Any]], rank: int, name: str, item: object, limit: int) -> None:
    """Keep the ``limit`` items of the lowest rank (stored negated); one seen again in another shard counts once."""
    if limit <= 0 or any(name == other for _, other, _ in heap if limit <= EXAMPLES):
        return
    if len(heap) < limit:
        heapq.heappush(heap, (-rank, name, item))
    elif -rank > heap[0][0]:
        heapq.heapreplace(heap, (-rank, name, item))


def _sentence_owners(shard: ShardRows) -> dict[str, list[str]]:
    if not shard.has("sentences", "items"):
        return {}
    table = shard.table("sentences", ["items"])
    found: dict[str, list[str]] = {}
    for record, items in zip(table["key"].to_pylist(), table["items"].to_pylist(), strict=True):
        for item in items or ():
            found.setdefault(sentence_key(item["text"]), []).append(record)
    return found
