"""kill -9 at random moments while everything is being written: readers never see anything partial."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_dataset import KEY, STAGE, Toy

from diptych.naming import digest_bytes
from diptych.storage.gc import gc
from diptych.storage.segments import find_segments, read_segment
from diptych.storage.verify import verify

VICTIM = """
import sys
from toy_dataset import Toy
toy = Toy(sys.argv[1])
print("ready", flush=True)
n = int(sys.argv[2])
while True:
    n += 1
    toy.store.blobs.put(f"{n}".encode() * 20000)
    toy.commit({f"r{i}": f"content {i} of {n if i % 7 == 0 else 0}" for i in range(80)}, build=f"b{n}")
    toy.store.log.tag("t", 1)
"""


def start(folder: Path, n: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(folder), str(n)], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("seed", range(3))
def test_nothing_partial_is_ever_visible(tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "root"
    for round_ in range(2):
        victim = start(folder, 1000 * round_)
        assert victim.stdout is not None and victim.stdout.readline() == "ready\n"
        time.sleep(0.15 + random.Random(10 * seed + round_).random() * 0.5)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        toy = Toy(folder)
        for shard in range(toy.shards):
            for found in find_segments(toy.store, STAGE, KEY, shard, toy.shards):
                segment = read_segment(toy.store, found.ref, verify=True)
                digests = segment.recompute()
                assert digests.floats == segment.rows()["floats"].to_pylist()
        for path, _ in toy.store.home.walk("raw/blobs"):
            assert digest_bytes(toy.store.home.read(path)) == path.rpartition("/")[2]
        for path, _ in toy.store.home.walk("lists"):
            toy.store.lists.get(path.removeprefix("lists/").removesuffix(".parquet"))
        versions = toy.store.log.versions()
        if versions:
            report = verify(toy.store)
            assert report.ok, report.problems
    again = Toy(folder)
    manifest = again.commit({"a": "one", "b": "two"}, build="after")
    gc(again.store, grace=0, keep_blobs=())
    named = {s.path for p in again.store.parts(manifest.stage(STAGE)) for s in p.segments}
    on_disk = {path.rpartition("/")[0] for path, _ in again.store.home.walk("parts")}
    kept = {
        s.path
        for m in again.store.log.versions().values()
        for p in again.store.parts(m.stage(STAGE))
        for s in p.segments
    }
    assert named <= on_disk == kept, "what the killed writers left is gone, what versions name is there"


def test_a_finished_segment_is_found_after_a_crash_before_the_commit(tmp_path: Path) -> None:
    records = {f"r{i}": f"content {i}" for i in range(40)}
    undisturbed = Toy(tmp_path / "calm").commit(records)
    crashed = Toy(tmp_path / "root")
    crashed.plan(records, build="dead")
    resumed = Toy(tmp_path / "root")
    manifest = resumed.commit(records, build="next", resume=True)
    assert resumed.computed == []
    digests = ("input_digest", "exact_digest", "floats_digest")
    assert [getattr(manifest, d) for d in digests] == [getattr(undisturbed, d) for d in digests]
