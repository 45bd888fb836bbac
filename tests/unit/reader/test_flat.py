"""Memory stays flat: neither opening nor reading loads the tensors, here or in workers."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import world

from diptych.naming import record_id, row_hash, shard_of
from diptych.records import Document
from diptych.stage import Output, Tensor
from diptych.storage import CommitEntry, Manifest, SegmentWriter, StageEntry, make_part, manifest_digests, write_chunk
from diptych.storage.log import new_commit_id, now
from diptych.storage.manifest import Code, Schema, tensor_entries
from diptych.storage.parts import groups, stage_totals
from diptych.storage.reader import Loader, Records
from diptych.storage.store import open_store
from diptych.version import Version

SCHEMA = pa.schema([("number", pa.int64()), ("words", pa.string())])


def big(root: Path, count: int, shape: tuple[int, ...], shards: int = 8) -> Version:
    """A version of one document stage with one tensor, written without the engine."""
    store = open_store(root, "big")
    tensors = {"grid": Tensor("float16", shape)} if shape else {}
    content = store.blobs.put(Document(title="same").to_bytes())
    ids = sorted(record_id("big", str(n)) for n in range(count))
    rows = [
        {
            **{"record": r, "source": "big", "subset": "", "source_id": r, "url": r, "content": content},
            **{"outcome": "ok", "split": None, "images": []},
        }
        for r in ids
    ]
    snapshot = world.write_snapshot(store, rows)
    parts = []
    for shard in range(shards):
        own = [(n, r) for n, r in enumerate(ids) if shard_of(r, shards) == shard]
        writer = SegmentWriter(
            store, stage="grids", stage_key="0" * 16, shard=shard, shards=shards, build="b", schema=SCHEMA,
            tensors=tensors, meta={},
        )  # fmt: skip
        for start in range(0, len(own), 256):
            some = own[start : start + 256]
            output = Output(tuple(r for _, r in some), SCHEMA, tensors)
            for i, (n, r) in enumerate(some):
                output.set(i, number=n, words=f"the words of {r}")
                if shape:
                    output.set(i, grid=np.full(shape, n % 2048, np.float16))
            writer.append(output, [row_hash([r]) for _, r in some])
        written = writer.close()
        parts.append(make_part(store, shard, written.rows, [written.ref]))
    totals = stage_totals(parts)
    entry = StageEntry(
        name="grids", key="0" * 16, version=1, rows="document", counts=totals.counts, bytes=totals.bytes,
        chunks=tuple(write_chunk(store, [parts[s] for s in group]) for group in groups(shards)),
        input=totals.input, exact=totals.exact, floats=totals.floats, columns=Schema.of(SCHEMA),
        tensors=tensor_entries(tensors),
    )  # fmt: skip
    digests = manifest_digests(snapshot, [entry])
    manifest = Manifest(
        version=1, parent=None, commit_id=new_commit_id(), created_at=now(), dataset="big", snapshot=snapshot,
        shards=shards, stages=(entry,), recipe="name: big", code=Code(version="0"), input_digest=digests.input,
        exact_digest=digests.exact, floats_digest=digests.floats,
    )  # fmt: skip
    store.log.append(CommitEntry(manifest=manifest), after=0)
    return Version(store, store.log.manifest("latest"))


def private() -> int:
    """Bytes of this process that are its own: mapped files are not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def _private_in_worker(samples: list[dict[str, object]]) -> tuple[int, int, int]:
    total = sum(float(np.asarray(s["grids.grid"]).max()) for s in samples)
    return os.getpid(), private(), int(total)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_reading_everything_takes_no_memory(tmp_path: Path) -> None:
    count, shape = 1600, (49, 512)  # 80 MB of tensors
    version = big(tmp_path, count, shape)
    with Records(version, ["grids.number"], rows="document") as records:
        list(records)  # what imports and Arrow take once
    before = private()
    with Records(version, ["grids.grid", "grids.number"], rows="document") as records:
        for sample in records:
            assert sample["grids.grid"].shape == shape and sample["grids.grid"][3, 4] == sample["grids.number"] % 2048
        assert private() - before < 16 << 20
    with Loader(
        version, ["grids.grid"], rows="document", split=None, workers=2, batch_size=8, collate=_private_in_worker
    ) as loader:
        told = list(loader)
        assert {pid for pid, _, _ in told}.isdisjoint({os.getpid()}) and len({pid for pid, _, _ in told}) == 2
        for pid in {pid for pid, _, _ in told}:
            sizes = [size for p, size, _ in told if p == pid]
            assert max(sizes) - sizes[0] < 16 << 20
        assert len(Path("/proc/self/maps").read_text().splitlines()) < 5000


def test_opening_many_rows_takes_seconds(tmp_path: Path) -> None:
    version = big(tmp_path, 20_000, (), shards=32)
    start = time.perf_counter()
    with Records(version, ["grids.number", "grids.words"], rows="document") as records:
        assert len(records) == 20_000
        assert [records[i]["grids.number"] for i in (0, 777, 19_999)] == [0, 777, 19_999]
        assert records[777]["grids.words"] == f"the words of {records.key(777)}"
    assert time.perf_counter() - start < 15  # 1 s on an idle core
