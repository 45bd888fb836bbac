"""One shard as the stages see it: which rows there are, what each has read, and the values to compute from.

The view joins the snapshot with the finished parts of earlier stages and with the results of fits. Rows
stand in order of first appearance, distinct by key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from diptych.engine.graph import TABLES, Graph, Node
from diptych.naming import Key, pair_key, row_hash, sentence_key, split_pair_key
from diptych.records import Document
from diptych.stage import Status
from diptych.storage.parts import Part, PartReader
from diptych.storage.store import Store

__all__ = ["FitResult", "PairRow", "RowRef", "ShardView"]

OK = Status.OK.value
_OF_RECORD = ("source", "subset", "url", "split")
"""Columns of ``documents`` that stand in the snapshot, not in the document's content."""


@dataclass(frozen=True)
class RowRef:
    """A row that another row reads: its key, its input hash, its status."""

    key: str
    hash: bytes
    status: str
    content: bytes = b""
    """Digest of its values: for fits, which must see a row that a rebuild changed under an unchanged input."""


@dataclass(frozen=True)
class PairRow:
    """One document's use of one image."""

    key: str
    caption: str
    alt: str
    url: str
    position: int
    extra: str

    @cached_property
    def own(self) -> bytes:
        """Hash of the pair's own content."""
        return row_hash([self.key, self.caption, self.alt, self.url, str(self.position), self.extra])


class FitResult:
    """A keyed fit's table, by key."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @cached_property
    def index(self) -> dict[str, int]:
        """Row number by key."""
        return {key: i for i, key in enumerate(self.table["key"].to_pylist())}

    def value(self, key: str, column: str) -> Any:
        """One value; None when the fit has no such key."""
        row = self.index.get(key)
        return None if row is None else self.table[column][row].as_py()


def _uses(rows: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Pairs and documents of each image, from the pairs of each document (for selections)."""
    uses: dict[str, dict[str, tuple[str, ...]]] = {"pair": {}, "document": {}}
    for record, pairs in rows.items():
        for pair in pairs:
            image = split_pair_key(pair)[1]
            uses["pair"][image] = (*uses["pair"].get(image, ()), pair)
            uses["document"][image] = (*uses["document"].get(image, ()), record)
    return uses


class ShardView:
    """The rows of one shard; ``parts`` are those of finished stages, ``fits`` the results of finished fits."""

    def __init__(
        self, store: Store, graph: Graph, records: pa.Table, parts: Mapping[str, Part], fits: Mapping[str, FitResult]
    ) -> None:
        self.store = store
        self.graph = graph
        self.parts = parts
        self.fits = fits
        self.records = {row["record"]: row for row in records.to_pylist() if row["outcome"] == "ok"}
        self._readers: dict[str, PartReader] = {}
        self._states: dict[str, dict[str, tuple[int, bytes, str, bytes]]] = {}
        self._tables: dict[tuple[str, str], pa.ChunkedArray] = {}
        self._tensors: dict[tuple[str, str], list[Any]] = {}
        self._documents: dict[str, Document] = {}

    # rows -------------------------------------------------------------------------------------------------

    @cached_property
    def pairs(self) -> dict[str, tuple[PairRow, ...]]:
        """Every fetched pair by record, in document order."""
        found: dict[str, tuple[PairRow, ...]] = {}
        for record, row in self.records.items():
            seen: dict[str, int] = {}
            rows = []
            for position, image in enumerate(row["images"] or ()):
                if image["key"] is None:
                    continue
                seen[image["key"]] = seen.get(image["key"], 0) + 1
                key = pair_key(record, image["key"], seen[image["key"]])
                rows.append(PairRow(key, image["caption"], image["alt"], image["url"], position, image["extra"]))
            found[record] = tuple(rows)
        return found

    @cached_property
    def kept(self) -> dict[Key, frozenset[str]]:
        """Rows that a person decided to keep (``overrides.csv``), by kind: no rule rejects them."""
        pairs, images = set(), set()
        for record, rows in self.pairs.items():
            for pair in rows:
                override = self.records[record]["images"][pair.position].get("override")
                if override and override["decision"] == "keep":
                    pairs.add(pair.key)
                    images.add(split_pair_key(pair.key)[1])
        records = {r for r, row in self.records.items() if (row.get("override") or {}).get("decision") == "keep"}
        return {"document": frozenset(records), "pair": frozenset(pairs), "image": frozenset(images)}

    def keeps(self, node: Node, row: str) -> bool:
        """Whether a person's decision beats the rules of this stage for this row."""
        return node.stage is not None and node.stage.gate and row in self.kept.get(node.rows, ())

    @cached_property
    def pair_rows(self) -> dict[str, PairRow]:
        """Every fetched pair by key."""
        return {pair.key: pair for rows in self.pairs.values() for pair in rows}

    def _passes(self, key: Key, row: str) -> bool:
        return all(
            (state := self.states(gate).get(row)) is not None and state[2] == OK for gate in self.graph.gates(key)
        )

    @cached_property
    def _accepted(self) -> dict[str, tuple[str, ...]]:
        """Accepted pairs by accepted record."""
        found = {}
        for record, pairs in self.pairs.items():
            if self._passes("document", record):
                found[record] = tuple(
                    p.key
                    for p in pairs
                    if self._passes("pair", p.key) and self._passes("image", split_pair_key(p.key)[1])
                )
        return found

    @cached_property
    def _fetched(self) -> dict[str, tuple[str, ...]]:
        return {record: tuple(p.key for p in pairs) for record, pairs in self.pairs.items()}

    @cached_property
    def _sentences(self) -> dict[str, tuple[str, ...]]:
        """Sentence keys by record, distinct, in order; ``_texts`` has their words."""
        found = {}
        for record in self._accepted:
            items = self.value("sentences", "items", record) if self.state("sentences", record)[1] == OK else None
            keys = {}
            for item in items or ():
                key = sentence_key(item["text"])
                keys[key] = None
                self._texts[key] = item["text"]
            found[record] = tuple(keys)
        return found

    @cached_property
    def _said_by(self) -> dict[str, list[str]]:
        """The records of each sentence."""
        found: dict[str, list[str]] = {}
        for record, keys in self._sentences.items():
            for key in keys:
                found.setdefault(key, []).append(record)
        return found

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {}

    def rows(self, key: Key, fetched: bool) -> list[str]:
        """The row keys of a kind: all that were fetched, or only the accepted ones."""
        pairs = self._fetched if fetched else self._accepted
        if key == "document":
            return list(pairs)
        if key == "pair":
            return [p for rows in pairs.values() for p in rows]
        if key == "image":
            return list(dict.fromkeys(split_pair_key(p)[1] for rows in pairs.values() for p in rows))
        return list(dict.fromkeys(s for rows in self._sentences.values() for s in rows))

    def related(self, source: Key, row: str, target: Key, fetched: bool) -> tuple[str, ...]:
        """The rows of kind ``target`` that a row of kind ``source`` reads."""
        if source == target:
            return (row,)
        record = split_pair_key(row)[0] if source == "pair" else row
        if source == "pair" and target == "document":
            return (record,)
        if source == "pair" and target == "image":
            return (split_pair_key(row)[1],)
        if source == "sentence":
            return tuple(self._said_by.get(row, ()))
        if target == "sentence":
            return self._sentences.get(record, ())
        if source == "image":
            return (self._fetched_uses if fetched else self._accepted_uses)[target].get(row, ())
        pairs = (self._fetched if fetched else self._accepted).get(record, ())
        return pairs if target == "pair" else tuple(dict.fromkeys(split_pair_key(p)[1] for p in pairs))

    @cached_property
    def _fetched_uses(self) -> dict[str, dict[str, tuple[str, ...]]]:
        return _uses(self._fetched)

    @cached_property
    def _accepted_uses(self) -> dict[str, dict[str, tuple[str, ...]]]:
        return _uses(self._accepted)

    # what a row has read ----------------------------------------------------------------------------------

    def reader(self, stage: str) -> PartReader:
        """The finished part of a stage."""
        if stage not in self._readers:
            self._readers[stage] = PartReader(self.store, self.parts[stage])
        return self._readers[stage]

    def states(self, stage: str) -> dict[str, tuple[int, bytes, str, bytes]]:
        """Row number, input hash, status and content digest of each row of a stage."""
        if stage not in self._states:
            rows = self.reader(stage).rows
            columns = (rows[name].to_pylist() for name in ("key", "input_hash", "status", "exact", "floats"))
            self._states[stage] = {k: (i, h, s, e + f) for i, (k, h, s, e, f) in enumerate(zip(*columns, strict=True))}
        return self._states[stage]

    def state(self, stage: str, row: str) -> tuple[bytes, str, bytes]:
        """Input hash, status and content digest of one row; a row the stage never saw counts as skipped."""
        found = self.states(stage).get(row)
        return (b"", Status.SKIPPED.value, b"") if found is None else found[1:]

    def own(self, key: Key, row: str) -> bytes:
        """Hash of a row's own content."""
        if key == "document":
            record = self.records[row]
            return row_hash([record[n] or "" for n in ("content", *_OF_RECORD)])
        return self.pair_rows[row].own if key == "pair" else row_hash([row])

    def reads(self, node: Node, row: str) -> list[tuple[str, tuple[RowRef, ...]]]:
        """Every row that a row of ``node`` reads, by producer, the engine's own tables included."""
        found = []
        for producer in sorted({i.partition(".")[0] for i in node.work.inputs}):
            key = self.graph.key_of(producer)
            if key is None:
                continue
            refs = tuple(
                self._ref(node, producer, key, other) for other in self.related(node.rows, row, key, node.work.fetched)
            )
            found.append((producer, refs))
        return found

    def _ref(self, node: Node, producer: str, key: Key, row: str) -> RowRef:
        columns = [i.partition(".")[2] for i in node.work.inputs if i.startswith(producer + ".")]
        if producer == "documents" and set(columns) <= {*_OF_RECORD}:  # whatever its text says
            return RowRef(row, row_hash([self.records[row][c] or "" for c in columns]), OK)
        if producer in TABLES:
            return RowRef(row, self.own(key, row), OK)
        if producer in self.fits:
            if row not in self.fits[producer].index:
                return RowRef(row, b"", Status.SKIPPED.value)
            values = [self.fits[producer].value(row, c) for c in columns]
            return RowRef(row, row_hash([json.dumps(values, sort_keys=True, default=str)]), OK)
        return RowRef(row, *self.state(producer, row))

    def input_hash(self, node: Node, row: str, reads: Sequence[tuple[str, tuple[RowRef, ...]]]) -> bytes:
        """Hash of a row's own content, of (key, hash, status) of every row it reads, and of a decision to keep it."""
        parts: list[bytes | str] = [self.own(node.rows, row)]
        if self.keeps(node, row):
            parts.append("keep")
        for producer, refs in reads:
            parts += [producer, str(len(refs))]
            for ref in refs:
                parts += [ref.key, ref.hash, ref.status]
        return row_hash(parts)

    def blocked(self, node: Node, reads: Sequence[tuple[str, tuple[RowRef, ...]]]) -> str | None:
        """The producer whose row must be ok and is not; lists simply leave such rows out."""
        for producer, refs in reads:
            key = self.graph.key_of(producer)
            single = key == node.rows or (node.rows == "pair" and key in ("document", "image"))
            own = [i for i in node.work.inputs if i.startswith(producer + ".")]
            optional = node.stage is not None and all(i in node.stage.optional for i in own)
            if single and not optional and refs[0].status != OK:
                return producer
        return None

    def selected(self, node: Node, row: str) -> bool:
        """Whether the recipe's ``only`` keeps the row."""
        if node.only is None:
            return True
        producer, _, column = node.only.column.partition(".")
        key = self.graph.key_of(producer)
        assert key is not None
        others = self.related(node.rows, row, key, node.work.fetched)
        return any(node.only.keeps(self.value(producer, column, other)) for other in others)

    # values -----------------------------------------------------------------------------------------------

    def document(self, record: str) -> Document:
        """The text of a record."""
        if record not in self._documents:
            content = self.records[record]["content"]
            self._documents[record] = Document.from_bytes(self.store.blobs.get(content))
        return self._documents[record]

    def value(self, producer: str, column: str, row: str) -> Any:
        """One value of one row; None when the row is absent or not ok."""
        if producer in TABLES:
            return self._table_value(producer, column, row)
        if producer in self.fits:
            return self.fits[producer].value(row, column)
        found = self.states(producer).get(row)
        if found is None or found[2] != OK:
            return None
        stage = self.graph[producer].stage
        if stage is not None and column in stage.tensor_schema():
            name = (producer, column)
            if name not in self._tensors:
                self._tensors[name] = self.reader(producer).tensor(column)
            return self._tensors[name][found[0]]
        name = (producer, column)
        if name not in self._tables:
            self._tables[name] = self.reader(producer).table([column])[column]
        return self._tables[name][found[0]].as_py()

    def _there(self, producer: str, row: str) -> bool:
        """Whether a row has values: lists leave the others out."""
        if producer in self.fits:
            return row in self.fits[producer].index
        return producer in TABLES or self.state(producer, row)[1] == OK

    def _table_value(self, producer: str, column: str, row: str) -> Any:
        if producer == "images":
            return self.store.blobs.get(row)
        if producer == "pairs":
            return getattr(self.pair_rows[row], column)
        if producer == "sentence":
            return self._texts[row]
        record = self.records[row]
        return record[column] or "" if column in _OF_RECORD else getattr(self.document(row), column)

    def columns(self, node: Node, rows: Sequence[str], pool: Executor | None = None) -> dict[str, list[Any]]:
        """The declared inputs of some rows, one list a column; lists hold only ok rows; blobs are read in parallel."""
        found: dict[str, list[Any]] = {}
        for item in node.work.inputs:
            producer, _, column = item.partition(".")
            key = self.graph.key_of(producer)
            if key is None:
                continue
            one: Callable[[str], Any]
            if key == node.rows or (node.rows == "pair" and key in ("document", "image")):
                one = lambda r, p=producer, c=column, k=key: self.value(  # noqa: E731
                    p, c, self.related(node.rows, r, k, node.work.fetched)[0]
                )
            else:
                one = lambda r, p=producer, c=column, k=key: [  # noqa: E731
                    self.value(p, c, other)
                    for other in self.related(node.rows, r, k, node.work.fetched)
                    if self._there(p, other)
                ]
            read = producer in ("images", "documents") and pool is not None
            found[item] = list(pool.map(one, rows)) if read and pool else [one(r) for r in rows]
        return found
