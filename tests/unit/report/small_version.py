"""A version made through the storage API alone: cleaning rows, sentences, boxes, edges, features; no stage is run."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from diptych.naming import digest_bytes, pair_key, record_id, row_hash, shard_of
from diptych.records import Document
from diptych.stage import Output, Tensor
from diptych.storage.canonical import table_digest
from diptych.storage.log import CommitEntry, new_commit_id, now
from diptych.storage.manifest import (
    Code,
    FitEntry,
    Manifest,
    Schema,
    StageEntry,
    WeightsEntry,
    manifest_digests,
    tensor_entries,
)
from diptych.storage.parts import groups, make_part, stage_totals, write_chunk
from diptych.storage.segments import SegmentWriter
from diptych.storage.snapshot import SCHEMA
from diptych.storage.store import Store, open_store
from diptych.version import Version

ITEM = pa.struct(
    [("field", pa.string()), ("paragraph", pa.int32()), ("position", pa.int32()), ("text", pa.string()),
     ("start", pa.int32()), ("end", pa.int32()), ("tokens", pa.list_(pa.string()))]
)  # fmt: skip
LINE = pa.struct([("text", pa.string()), ("confidence", pa.float32()), ("polygon", pa.list_(pa.float32()))])
EDGE = pa.struct([("subject", pa.int32()), ("predicate", pa.string()), ("object", pa.int32())])


def picture(seed: int, width: int = 120, height: int = 90) -> bytes:
    """A JPEG of smooth colours, with an EXIF comment that must not reach the page."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x9286] = f"SECRET-EXIF-{seed}"
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@dataclass
class Used:
    """One image of a record; ``rule`` is why it is not accepted (``clean.x`` or ``clean_pairs.x``)."""

    data: bytes | None
    caption: str = ""
    url: str = "https://example.org/media/picture.jpg"
    rule: str = ""
    outcome: str = "ok"
    extra: str = ""


@dataclass
class Record:
    """One record; ``rule`` rejects the document in ``clean_text``."""

    name: str
    document: Document | None
    images: Sequence[Used] = ()
    rule: str = ""
    outcome: str = "ok"
    split: str = "train"
    url: str = ""
    group: str = ""


def sentences_of(text: str) -> list[str]:
    """Split at full stops; enough for tests."""
    return [s.strip() + "." for s in text.replace("\n", " ").split(".") if s.strip()]


STAGES: dict[str, tuple[str, pa.Schema, Mapping[str, Tensor], tuple[str, ...]]] = {
    "clean": ("image", pa.schema([("width", pa.int32()), ("height", pa.int32()), ("bytes", pa.int64())]), {}, ()),
    "clean_text": ("document", pa.schema([("language", pa.string()), ("characters", pa.int64())]), {}, ()),
    "clean_pairs": ("pair", pa.schema([("area", pa.int64())]), {}, ("clean",)),
    "sentences": ("document", pa.schema([("items", pa.list_(ITEM))]), {}, ()),
    "ocr": ("image", pa.schema([("lines", pa.list_(LINE))]), {}, ()),
    "regions": ("image", pa.schema([("classes", pa.list_(pa.string()))]), {"boxes": Tensor("float32", (None, 4))}, ()),
    "scene_graph": ("image", pa.schema([("edges", pa.list_(EDGE))]), {}, ("regions",)),
    "backbone": ("image", pa.schema([]), {"pooled": Tensor("float16", (8,))}, ()),
}


class SmallVersion:
    """Builds one version of ``records`` with the stages named."""

    def __init__(
        self,
        root: Path,
        records: Sequence[Record],
        stages: Sequence[str] = tuple(STAGES),
        *,
        shards: int = 2,
        random_weights: bool = False,
        accepted_failures: float | None = None,
        fits: bool = True,
    ) -> None:
        self.store: Store = open_store(str(root), "small")
        self.records = {record_id("test", r.name): r for r in records}
        self.shards = shards
        entries = tuple(self._stage(name, self._rows(name), random_weights) for name in stages)
        fit_entries = self._fits() if fits else ()
        snapshot = self._snapshot()
        digests = manifest_digests(snapshot, entries, fit_entries)
        manifest = Manifest(
            version=self.store.log.next_version(0), parent=None, commit_id=new_commit_id(), created_at=now(),
            dataset="small", snapshot=snapshot, shards=shards, stages=entries, fits=fit_entries,
            recipe="name: small\ntitle: A small <b>version</b>\n", code=Code(version="0"), input_digest=digests.input,
            weights=tuple({w.name: w for e in entries for w in e.weights}.values()),
            exact_digest=digests.exact, floats_digest=digests.floats, accepted_failures=accepted_failures,
        )  # fmt: skip
        self.store.log.append(CommitEntry(manifest=manifest), after=0)
        self.version = Version(self.store, manifest)

    def uses(self, record: str) -> list[tuple[str, str, Used]]:
        """Pair key, image key and image of each fetched use."""
        seen: dict[str, int] = {}
        found = []
        for used in self.records[record].images:
            if used.data is not None:
                image = digest_bytes(used.data)
                seen[image] = seen.get(image, 0) + 1
                found.append((pair_key(record, image, seen[image]), image, used))
        return found

    def _rows(self, stage: str) -> list[dict[str, dict[str, Any]]]:
        """Per shard: key to values; ``rule`` instead of values rejects, ``skip`` skips, ``fail`` fails."""
        shards: list[dict[str, dict[str, Any]]] = [{} for _ in range(self.shards)]
        for record, r in sorted(self.records.items()):
            rows = shards[shard_of(record, self.shards)]
            if r.document is None:
                continue
            own = "" if not r.rule else r.rule.partition(".")[2]
            if stage == "clean_text":
                values = {"language": r.document.language, "characters": len(r.document.text)}
                rows[record] = values | ({"rule": own} if own else {})
            elif stage == "sentences" and not own:
                rows[record] = {"items": self._items(record)}
            for pair, image, used in self.uses(record):
                by, _, rule = used.rule.partition(".")
                accepted = not own and not rule
                if stage == "clean":
                    size = {"width": 120, "height": 90, "bytes": len(used.data or b"")}
                    rows.setdefault(image, size | ({"rule": rule} if by == "clean" else {}))
                elif stage == "clean_pairs":
                    state = {"skip": "input:clean"} if by == "clean" else {"rule": rule} if rule else {}
                    rows[pair] = {"area": 120 * 90} | state
                elif accepted and stage == "ocr":
                    line = {"text": "FRESH <COFFEE>", "confidence": 0.9, "polygon": [10, 10, 60, 10, 60, 30, 10, 30]}
                    rows[image] = {"lines": [line]}
                elif accepted and stage == "regions":
                    boxes = np.array([[5, 5, 50, 60], [60, 20, 110, 80]], np.float32)
                    rows[image] = {"classes": ["cat", "ball"], "boxes": boxes}
                elif accepted and stage == "scene_graph":
                    rows[image] = {"edges": [{"subject": 0, "predicate": "left of", "object": 1}]}
                elif accepted and stage == "backbone":
                    failed = {"fail": "boom"} if r.name == "fails" else {}
                    rows[image] = {"pooled": np.full(8, math.sqrt(len(rows) + 1), np.float16)} | failed
        return shards

    def _items(self, record: str) -> list[dict[str, Any]]:
        r = self.records[record]
        assert r.document is not None
        texts = [(f, 0, s) for f in ("title", "text", "summary") for s in sentences_of(getattr(r.document, f))]
        accepted = [u for _, _, u in self.uses(record) if not u.rule]
        texts += [("caption", n, s) for n, u in enumerate(accepted) for s in sentences_of(u.caption)]
        return [
            {"field": f, "paragraph": p, "position": n, "text": t, "start": 0, "end": len(t), "tokens": t.split()}
            for n, (f, p, t) in enumerate(texts)
        ]

    def _stage(self, name: str, shards: list[dict[str, dict[str, Any]]], random_weights: bool) -> StageEntry:
        kind, schema, tensors, reads = STAGES[name]
        key = digest_bytes(name.encode())
        parts = []
        for shard, rows in enumerate(shards):
            writer = SegmentWriter(
                self.store, stage=name, stage_key=key, shard=shard, shards=self.shards, build="b",
                schema=schema, tensors=tensors, meta={},
            )  # fmt: skip
            output = Output(tuple(rows), schema, tensors)
            for n, values in enumerate(rows.values()):
                plain = {k: v for k, v in values.items() if k not in ("rule", "skip", "fail")}
                output.set(n, **plain)
                if "rule" in values:
                    output.reject(n, values["rule"], value=12.5, threshold=64.0)
                elif "skip" in values:
                    output.skip(n, values["skip"])
                elif "fail" in values:
                    output.fail(n, values["fail"], "<script>alert('failed')</script>")
            if rows:
                writer.append(output, [row_hash([k]) for k in rows])
            written = writer.close()
            parts.append(make_part(self.store, shard, written.rows, (written.ref,)))
        chunks = tuple(write_chunk(self.store, [parts[s] for s in group]) for group in groups(self.shards))
        totals = stage_totals(parts)
        weights = (WeightsEntry(name="random:7", sha256="0" * 64, random=True),) if random_weights else ()
        return StageEntry(
            name=name, key=key, version=1, rows=kind, chunks=chunks, counts=totals.counts, bytes=totals.bytes,
            reads=reads, input=totals.input, exact=totals.exact, floats=totals.floats, columns=Schema.of(schema),
            tensors=tensor_entries(tensors), config={"setting": "<i>"}, weights=weights if name == "backbone" else (),
        )  # fmt: skip

    def _fits(self) -> tuple[FitEntry, ...]:
        rows = [
            {"key": k, "group": r.group or k, "split": r.split, "official": False}
            for k, r in sorted(self.records.items()) if r.document is not None
        ]  # fmt: skip
        kinds = [("key", pa.string()), ("group", pa.string()), ("split", pa.string()), ("official", pa.bool_())]
        pairs = [
            {"key": p, "group": i, "duplicate_of": None, "distance": None, "recurring": False}
            for k in sorted(self.records) for p, i, _ in self.uses(k)
        ]  # fmt: skip
        near = [("key", pa.string()), ("group", pa.string()), ("duplicate_of", pa.string()), ("distance", pa.int32())]
        tables = {
            "splits": pa.Table.from_pylist(rows, schema=pa.schema(kinds)),
            "near_duplicates": pa.Table.from_pylist(pairs, schema=pa.schema([*near, ("recurring", pa.bool_())])),
        }
        return tuple(
            FitEntry(name=n, key=digest_bytes(n.encode()), version=1, result=self.store.lists.put(t), rows=t.num_rows,
                     exact=table_digest(t, floats=False), keyed=True, ledger=n == "splits")
            for n, t in tables.items()
        )  # fmt: skip

    def _snapshot(self) -> str:
        rows = []
        for key, r in sorted(self.records.items()):
            images = []
            for used in r.images:
                name = self.store.blobs.put(used.data) if used.data is not None else None
                image = {"url": used.url, "key": name, "caption": used.caption, "alt": "", "extra": used.extra}
                images.append(image | {"outcome": used.outcome})
            content = self.store.blobs.put(r.document.to_bytes()) if r.document else None
            url = r.url or f"https://example.org/{r.name}.html"
            rows.append(
                {"record": key, "source": "test", "subset": "", "source_id": r.name, "url": url, "content": content}
                | {"outcome": r.outcome, "split": None, "images": images}
            )
        digest = digest_bytes(json.dumps(rows, sort_keys=True).encode())
        counts = {"records": sum(r["outcome"] == "ok" for r in rows), "rows": len(rows)}
        table = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata({"diptych": json.dumps(counts)}))
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, table.schema) as writer:
            if rows:
                writer.write_table(table)
        self.store.home.put(f"snapshots/{digest}.parquet", sink.getvalue().to_pybytes())
        return digest


def story(number: int, language: str = "en") -> Document:
    """A document whose counts are easy to make by hand."""
    return Document(f"Title {number}.", "One two three. Four five.", "A summary.", language, ("coffee",))


def usual() -> list[Record]:
    """Records with every kind of loss."""
    records = [
        Record(f"r{n}", story(n, "zh" if n % 3 == 0 else "en"), [Used(picture(n), f"A caption of {n}.")], split=split)
        for n, split in enumerate(["train"] * 8 + ["dev", "test"])
    ]
    records.append(Record("thumb", story(90), [Used(picture(90), rule="clean.thumbnail"), Used(picture(91), "Kept.")]))
    records.append(Record("pairs", story(92), [Used(picture(92), rule="clean_pairs.advertisement", caption="Buy.")]))
    records.append(Record("short", story(93), [Used(picture(93))], rule="clean_text.short_text"))
    records.append(Record("lost", story(94), [Used(None, outcome="failed:http_500"), Used(None, outcome="gone")]))
    records.append(Record("gone", None, outcome="gone"))
    records.append(Record("broken", None, outcome="failed:timeout"))
    records.append(Record("fails", story(95), [Used(picture(95), "It fails.")]))
    return records
