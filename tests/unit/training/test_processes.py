"""Runs in several processes: workers that read ahead, DDP on two CPU processes, kills from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_task import KILL

from diptych.exceptions import Unfinished
from diptych.training.folder import RunFolder, find_runs
from diptych.training.options import RunOptions
from diptych.training.train import Order, continue_run, start_run, train
from diptych.version import Version

pytestmark = pytest.mark.slow
TOY = Order("toy_task:ToyTask", seed=3)


def quiet(text: str) -> None:
    """Say nothing."""


def equal(one: RunFolder, other: RunFolder) -> bool:
    names = ("weights.safetensors", "metrics.json", "predictions-test.jsonl", "predictions-dev.jsonl")
    return all(one.home.read(name) == other.home.read(name) for name in names)


def test_workers_change_nothing(version: Version) -> None:
    runs = [train(version, TOY, RunOptions(workers=n, tensorboard=False), quiet) for n in (0, 2)]
    assert equal(*runs)


def test_two_processes_train_one_model_and_resume_to_the_bit(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    options = RunOptions(devices=2, tensorboard=False)
    order = Order("toy_task:ToyTask", settings={"warm": 3, "epochs": 6}, seed=3)
    whole, alone = train(version, order, options, quiet), train(version, order, RunOptions(tensorboard=False), quiet)
    assert not equal(whole, alone)  # twice the batch: another training
    halves = start_run(version, order)
    monkeypatch.setenv(KILL, "13")
    with pytest.raises(Unfinished, match="SIGTERM|another process"):
        continue_run(halves, options, quiet)
    (place,) = halves.list("checkpoints")
    stored = halves.read_json(f"checkpoints/{place}/checkpoint.json")
    assert stored["progress"]["step"] == 20 and len(stored["random"]) == 2
    assert stored["random"][0]["torch"] != stored["random"][1]["torch"]
    monkeypatch.delenv(KILL)
    continue_run(halves, options, quiet)
    assert equal(halves, whole)


def test_terminated_and_killed_from_outside(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(built, root)
    here = Path(__file__).parent
    path = [str(here), str(here.parent / "reader"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "diptych.cli", "train"]
    ending = ["--root", str(root), "--no-tensorboard"]
    begin = ["toy_task:ToyTask", "--dataset", "world@1", "--set", "patience=1000", "--set", "epochs=60", "--seeds", "5"]

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, *words, *ending], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip

    def step_of(run: RunFolder) -> int:
        places = [p for p in run.list("checkpoints") if run.exists(f"checkpoints/{p}/checkpoint.json")]
        return int(places[-1].partition("-")[0]) if places else 0

    def wait(process: subprocess.Popen[str], more_than: int) -> RunFolder:
        until = time.monotonic() + 200
        while time.monotonic() < until and process.poll() is None:
            for run in find_runs(str(root), "world", "toy"):
                if step_of(run) > more_than:
                    return run
            time.sleep(0.02)
        raise AssertionError(process.communicate())

    whole = start(*begin)
    said = whole.communicate(timeout=250)
    assert whole.returncode == 0, said
    (first,) = find_runs(str(root), "world", "toy")
    target = first.home
    shutil.move(str(Path(target.url)), str(tmp_path / "whole"))

    process = start(*begin)
    run = wait(process, 40)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 1 and f"go on with `diptych train --resume toy/{run.run}`" in said, (out, said)
    process = start("--resume", run.run)
    wait(process, step_of(run) + 40)
    process.kill()
    process.communicate()
    assert run.about()["status"] == "unfinished"
    process = start("--resume", f"toy/{run.run}")
    out, said = process.communicate(timeout=250)
    assert process.returncode == 0 and "ours: full" in out and "going on after step" in said, (out, said)
    for name in ("weights.safetensors", "metrics.json", "predictions-test.jsonl"):
        assert run.home.read(name) == (tmp_path / "whole" / name).read_bytes()
