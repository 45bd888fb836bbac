"""A version of 100,000 shards: its manifest written, read, compared and garbage-collected, with time and memory.

Simulated: the part lists are what builds of 131,072 shards (the first power of two) write, of the stages given, and the
log entries name them; behind them stand no segments, and row tables only for the shards that changed. Version 2 changes
one shard in a thousand of every stage, all in one of the 32 groups; version 3 all shards of one stage. Every phase is a
process of its own, its peak memory is the process's. ``python benchmarks/manifest.py [--shards 131072] [--stages 9]``
ends with 1 when a phase is above its limit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from diptych.storage.diff import diff
from diptych.storage.gc import gc
from diptych.storage.log import CommitEntry, new_commit_id, now
from diptych.storage.manifest import Code, Manifest, Schema, StageEntry, manifest_digests
from diptych.storage.parts import Part, groups, part_digests, read_chunk, stage_totals, write_chunk
from diptych.storage.retire import retire
from diptych.storage.rows import Counts, make_rows
from diptych.storage.segment_info import FileRef, SegmentRef
from diptych.storage.snapshot import _write
from diptych.storage.store import Store, open_store

ROWS = 1000
"""Rows of a part."""
LIMITS = {
    "write": (300, 1.0),
    "write one group": (200, 1.0),
    "write one stage": (300, 1.0),
    "open": (5, 0.5),
    "read": (200, 1.0),
    "diff 1 2": (200, 1.0),
    "diff 2 3": (200, 1.0),
    "gc": (400, 3.0),
}
"""Seconds of processor time and GiB at most, for 131,072 shards of 9 stages."""


def hexed(*names: object) -> str:
    return hashlib.blake2b("/".join(map(str, names)).encode(), digest_size=32).hexdigest()


def part(stage: str, shard: int, build: str) -> Part:
    """A part nobody wrote; its names and digests are as long and as different as real ones."""
    files = tuple(FileRef(n, 100_000, hexed(stage, shard, build, n)) for n in ("table.parquet", "x.npy", "part.json"))
    segment = SegmentRef(f"parts/{stage}/{hexed(stage)}/shard-{shard:05d}/{build}-0123456789abcdef", ROWS, files)
    digests = {name: hexed(stage, shard, build, name) for name in ("input", "exact", "floats")}
    return Part(shard, hexed(stage, shard, build, "rows"), (segment,), Counts(ok=ROWS), segment.bytes, **digests)


def changed_part(store: Store, stage: str, shard: int, build: str) -> Part:
    """A part of ten rows whose row table is there, because a comparison reads it."""
    made = part(stage, shard, build)
    count, key = 10, f"{shard:08x}"
    rows = make_rows(
        keys=[f"{key}{n:02d}" for n in range(count)], segment=[0] * count, row=list(range(count)),
        input_hash=[hashlib.blake2b(key.encode(), digest_size=16).digest()] * count, status=["ok"] * count,
        code=[""] * count, floats=[b"\0" * 16] * count,
        exact=[hashlib.blake2b(f"{key}{build}{n}".encode(), digest_size=16).digest() for n in range(count)],
    )  # fmt: skip
    values = vars(made) | {"rows": store.lists.put(rows), "counts": Counts(ok=count)} | part_digests(rows)
    return Part(**values)


def entry(store: Store, name: str, chunks: tuple[str, ...]) -> StageEntry:
    totals = stage_totals(p for chunk in chunks for p in read_chunk(store, chunk))
    return StageEntry(
        name=name, key=hexed(name), version=1, chunks=chunks, columns=Schema.of(pa.schema([("x", pa.int64())])),
        counts=totals.counts, bytes=totals.bytes, input=totals.input, exact=totals.exact, floats=totals.floats,
    )  # fmt: skip


def commit(store: Store, shards: int, stages: tuple[StageEntry, ...], snapshot: str) -> None:
    digests = manifest_digests(snapshot, stages)
    head = store.log.head()
    manifest = Manifest(
        version=store.log.next_version(head), parent=head or None, commit_id=new_commit_id(), created_at=now(),
        dataset=store.name, snapshot=snapshot, shards=shards, stages=stages, recipe="", code=Code(version="0"),
        input_digest=digests.input, exact_digest=digests.exact, floats_digest=digests.floats,
    )  # fmt: skip
    store.log.append(CommitEntry(manifest=manifest), after=head)


def write_all(store: Store, shards: int, stages: int) -> str:
    """Version 1: every part list of every stage."""
    snapshot = _write(store, iter([])).digest
    made = []
    for name in (f"stage{n}" for n in range(stages)):
        small = max(1, shards // 1000)  # the first shards are those that version 2 changes: their tables are there
        chunks = []
        for group in groups(shards):
            parts = [changed_part(store, name, s, "one") if s < small else part(name, s, "one") for s in group]
            chunks.append(write_chunk(store, parts))
        made.append(entry(store, name, tuple(chunks)))
    commit(store, shards, tuple(made), snapshot)
    return f"{stages} x {shards:,} parts in {sum(len(s.chunks) for s in made)} lists"


def write_group(store: Store, shards: int, stages: int) -> str:
    """Version 2: one shard in a thousand of every stage; 31 of 32 lists are the parent's."""
    old = store.log.manifest("latest")
    made = []
    for stage in old.stages:
        parts = list(read_chunk(store, stage.chunks[0]))
        small = max(1, shards // 1000)
        parts[:small] = [changed_part(store, stage.name, shard, "two") for shard in range(small)]
        made.append(entry(store, stage.name, (write_chunk(store, parts), *stage.chunks[1:])))
    commit(store, shards, tuple(made), old.snapshot)
    return f"{stages} lists written, {31 * stages if shards >= 32 else 0} named again"


def write_stage(store: Store, shards: int, stages: int) -> str:
    """Version 3: every part of the last stage, whose row tables are as they were."""
    old = store.log.manifest("latest")
    last = old.stages[-1]
    chunks = []
    for chunk in last.chunks:
        parts = [Part(**(vars(p) | {"bytes": p.bytes + 1})) for p in read_chunk(store, chunk)]
        chunks.append(write_chunk(store, parts))
    commit(store, shards, (*old.stages[:-1], entry(store, last.name, tuple(chunks))), old.snapshot)
    return f"{len(chunks)} lists written"


def open_one(store: Store, shards: int, stages: int) -> str:
    """Open the latest version and find one shard's part."""
    manifest = store.log.manifest("latest")
    found = next(p for p in read_chunk(store, manifest.stages[0].chunks[-1]) if p.shard == shards - 1)
    return f"log entry of {len(store.home.read('log/1.json')):,} bytes; shard {found.shard} found"


def read_all(store: Store, shards: int, stages: int) -> str:
    """Read every part of the latest version."""
    count = sum(1 for stage in store.log.manifest("latest").stages for _ in store.parts(stage))
    assert count == shards * stages, count
    return f"{count:,} parts"


def compare(store: Store, a: int, b: int) -> str:
    found = diff(store, a, b)
    return f"{sum(len(s.changed) for s in found.stages):,} rows changed, {sum(s.same for s in found.stages):,} same"


def collect(store: Store, shards: int, stages: int) -> str:
    """Retire versions 1 and 2; delete what only they named."""
    before = {name for name in store.home.list("lists")}
    retire(store, keep_last=1)
    report = gc(store, grace=-1)
    kept = store.log.manifest("latest")
    assert all(store.lists.exists(chunk) for stage in kept.stages for chunk in stage.chunks)
    assert read_all(store, shards, stages)
    left = len(store.home.list("lists"))
    assert left < len(before) and len(report.deleted) == len(before) - left
    return f"{len(report.deleted)} lists deleted, {left} kept, {report.bytes / 1e6:.1f} MB freed"


PHASES: dict[str, Callable[[Store, int, int], str]] = {
    "write": write_all,
    "write one group": write_group,
    "write one stage": write_stage,
    "open": open_one,
    "read": read_all,
    "diff 1 2": lambda store, shards, stages: compare(store, 1, 2),
    "diff 2 3": lambda store, shards, stages: compare(store, 2, 3),
    "gc": collect,
}


def phase(name: str, root: Path, shards: int, stages: int) -> None:
    """Run one phase here and print what it took."""
    store, wall, used = open_store(root, "simulated"), time.perf_counter(), time.process_time()
    said = PHASES[name](store, shards, stages)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - used, "said": said}
    print(json.dumps(took | {"gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1 << 17)
    parser.add_argument("--stages", type=int, default=9)
    parser.add_argument("--phase", choices=list(PHASES), help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.phase:
        phase(options.phase, options.root, options.shards, options.stages)
        return 0
    failed = 0
    scale = options.shards * options.stages / (9 << 17)
    print("| phase | CPU seconds | limit | peak memory, GiB | limit | |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in PHASES:
            command = [sys.executable, __file__, "--phase", name, "--root", folder]
            command += ["--shards", str(options.shards), "--stages", str(options.stages)]
            took = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds, memory = max(5.0, LIMITS[name][0] * scale), LIMITS[name][1]
            failed |= took["cpu"] > seconds or took["gib"] > memory
            print(
                f"| {name} | {took['cpu']:.1f} | {seconds:.0f} | {took['gib']:.2f} | {memory} | {took['said']} |",
                flush=True,
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
