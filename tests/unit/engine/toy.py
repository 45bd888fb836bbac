"""Toy stages and snapshots that exercise every kind of row without weights or pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from diptych.fit import Fit
from diptych.naming import record_id
from diptych.records import Document
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.storage.snapshot import _write
from diptych.storage.store import Store

CALLS: list[tuple[str, str]] = []
"""(stage, row key) of every row a toy stage was asked for."""
BROKEN: set[str] = set()
"""Row keys that fail transiently."""


class Toy(Stage):
    version = 1

    def process(self, batch: Batch) -> Output:
        CALLS.extend((self.name, key) for key in batch.keys)
        output = batch.output()
        for i, key in enumerate(batch.keys):
            if key in BROKEN:
                output.fail(i, "broken", "told to", transient=True)
            else:
                self.row(batch, i, output)
        return output

    def row(self, batch: Batch, i: int, output: Output) -> None:
        raise AssertionError


class Measure(Toy):
    """Length and first byte of an image; images that begin with ``bad`` are rejected."""

    name, key, fetched, gate = "measure", "image", True, True
    inputs = ("images.bytes",)
    outputs = pa.schema([("size", pa.int64())])
    tensors: ClassVar = {"head": Tensor("float16", (4,))}

    def row(self, batch: Batch, i: int, output: Output) -> None:
        data = batch["images.bytes"][i]
        output.set(i, size=len(data), head=np.frombuffer(data[:4].ljust(4, b"\0"), np.uint8).astype(np.float16))
        if data.startswith(b"bad"):
            output.reject(i, "bad_start", value=float(len(data)), threshold=3.0)


class Words(Toy):
    """Words of a document's text."""

    name, key = "words", "document"
    inputs = ("documents.text", "pairs.caption")
    outputs = pa.schema([("words", pa.list_(pa.string())), ("captions", pa.list_(pa.string()))])

    class Config(StageConfig):
        lower: bool = True

    def row(self, batch: Batch, i: int, output: Output) -> None:
        text = batch["documents.text"][i]
        words = (text.lower() if self.config.lower else text).split()  # type: ignore[attr-defined]
        output.set(i, words=words, captions=batch["pairs.caption"][i])


class Link(Toy):
    """Caption words that stand in the document, times the image's size."""

    name, key = "link", "pair"
    inputs = ("pairs.caption", "words.words", "measure.size")
    outputs = pa.schema([("shared", pa.int32()), ("size", pa.int64())])

    def row(self, batch: Batch, i: int, output: Output) -> None:
        shared = set(batch["pairs.caption"][i].split()) & set(batch["words.words"][i])
        output.set(i, shared=len(shared), size=batch["measure.size"][i])


class Double(Toy):
    """Twice the size of an accepted image."""

    name, key = "double", "image"
    inputs = ("measure.size", "measure.head")
    outputs = pa.schema([("twice", pa.int64()), ("head", pa.float32())])

    def row(self, batch: Batch, i: int, output: Output) -> None:
        output.set(i, twice=2 * batch["measure.size"][i], head=float(batch["measure.head"][i].sum()))


class Again(Toy):
    """What ``double`` says of an image; not in :data:`RECIPE`."""

    name, key = "again", "image"
    inputs = ("double.twice",)
    outputs = pa.schema([("twice", pa.int64())])

    def row(self, batch: Batch, i: int, output: Output) -> None:
        output.set(i, twice=batch["double.twice"][i])


class Halves(Fit):
    """Stands in for the split fit: a record's split by its first digit, kept for ever."""

    name, version, rows, fetched = "splits", 1, "document", True
    inputs = ("documents.split",)
    outputs = pa.schema([("key", pa.string()), ("split", pa.string())])
    on, key, refit, ledger = "all", "document", "always", True

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"key": pa.array(keys, pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        keys = {k for p in partials for k in p["key"].to_pylist()}
        keys |= set(previous["key"].to_pylist()) if previous else set()
        names = sorted(keys)
        return pa.table(
            {"key": pa.array(names, pa.string()), "split": ["train" if k[0] < "c" else "test" for k in names]}
        )


class Common(Fit):
    """Words of the training documents."""

    name, version, rows = "common", 1, "document"
    inputs = ("words.words",)
    outputs = pa.schema([("word", pa.string()), ("count", pa.int64())])

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"word": pa.array([w for row in columns["words.words"] for w in row], pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        words = sorted(w for p in partials for w in p["word"].to_pylist())
        names = sorted(set(words))
        return pa.table({"word": names, "count": [words.count(n) for n in names]}, schema=self.outputs)


class Said(Fit):
    """The sentences of the training documents."""

    name, version, rows = "said", 1, "sentence"
    inputs = ("sentence.text",)
    outputs = pa.schema([("text", pa.string())])

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"text": pa.array(columns["sentence.text"], pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        return pa.table({"text": sorted({t for p in partials for t in p["text"].to_pylist()})}, schema=self.outputs)


class Known(Toy):
    """How many of a document's words the fit ``common`` knows."""

    name, key = "known", "document"
    inputs = ("words.words", "common.word")
    outputs = pa.schema([("known", pa.int32())])

    def setup(self, device: str) -> None:
        self.words = set(self.fits["common"]["word"].to_pylist())

    def row(self, batch: Batch, i: int, output: Output) -> None:
        output.set(i, known=len(self.words & set(batch["words.words"][i])))


def record(
    name: str, text: str, images: Iterable[tuple[bytes, str]], store: Store, outcome: str = "ok"
) -> dict[str, Any]:
    """A snapshot row; its blobs are stored."""
    document = Document(title=name, text=text, language="en")
    rows = [
        {
            "url": f"http://x/{name}/{n}.jpg",
            "key": store.blobs.put(data),
            "caption": caption,
            "alt": "",
            "extra": "",
            "outcome": "ok",
        }
        for n, (data, caption) in enumerate(images)
    ]
    return {
        "record": record_id("toy", name),
        "source": "toy",
        "subset": "toy",
        "source_id": name,
        "url": f"http://x/{name}",
        "content": store.blobs.put(document.to_bytes()),
        "outcome": outcome,
        "split": None,
        "images": rows,
    }


def snapshot(store: Store, rows: Iterable[dict[str, Any]]) -> str:
    """Write a snapshot of these rows; its digest."""
    ordered = sorted(rows, key=lambda r: r["record"])
    return _write(store, iter(ordered)).digest


RECIPE = """
name: toy
sources: [{kind: folder, name: toy, path: .}]
shards: 4
stages:
  measure: {use: "toy:Measure"}
  words: {use: "toy:Words"}
  link: {use: "toy:Link"}
  double: {use: "toy:Double"}
  known: {use: "toy:Known"}
fits:
  splits: {use: "toy:Halves"}
  common: {use: "toy:Common"}
"""
