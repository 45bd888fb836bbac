"""Runs in several processes: workers that read ahead, DDP on two CPU processes, kills from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_task import COLLATE_S, KILL, KILL_ALL

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
    for name, value in {"MASTER_PORT": "1", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "a batch job"}.items():
        monkeypatch.setenv(name, value)  # an earlier run's port, and a job in which we start the processes
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


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts Python with words, and with variables, in a session of its own."""
    here = Path(__file__).parent
    path = [str(here), str(here.parent / "reader"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}

    def start(*words: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, *words], env={**environment, **variables}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip

    return start


def group(number: int) -> list[int]:
    """The processes of a process group that are there and do not only wait to be taken note of."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, of, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(of) == number and state != "Z":
            found.append(int(folder.name))
    return found


def until(what: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("devices", "collate_s", "kill", "step"), [(1, 0.4, 3, 4), (2, 0.1, 13, 20)])
def test_sigterm_to_all_processes_ends_it_with_a_checkpoint_while_it_waits_for_a_batch(
    version: Version, program: Callable[..., subprocess.Popen[str]],
    devices: int, collate_s: float, kill: int, step: int,
) -> None:  # fmt: skip
    whole, halves = (start_run(version, Order("toy_task:ToyTask", settings={"warm": 3}, seed=3)) for _ in range(2))
    options = ("--root", version.store.root.url, "--devices", str(devices), "--workers", "1", "--no-tensorboard")

    def go_on(run: RunFolder, **variables: str) -> subprocess.Popen[str]:
        return program("-m", "diptych.cli", "train", "--resume", f"toy/{run.run}", *options, **variables)

    process = go_on(halves, **{KILL: str(kill), KILL_ALL: str(collate_s / 2), COLLATE_S: str(collate_s)})
    out, said = process.communicate(timeout=250)
    assert process.returncode == 1 and f"go on with `diptych train --resume toy/{halves.run}`" in said, (out, said)
    (place,) = halves.list("checkpoints")
    assert halves.read_json(f"checkpoints/{place}/checkpoint.json")["progress"]["step"] == step
    until(lambda: not group(process.pid))
    for process in [go_on(whole), go_on(halves)]:
        said = process.communicate(timeout=250)
        assert process.returncode == 0, said
    assert equal(halves, whole)


READING = """
import os, signal, sys
from diptych.training.feed import Feed
from diptych.version import open_version
from toy_task import IMAGES, ToyTask, ToyConfig

if __name__ == "__main__":
    version = open_version(sys.argv[1], 1)
    task = ToyTask(ToyConfig(), ToyTask.prepare(version, ToyConfig()))
    feed = Feed(version, task, "images", IMAGES, workers=3)
    batches = feed.forever()
    next(batches)
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    assert sys.argv[2] != "fail"
"""


@pytest.mark.parametrize(("how", "code"), [("end", 0), ("fail", 1), ("kill", -9)])
def test_readers_end_with_their_process(
    version: Version, tmp_path: Path, program: Callable[..., subprocess.Popen[str]], how: str, code: int
) -> None:
    (tmp_path / "reading.py").write_text(READING)
    process = program(str(tmp_path / "reading.py"), str(version.store.root.url) + "/world", how)
    try:
        assert process.wait(60) == code
        until(lambda: not group(process.pid), 20)
    finally:
        for number in group(process.pid):
            os.kill(number, signal.SIGKILL)
        print(*process.communicate())


def test_terminated_and_killed_from_outside(
    built: Path, tmp_path: Path, program: Callable[..., subprocess.Popen[str]]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(built, root)
    command = ["-m", "diptych.cli", "train"]
    ending = ["--root", str(root), "--no-tensorboard"]
    begin = ["toy_task:ToyTask", "--dataset", "world@1", "--set", "patience=1000", "--set", "epochs=60", "--seeds", "5"]

    def start(*words: str) -> subprocess.Popen[str]:
        return program(*command, *words, *ending)

    def step_of(run: RunFolder) -> int:
        places = [p for p in run.list("checkpoints") if run.exists(f"checkpoints/{p}/checkpoint.json")]
        return int(places[-1].partition("-")[0]) if places else 0

    def wait(process: subprocess.Popen[str], more_than: int) -> RunFolder:
        end = time.monotonic() + 200
        while time.monotonic() < end and process.poll() is None:
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
