"""A small dataset with every kind of row, made by the engine; stages that collect what the engine hands a stage.

What a collecting stage was handed is the reference: a reader must give the same rows the same values.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.engine.steps import close
from diptych.fit import Fit
from diptych.naming import digest_bytes, record_id
from diptych.records import Document
from diptych.stage import Batch, Output, Stage, Tensor
from diptych.storage.snapshot import SCHEMA
from diptych.storage.store import Store, open_store
from diptych.version import Version

HANDED: dict[tuple[str, str], dict[str, Any]] = {}
"""(stage, row key): what the engine handed a collecting stage."""
SPLITS = ("train", "dev", "test")


def number(text: str | bytes) -> int:
    """A small number that follows from a text."""
    return zlib.crc32(text.encode() if isinstance(text, str) else text) % 7


class Rows(Stage):
    version = 1

    def process(self, batch: Batch) -> Output:
        output = batch.output()
        for i, key in enumerate(batch.keys):
            values = {name: batch[name][i] for name in self.inputs if name in batch.columns}
            self.row(key, values, output, i)
        return output

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        raise AssertionError


class Clean(Rows):
    name, key, fetched, gate = "clean", "image", True, True
    inputs = ("images.bytes",)
    outputs = pa.schema([("size", pa.int64())])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        output.set(i, size=len(values["images.bytes"]))
        if values["images.bytes"].startswith(b"bad"):
            output.reject(i, "bad_start")


class CleanText(Rows):
    name, key, fetched, gate = "clean_text", "document", True, True
    inputs = ("documents.text",)
    outputs = pa.schema([("words", pa.int64())])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        output.set(i, words=len(values["documents.text"].split()))
        if "spam" in values["documents.text"]:
            output.reject(i, "spam")


class CleanPairs(Rows):
    name, key, fetched, gate = "clean_pairs", "pair", True, True
    inputs = ("pairs.caption",)
    outputs = pa.schema([("characters", pa.int32())])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        output.set(i, characters=len(values["pairs.caption"]))
        if "buy" in values["pairs.caption"]:
            output.reject(i, "advertisement")


class Features(Rows):
    name, key = "features", "image"
    inputs = ("images.bytes",)
    outputs = pa.schema(
        [("names", pa.list_(pa.string())), ("boxes", pa.list_(pa.list_(pa.float32()))), ("level", pa.float64())]
    )
    tensors: ClassVar = {"pooled": Tensor("float16", (8,)), "regions": Tensor("float32", (None, 3))}

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        n = number(values["images.bytes"])
        if n == 6:
            output.fail(i, "no_memory", "told to")
            return
        output.set(
            i,
            names=[f"object{k}" for k in range(n)],
            boxes=[[k, 0.5, k + 1, n] for k in range(n)],
            level=None if n == 3 else n / 8,
            pooled=np.arange(8, dtype=np.float16) + n,
            regions=np.arange(3 * n, dtype=np.float32).reshape(n, 3),
        )


class Sentences(Rows):
    name, key = "sentences", "document"
    inputs = ("documents.text", "documents.summary")
    outputs = pa.schema([("items", pa.list_(pa.struct([("text", pa.string()), ("position", pa.int32())])))])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        pieces = [p.strip() for p in values["documents.text"].split(".") if p.strip()]
        output.set(i, items=[{"text": p, "position": n} for n, p in enumerate(pieces)])


class Parse(Rows):
    name, key = "parse", "sentence"
    inputs = ("sentence.text",)
    outputs = pa.schema([("tokens", pa.list_(pa.string())), ("depth", pa.int32())])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        text = values["sentence.text"]
        output.set(i, tokens=text.split(), depth=len(text))
        if number(text) == 2:
            output.reject(i, "too_deep")


class Score(Rows):
    name, key = "score", "pair"
    inputs = ("pairs.caption", "features.level")
    outputs = pa.schema([("points", pa.float64()), ("good", pa.bool_())])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        output.set(i, points=number(values["pairs.caption"]) / 4, good=number(values["pairs.caption"]) > 2)
        if number(key) == 1:
            output.reject(i, "unlucky")


class Groups(Fit):
    name, version, rows, key, fetched = "groups", 1, "pair", "pair", True
    inputs = ("pairs.caption",)
    outputs = pa.schema([("key", pa.string()), ("group", pa.int64())])
    on, refit = "all", "always"

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"key": pa.array([k for k in keys if number(k) != 4], pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        keys = sorted(k for p in partials for k in p["key"].to_pylist())
        return pa.table({"key": pa.array(keys, pa.string()), "group": pa.array([number(k) for k in keys], pa.int64())})


class Splits(Fit):
    name, version, rows, fetched = "splits", 1, "document", True
    inputs = ("documents.split",)
    outputs = pa.schema([("key", pa.string()), ("group", pa.string()), ("split", pa.string())])
    on, key, refit, ledger = "all", "document", "always", True

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"key": pa.array(keys, pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        keys = sorted({k for p in partials for k in p["key"].to_pylist()})
        return pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "group": pa.array([k[:2] for k in keys], pa.string()),
                "split": pa.array([split_of(k) for k in keys], pa.string()),
            }
        )


class Common(Fit):
    name, version, rows = "common", 1, "document"
    inputs = ("documents.text",)
    outputs = pa.schema([("word", pa.string())])

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"word": pa.array([w for t in columns["documents.text"] for w in t.split()], pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        return pa.table({"word": pa.array(sorted({w for p in partials for w in p["word"].to_pylist()}), pa.string())})


class Collect(Rows):
    outputs = pa.schema([("seen", pa.bool_())])

    def row(self, key: str, values: dict[str, Any], output: Output, i: int) -> None:
        HANDED[self.name, key] = values
        output.set(i, seen=True)


_FEATURES = ("features.pooled", "features.regions", "features.names", "features.boxes", "features.level")
_DOCUMENTS = ("documents.title", "documents.keyphrases", "documents.url", "documents.subset", "documents.split")


class CollectPair(Collect):
    name, key = "collect_pair", "pair"
    inputs = (
        *_FEATURES, *_DOCUMENTS, "pairs.caption", "pairs.position", "images.bytes", "clean.size", "clean_text.words",
        "score.points", "score.good", "sentences.items", "splits.split", "groups.group", "parse.tokens",
        "sentence.text",
    )  # fmt: skip


class CollectDocument(Collect):
    name, key = "collect_document", "document"
    inputs = (
        *_FEATURES, *_DOCUMENTS, "pairs.caption", "images.bytes", "score.points", "sentences.items", "splits.group",
        "groups.group", "parse.tokens", "parse.depth", "sentence.text",
    )  # fmt: skip


class CollectImage(Collect):
    name, key = "collect_image", "image"
    inputs = (*_FEATURES, "images.bytes", "clean.size")


class CollectSentence(Collect):
    name, key = "collect_sentence", "sentence"
    inputs = ("sentence.text", "parse.tokens", "parse.depth")


COLLECTORS: dict[str, type[Collect]] = {c.key: c for c in (CollectPair, CollectDocument, CollectImage, CollectSentence)}


def split_of(record: str) -> str:
    """The split of a record in this world."""
    return SPLITS[min(number(record) // 2, 2)]


RECIPE = """
name: world
sources: [{kind: folder, name: world, path: .}]
shards: 4
limits: {max_failed: 1}
stages:
""" + "".join(
    f"  {c.name}: {{use: 'world:{c.__name__}'}}\n"
    for c in (Clean, CleanText, CleanPairs, Features, Sentences, Parse, Score, *COLLECTORS.values())
) + "fits:\n" + "".join(f"  {c.name}: {{use: 'world:{c.__name__}'}}\n" for c in (Splits, Groups, Common))  # fmt: skip

WORDS = ["red", "car", "blue", "boat", "tree", "dog", "house", "kite"]


def _record(name: str, document: Document, images: Iterable[tuple[bytes | None, str]], store: Store) -> dict[str, Any]:
    rows = [
        {
            **{"url": f"http://x/{name}/{n}.jpg", "key": None if data is None else store.blobs.put(data)},
            **{"caption": caption, "alt": "", "extra": "", "outcome": "failed:http_404" if data is None else "ok"},
        }
        for n, (data, caption) in enumerate(images)
    ]
    return {
        **{"record": record_id("world", name), "source": "world", "subset": "w", "source_id": name},
        **{"url": f"http://x/{name}", "content": store.blobs.put(document.to_bytes()), "outcome": "ok"},
        **{"split": "train" if name.endswith("1") else None, "images": rows},
    }


def write_snapshot(store: Store, rows: Sequence[dict[str, Any]]) -> str:
    """A snapshot file in the documented columns, sorted by record; its digest."""
    ordered = sorted(rows, key=lambda row: row["record"])
    digest = digest_bytes(json.dumps(ordered, sort_keys=True).encode())
    counts = {"records": sum(row["outcome"] == "ok" for row in ordered), "rows": len(ordered)}
    table = pa.Table.from_pylist(ordered, SCHEMA).replace_schema_metadata({"diptych": json.dumps(counts)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=4096)
    store.home.put(f"snapshots/{digest}.parquet", sink.getvalue().to_pybytes())
    return digest


def make(root: Path, count: int = 40, edited: Sequence[int] = (), removed: Sequence[int] = ()) -> Version:
    """Build the world and open it; a second time in the same folder, with edits, makes its next version."""
    store = open_store(root, "world")
    rows = []
    for i in range(count):
        words = [WORDS[(i * 3 + j) % 8] for j in range(6)]
        text = f"The {words[0]} is {words[1]}. A {words[2]} of {words[3]}. Photo by nobody."
        images: list[tuple[bytes | None, str]] = [(f"image {i} {k}".encode(), f"{words[k]} here") for k in range(i % 4)]
        if i % 5 == 0:
            images = [*images[:1], (f"bad {i}".encode(), "broken"), (None, "gone"), *images[1:]]
        if i % 3 == 0:
            images.append((b"shared picture 2", f"the shared {words[4]}"))
        if i % 7 == 0:
            images.append((f"advert {i}".encode(), "buy this"))
        if i % 11 == 3:
            text += " spam"
        if i == 4:
            text = ""
        if i in edited:
            text, images = f"A new {words[5]}. " + text, [(b"a new picture", "new"), *images[1:]]
        if i in removed:
            continue
        document = Document(title=f"Title {i}", text=text, keyphrases=tuple(words[: i % 3]), language="en")
        rows.append(_record(f"doc{i}", document, images, store))
    rows.append(_record("lost", Document(title="gone"), [], store) | {"outcome": "gone", "content": None})
    snapshot = write_snapshot(store, rows)
    try:
        build(RECIPE, str(root), BuildOptions(accept_failures=True), snapshot=snapshot)
    finally:
        close()
    return Version(open_store(root, "world"), open_store(root, "world").log.manifest("latest"))
