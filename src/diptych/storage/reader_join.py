"""Which rows one shard has, and which rows of other kinds each of them reads: the rules of stage inputs.

Rows stand in order of first appearance, distinct by key, and only accepted ones: a document that its gates
passed, a pair that its own gates and those of its image and document passed, the images of such pairs, the
sentences of such documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from diptych.naming import Key, pair_key, sentence_key, split_pair_key
from diptych.stage import Status
from diptych.storage.manifest import Manifest
from diptych.storage.part_reader import PartReader

__all__ = ["SNAPSHOT_COLUMNS", "ShardPart", "ShardRows", "gates"]

SNAPSHOT_COLUMNS = ("record", "source", "subset", "url", "content", "outcome", "split", "images")
_GATES: Mapping[str, Key] = {"clean": "image", "clean_text": "document", "clean_pairs": "pair"}


def gates(manifest: Manifest) -> dict[str, Key]:
    """The stages whose row must be ok for a row to be accepted, and which rows each judges."""
    found: dict[str, Key] = {}
    for entry in manifest.stages:
        said = getattr(entry, "gate", None)
        # a manifest that does not say which stages are gates comes from a recipe that had Diptych's own only
        if entry.name in _GATES if said is None else said:
            found[entry.name] = entry.rows or _GATES.get(entry.name, "document")
    return found


class ShardPart:
    """One shard of one stage, by the rows that are ok."""

    def __init__(self, reader: PartReader) -> None:
        self.reader = reader

    @cached_property
    def mask(self) -> pa.ChunkedArray:
        """Which rows are ok."""
        return pc.equal(self.reader.rows["status"], Status.OK.value)

    @cached_property
    def keys(self) -> list[str]:
        """Keys of the ok rows, in order."""
        return self.reader.rows["key"].filter(self.mask).to_pylist()

    @cached_property
    def place(self) -> dict[str, int]:
        """Key to number among the ok rows."""
        return {key: n for n, key in enumerate(self.keys)}

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Those columns of the ok rows."""
        return self.reader.table(columns).filter(self.mask)


@dataclass(frozen=True)
class Pair:
    """A document's use of an image: its key and its entry in the snapshot."""

    key: str
    image: str
    position: int
    entry: Mapping[str, Any]


class ShardRows:
    """The accepted rows of one shard; ``parts`` has at least its gates, and ``sentences`` when those are asked for."""

    def __init__(
        self, records: Sequence[Mapping[str, Any]], parts: Mapping[str, ShardPart], judges: Mapping[str, Key]
    ) -> None:
        self._parts = parts
        self._judges = judges
        self.records: dict[str, Mapping[str, Any]] = {
            row["record"]: row for row in records if row["outcome"] == "ok" and self._passes("document", row["record"])
        }

    def _passes(self, kind: Key, key: str) -> bool:
        return all(key in self._parts[name].place for name, judged in self._judges.items() if judged == kind)

    @cached_property
    def pairs(self) -> dict[str, tuple[Pair, ...]]:
        """The accepted pairs of each accepted record, in document order."""
        return {record: tuple(self._pairs(record, row["images"] or ())) for record, row in self.records.items()}

    def _pairs(self, record: str, images: Sequence[Mapping[str, Any]]) -> list[Pair]:
        found, seen = [], dict[str, int]()
        for position, entry in enumerate(images):
            image = entry["key"]
            if image is None:
                continue
            seen[image] = seen.get(image, 0) + 1
            key = pair_key(record, image, seen[image])
            if self._passes("pair", key) and self._passes("image", image):
                found.append(Pair(key, image, position, entry))
        return found

    @cached_property
    def texts(self) -> dict[str, str]:
        """Sentence key to its text."""
        return {key: text for keys in self._sentences.values() for key, text in keys.items()}

    @cached_property
    def _sentences(self) -> dict[str, dict[str, str]]:
        part = self._parts["sentences"]
        items = part.table(["items"])["items"].combine_chunks() if part.keys else pa.array([], pa.list_(pa.null()))
        if isinstance(items, pa.ChunkedArray):
            items = items.combine_chunks()
        texts = pc.list_flatten(items).field("text").to_pylist() if part.keys else []
        lengths = pc.fill_null(pc.list_value_length(items), 0).to_pylist() if part.keys else []
        found: dict[str, dict[str, str]] = {}
        start = 0
        for record, length in zip(part.keys, lengths, strict=True):
            if record in self.records:
                found[record] = {sentence_key(text): text for text in texts[start : start + length]}
            start += length
        return {record: found.get(record, {}) for record in self.records}

    def rows(self, kind: Key) -> list[tuple[str, tuple[str, ...]]]:
        """Every row of a kind with the records it belongs to."""
        if kind == "document":
            return [(record, (record,)) for record in self.records]
        if kind == "pair":
            return [(pair.key, (record,)) for record, pairs in self.pairs.items() for pair in pairs]
        found: dict[str, dict[str, None]] = {}
        for record in self.records:
            for key in self.related("document", record, kind):
                found.setdefault(key, {})[record] = None
        return [(key, tuple(records)) for key, records in found.items()]

    def related(self, source: Key, row: str, target: Key) -> tuple[str, ...]:
        """The rows of kind ``target`` that a row of kind ``source`` reads."""
        if source == target:
            return (row,)
        if source == "pair":
            record, image = split_pair_key(row)
            if target != "sentence":
                return (record,) if target == "document" else (image,)
            row = record
        if target == "sentence":
            return tuple(self._sentences[row])
        if target == "pair":
            return tuple(pair.key for pair in self.pairs[row])
        return tuple(dict.fromkeys(pair.image for pair in self.pairs[row]))
