"""A dataset with one stage whose rows are a pure function of their content, and the smallest builder for it.

The builder does what a real one does with the store: reuse rows by input hash, write one segment a shard,
name the rest by reference, commit after the head it planned on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import NotFound
from diptych.naming import digest_bytes, record_id, row_hash, shard_of
from diptych.stage import Output, Tensor
from diptych.storage.canonical import table_digest
from diptych.storage.log import CommitEntry, new_commit_id, now
from diptych.storage.manifest import Code, FitEntry, Manifest, Schema, StageEntry, manifest_digests, tensor_entries
from diptych.storage.parts import Part, assemble, groups, make_part, stage_totals, write_chunk
from diptych.storage.rows import places
from diptych.storage.segments import SegmentRef, SegmentWriter, WrittenSegment, find_segments, read_segment
from diptych.storage.store import Store, open_store

SCHEMA = pa.schema(
    [
        ("label", pa.string()),
        ("length", pa.int32()),
        ("words", pa.list_(pa.struct([("word", pa.string()), ("score", pa.float32())]))),
    ]
)
TENSORS = {"grid": Tensor("float16", (2, 3)), "boxes": Tensor("float32", (None, 4))}
STAGE, KEY = "toy", "0123456789abcdef"


def fill(output: Output, row: int, content: str) -> None:
    """Every value follows from the content: 'bad...' is rejected, 'err...' fails."""
    if content.startswith("bad"):
        output.reject(row, "too_small", value=float(len(content)), threshold=64.0)
        return
    if content.startswith("err"):
        output.fail(row, "boom", f"went wrong with {content}")
        return
    words = content.split()
    boxes = np.arange(4 * len(words), dtype=np.float32).reshape(-1, 4)
    output.set(
        row,
        label=content,
        length=len(content),
        words=[{"word": w, "score": len(w) / 7} for w in words],
        grid=np.full((2, 3), len(content), np.float16),
        boxes=boxes,
    )


def hash_of(content: str) -> bytes:
    """The input hash of a row."""
    return row_hash(["toy", content])


class Toy:
    """A store and its builder; ``records`` maps a source's own id to content."""

    def __init__(self, root: Path | str, shards: int = 4) -> None:
        self.store: Store = open_store(root, "toy")
        self.shards = shards
        self.computed: list[str] = []

    def writer(self, shard: int, build: str, shards: int | None = None) -> SegmentWriter:
        """A writer for one shard."""
        return SegmentWriter(
            self.store, stage=STAGE, stage_key=KEY, shard=shard, shards=shards or self.shards, build=build,
            schema=SCHEMA, tensors=TENSORS, meta={"packages": {"toy": "1"}},
        )  # fmt: skip

    def write(self, shard: int, rows: Mapping[str, str], build: str, batch: int = 7) -> WrittenSegment:
        """One segment with these rows (key to content)."""
        writer = self.writer(shard, build)
        keys = list(rows)
        for start in range(0, len(keys), batch):
            some = keys[start : start + batch]
            output = Output(tuple(some), SCHEMA, TENSORS)
            for i, key in enumerate(some):
                fill(output, i, rows[key])
            writer.append(output, [hash_of(rows[k]) for k in some])
        return writer.close()

    def by_shard(self, records: Mapping[str, str], shards: int | None = None) -> list[dict[str, str]]:
        """Row key to content, for each shard, in key order."""
        count = shards or self.shards
        rows: list[dict[str, str]] = [{} for _ in range(count)]
        for key, content in sorted((record_id("toy", name), content) for name, content in records.items()):
            rows[shard_of(key, count)][key] = content
        return rows

    def snapshot(self, records: Mapping[str, str]) -> str:
        """A snapshot in the documented columns; its blobs are written, too."""
        rows = []
        for name, content in sorted(records.items(), key=lambda item: record_id("toy", item[0])):
            image = self.store.blobs.put(f"image of {content}".encode())
            rows.append(
                {
                    **{"record": record_id("toy", name), "source": "toy", "subset": "", "source_id": name, "url": name},
                    **{"content": self.store.blobs.put(content.encode()), "outcome": "ok", "split": ""},
                    "images": [dict(url="u", key=image, caption="c", alt="", extra="", outcome="ok"),
                               dict(url="v", key=None, caption="", alt="", extra="", outcome="failed:http_404")],
                }
            )  # fmt: skip
        texts = ("record", "source", "subset", "source_id", "url", "content", "outcome", "split")
        image_type = pa.struct([(n, pa.string()) for n in ("url", "key", "caption", "alt", "extra", "outcome")])
        schema = pa.schema([*((n, pa.string()) for n in texts), ("images", pa.list_(image_type))])
        table = pa.Table.from_pylist(rows, schema=schema)
        digest = digest_bytes(json.dumps(rows, sort_keys=True).encode())
        if not self.store.home.exists(f"snapshots/{digest}.parquet"):
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            self.store.home.put(f"snapshots/{digest}.parquet", sink.getvalue().to_pybytes())
        return digest

    def part(self, shard: int, rows: Mapping[str, str], parent: Part | None, build: str, resume: bool) -> Part:
        """The part of one shard: reused rows by reference, the others in one new segment."""
        retired = self.store.log.retired().segments
        known: dict[str, bytes] = {}
        sources: list[tuple[pa.Table, Sequence[SegmentRef]]] = []
        found = find_segments(self.store, STAGE, KEY, shard, self.shards, retired) if resume else []
        candidates: list[tuple[pa.Table, tuple[SegmentRef, ...]]] = []
        for f in found:
            with contextlib.suppress(NotFound):  # a gc retired it since; the commit will say so, or nobody asks for it
                candidates.append((read_segment(self.store, f.ref).rows(), (f.ref,)))
        if parent is not None and not retired.keys() & {s.path for s in parent.segments}:
            candidates.append((self.store.lists.get(parent.rows), parent.segments))
        for table, refs in candidates:
            usable = {
                k: p.input_hash for k, p in places(table).items() if k in rows and p.input_hash == hash_of(rows[k])
            }
            keep = pa.array([k in usable for k in table["key"].to_pylist()], pa.bool_())
            known |= usable
            sources.append((table.filter(keep), refs))
        new = {k: c for k, c in rows.items() if k not in known}
        if new:
            self.computed += new
            written = self.write(shard, new, build)
            sources.append((written.rows, (written.ref,)))
        table, segments = assemble(list(rows), sources)
        return make_part(self.store, shard, table, segments)

    def plan(self, records: Mapping[str, str], build: str = "b", *, resume: bool = False) -> tuple[Manifest, int]:
        """A manifest on the present head, and that head."""
        self.computed = []
        log = self.store.log
        after = log.head()
        versions = log.versions()
        parent = versions[max(versions)] if versions else None
        old = {p.shard: p for p in self.store.parts(parent.stage(STAGE))} if parent else {}
        if parent and parent.shards != self.shards:
            old = {}
        parts = [self.part(s, r, old.get(s), build, resume) for s, r in enumerate(self.by_shard(records))]
        chunks = tuple(write_chunk(self.store, [parts[s] for s in group]) for group in groups(self.shards))
        totals = stage_totals(parts)
        stage = StageEntry(
            name=STAGE, key=KEY, version=1, rows="document", chunks=chunks, counts=totals.counts, bytes=totals.bytes,
            input=totals.input, exact=totals.exact, floats=totals.floats, columns=Schema.of(SCHEMA),
            tensors=tensor_entries(TENSORS), packages={"toy": "1"},
        )  # fmt: skip
        vocabulary = pa.table({"word": sorted({w for c in records.values() for w in c.split()})})
        partial = self.store.lists.put(pa.table({"shard": [0], "table": [self.store.lists.put(vocabulary)]}))
        counted = vocabulary.append_column("n", pa.array(range(len(vocabulary)), pa.int64()))
        result, exact = self.store.lists.put(counted), table_digest(counted, floats=False)
        fit = FitEntry(name="words", key="f", version=1, result=result, exact=exact, partials=(partial,))
        return self.manifest(self.snapshot(records), (stage,), (fit,), after), after

    def manifest(
        self, snapshot: str, stages: tuple[StageEntry, ...], fits: tuple[FitEntry, ...], after: int
    ) -> Manifest:
        """A manifest of these entries."""
        versions = self.store.log.versions()
        digests = manifest_digests(snapshot, stages, fits)
        return Manifest(
            version=self.store.log.next_version(after), parent=max(versions, default=None), commit_id=new_commit_id(),
            created_at=now(), dataset="toy", snapshot=snapshot, shards=self.shards, stages=stages, fits=fits,
            recipe="name: toy", code=Code(version="0"), packages={"numpy": np.__version__}, input_digest=digests.input,
            exact_digest=digests.exact, floats_digest=digests.floats,
        )  # fmt: skip

    def commit(self, records: Mapping[str, str], build: str = "b", *, resume: bool = False) -> Manifest:
        """Plan and commit."""
        manifest, after = self.plan(records, build, resume=resume)
        self.store.log.append(CommitEntry(manifest=manifest), after=after)
        return manifest


__all__ = ["KEY", "SCHEMA", "STAGE", "TENSORS", "Toy", "fill", "hash_of"]
