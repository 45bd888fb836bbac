"""A build killed at any moment, and two builds at once, end as an undisturbed one does."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import toy
from test_build import corpus, digests, run

from diptych.storage.store import open_store
from diptych.storage.verify import verify

SCRIPT = Path(__file__).parent / "toy_build.py"


def start(root: Path, snapshot: str, pause: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(root), snapshot, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_builds_go_on_where_they_were(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    run(whole, corpus(open_store(whole, "toy")))
    root = tmp_path / "killed"
    store = open_store(root, "toy")
    snapshot = toy.snapshot(store, corpus(store))
    chance = random.Random(7)
    begun = time.monotonic()
    timing = start(tmp_path / "timing", _copy(tmp_path / "timing"), 0.01)
    timing.communicate()
    assert timing.returncode == 0
    length = time.monotonic() - begun
    for number in range(6):
        process = start(root, snapshot, 0.01)
        time.sleep(chance.uniform(0.4, 0.95) * length)
        process.send_signal(signal.SIGINT if number % 3 == 2 else signal.SIGKILL)
        process.communicate()
    process = start(root, snapshot)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert digests(root) == digests(whole)
    assert verify(store).problems == []
    assert int(out.split()[1]) < 171, "what the killed builds had finished must not be computed again"


def _copy(root: Path) -> str:
    store = open_store(root, "toy")
    return toy.snapshot(store, corpus(store))


def test_two_builds_at_once_commit_one_version(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    snapshot = toy.snapshot(store, corpus(store))
    processes = [start(tmp_path, snapshot, 0.005) for _ in range(2)]
    outputs = [p.communicate(timeout=120) for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert sorted(o.split()[0] for o, _ in outputs) == ["1", "None"]
    assert list(store.log.versions()) == [1] and verify(store).problems == []
