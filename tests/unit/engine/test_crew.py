"""Worker processes compute what one process does, each with its share of the machine, and none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import toy
import toy_crew
from test_build import corpus, digests

from diptych import weights
from diptych.engine.build import BuildReport, Silent, build
from diptych.engine.context import BuildContext, BuildOptions, OnRows, Stop
from diptych.engine.crew import Crew
from diptych.engine.groups import _pieces, _share, run_step
from diptych.engine.steps import close
from diptych.environment import set_environment, variables
from diptych.exceptions import MissingExtra, NothingCommitted, WorkerLost
from diptych.machine import cores
from diptych.storage.store import open_store
from diptych.storage.verify import verify

DOCUMENTS = 24


def run(root: Path, what: str = "nothing", watcher: Silent | None = None, **options: object) -> BuildReport:
    store = open_store(root, "toy")
    given: BuildOptions = BuildOptions(**options)  # type: ignore[arg-type]
    recipe = toy_crew.recipe(root / "notes", what)
    return build(recipe, str(root), given, snapshot=toy.snapshot(store, corpus(store)), watcher=watcher)


def notes(root: Path) -> list[list[str]]:
    return [line.split(" ") for line in (root / "notes").read_text().splitlines()]


class Count(Silent):
    """Adds up the rows it is told of."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}

    def rows(self, name: str, count: int) -> None:
        """Of a stage."""
        self.told[name] = self.told.get(name, 0) + count


def test_two_workers_build_what_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = variables(), weights.cache()
    set_environment({**os.environ, "SECRET": "hush"})
    weights.set_cache(tmp_path / "weights")
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    toy.CALLS.clear()
    monkeypatch.chdir(tmp_path / "one")  # the same settings, so the same keys
    monkeypatch.setattr(
        toy_crew, "recipe", lambda notes, what: toy_crew.RECIPE.replace("NOTES", "notes").replace("WHAT", what)
    )
    try:
        one = run(tmp_path / "one")
        monkeypatch.chdir(tmp_path / "two")
        count = Count()
        two = run(tmp_path / "two", watcher=count, processes=2, device="cpu,cpu")
    finally:
        set_environment(before[0])
        weights.set_cache(before[1])
        close()
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert verify(open_store(tmp_path / "two", "toy")).problems == []
    assert two.computed == one.computed and len(toy.CALLS) == one.computed, "nothing of the second was computed here"
    assert count.told == {name: p.rows for name, p in two.progress.items() if p.kind == "stage"}
    processes = {line[0] for line in notes(tmp_path / "two")}
    assert len(processes) == 2 and str(os.getpid()) not in processes
    assert {line[0] for line in notes(tmp_path / "one")} == {str(os.getpid())}
    assert sorted(line[1] for line in notes(tmp_path / "two")) == sorted(line[1] for line in notes(tmp_path / "one"))
    said = {tuple(line[2:]) for line in notes(tmp_path / "two")}
    assert said == {("cpu", str(max(1, cores() // 2)), "hush", str(tmp_path / "weights"))}
    assert all(not Path(f"/proc/{process}").exists() for process in processes), "they end with the build"
    total = sum(p.seconds for p in two.progress.values())
    assert all(0 < p.seconds < total for p in two.progress.values())


@pytest.mark.parametrize(
    "what, error, text",
    [("raise", MissingExtra, r"pip install 'diptych\[kettle\]'"), ("kill", WorkerLost, "fewer processes")],
)
def test_what_goes_wrong_in_a_worker_is_said_here_and_costs_no_finished_shard(
    tmp_path: Path, what: str, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(tmp_path, what, processes=2)
    done = notes(tmp_path)
    assert open_store(tmp_path, "toy").log.versions() == {}
    report = run(tmp_path, what, processes=2)
    assert report.committed.version == 1 and verify(open_store(tmp_path, "toy")).problems == []
    again = [line[1] for line in notes(tmp_path)[len(done) :]]
    assert len(again) == len(set(again)) == report.progress["where"].computed <= DOCUMENTS
    assert report.progress["words"].computed == 0, "finished stages are found"


def test_an_error_that_cannot_travel_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Foreign: from afar"):
        run(tmp_path, "foreign", processes=2)


def work(piece: int, what: str, *, worker: int, on_rows: OnRows, stop: Stop) -> int:
    """What a worker does in the tests below."""
    on_rows(f"{worker}", 1)
    if what == "slow":
        for _ in range(100):
            time.sleep(0 if stop.is_set() else 0.05)
    if piece == 3 and what == "kill":
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    if piece == 3 and what == "lock":
        error = ValueError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error
    if piece == 3 and what == "pool":
        raise BrokenProcessPool("a pool of its own")
    return -piece


def ended(crew: Crew, what: str, callers: int = 1, then: Callable[[], None] = lambda: None) -> list[object]:
    """What becomes of calls from several threads, each of 12 pieces."""
    found: list[object] = []

    def call() -> None:
        try:
            found.append(crew.call(work, [(n, what) for n in range(12)], lambda name, n: None))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    then()
    for thread in threads:
        thread.join(60)
    assert len(found) == callers, "none hangs"
    return found


def test_calls_from_several_threads_share_the_workers_and_their_loss() -> None:
    crew = Crew(2)
    assert ended(crew, "nothing", 3) == [[-n for n in range(12)]] * 3
    assert all(isinstance(error, WorkerLost) for error in ended(crew, "kill", 3))
    assert ended(crew, "nothing") == [[-n for n in range(12)]], "others were started"
    for what, text in (("lock", "ValueError: holds a lock"), ("pool", "BrokenProcessPool: a pool of its own")):
        [error] = ended(crew, what)
        assert type(error) is RuntimeError and str(error) == text
    closing = time.monotonic()
    found = ended(crew, "slow", 3, lambda: (time.sleep(1), crew.close())[0])
    assert all(isinstance(error, NothingCommitted) for error in found) and time.monotonic() - closing < 10


def test_a_task_that_comes_after_the_build_ended_computes_nothing() -> None:
    options = BuildOptions(processes=2)
    context = BuildContext("data", "toy", "over", toy.RECIPE, "", 4, 0, None, options)
    with pytest.raises(NothingCommitted, match="ended"):
        run_step("stage", context, ["words"], [0], {})


def test_a_watcher_that_fails_ends_the_build(tmp_path: Path) -> None:
    class Angry(Silent):
        def rows(self, name: str, count: int) -> None:
            if name == "where":
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        run(tmp_path, "slow", watcher=Angry(), processes=2)
    assert len(notes(tmp_path)) < DOCUMENTS, "at the next batch"


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6])
def test_control_c_while_workers_start_ends_the_build(tmp_path: Path, delay: float) -> None:
    store = open_store(tmp_path, "toy")
    command = [sys.executable, toy_crew.__file__, str(tmp_path), toy.snapshot(store, corpus(store)), "notes"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=tmp_path)
    wait_for(lambda: len(children(process.pid)) > 1)  # the first keeps account of semaphores
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -2 and err.count("Traceback") <= 1, err


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


@pytest.mark.parametrize("number, code", [(signal.SIGKILL, -9), (signal.SIGINT, -2)])
def test_workers_end_with_the_process_that_began_them(tmp_path: Path, number: signal.Signals, code: int) -> None:
    store = open_store(tmp_path, "toy")
    snapshot = toy.snapshot(store, corpus(store))
    command = [sys.executable, toy_crew.__file__, str(tmp_path), snapshot, str(tmp_path / "notes")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: (tmp_path / "notes").exists() and len({line[0] for line in notes(tmp_path)}) == 2)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal sends it to all
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err.count("Traceback") <= 1, err  # of this script, not of its workers
    wait_for(lambda: not any(running(int(line[0])) for line in notes(tmp_path)))
    assert len(notes(tmp_path)) < DOCUMENTS
    recipe = toy_crew.recipe(tmp_path / "notes", "slow")
    report = build(recipe, str(tmp_path), BuildOptions(processes=3), snapshot=snapshot)
    assert report.committed.version == 1 and verify(store).problems == []
    assert report.progress["words"].computed == 0 and report.progress["where"].computed <= DOCUMENTS


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def running(process: int) -> bool:
    """Whether it is there and not only waits to be taken note of."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@given(st.integers(0, 70), st.integers(2, 20))
def test_pieces_are_all_groups_in_order_first_many_then_few(count: int, workers: int) -> None:
    pieces = list(_pieces(range(count), workers))
    assert [n for piece in pieces for n in piece] == list(range(count))
    sizes = [len(piece) for piece in pieces]
    assert all(a >= b for a, b in zip(sizes, sizes[1:], strict=False)) and 0 not in sizes
    assert len(pieces) >= min(count, workers) or max(sizes) <= 2, "every worker has some"


@pytest.mark.parametrize("device, shares", [
    ("cuda", ["cuda", "cuda", "cuda"]), ("cuda:0,cuda:1", ["cuda:0", "cuda:1", "cuda:0"]),
    ("cuda:0,cuda:1,cuda:2,cuda:3", ["cuda:0,cuda:3", "cuda:1", "cuda:2"]),
])  # fmt: skip
def test_devices_are_dealt_out_to_workers(device: str, shares: list[str]) -> None:
    assert [_share(device, n, 3) for n in range(3)] == shares
