"""Tasks of a build take turns: who waits computes nothing and uses up no time; all end with their build."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from diptych.engine.context import BuildContext, Stop
from diptych.exceptions import NothingCommitted
from tasks import compute
from tasks.compute import compute_step, turns

CONTEXT = BuildContext("data", "turns", "a-build", "", "-", 1, 0, None)


def test_tasks_of_a_build_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thread more than tasks at once: who waits computes nothing, and a task that fails gives its turn on."""
    inside: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def run_step(kind: str, built: Any, names: Any, groups: list[int], done: Any, stop: Stop) -> list[str]:
        [group] = groups
        with lock:
            inside.append(group)
            most.append(len(inside))
        time.sleep(0.02)
        with lock:
            inside.remove(group)
        if group == 3:
            raise ValueError("this group fails")
        return [str(group)]

    def work(group: int, found: list[str]) -> None:
        try:
            found += compute_step("stage", CONTEXT.to_json(), ["clean"], [group], {}, 60)  # type: ignore[arg-type]
        except (ValueError, NothingCommitted) as error:
            found.append(str(error))

    monkeypatch.setattr(compute, "run_step", run_step)
    for at_once, expected in ((1, {1}), (2, {1, 2}), (None, None)):
        most.clear()
        found: list[str] = []
        with turns(CONTEXT.build, at_once):
            threads = [threading.Thread(target=work, args=(n, found)) for n in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(found) == sorted([*(str(n) for n in range(12) if n != 3), "this group fails"])
        assert set(most) == expected if expected else max(most) > 2
    assert not compute._TURNS

    most.clear()
    found = []
    with pytest.raises(KeyboardInterrupt), turns(CONTEXT.build, 1):  # cancelled: who waits computes nothing any more
        threads = [threading.Thread(target=work, args=(n, found)) for n in range(3)]
        for thread in threads:
            thread.start()
        while not most:
            time.sleep(0.001)
        raise KeyboardInterrupt
    for thread in threads:
        thread.join()
    assert len(most) == 1 and sum("before this task's turn" in text for text in found) == 2


def test_tasks_at_work_end_with_their_build_and_not_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stops: list[Stop] = []

    def run_step(*given: Any, stop: Stop) -> list[str]:
        stops.append(stop)
        if given[3] == [1]:
            stop.set()  # as a step that fails ends its own threads; it may be tried again
            raise ConnectionResetError("the disk is away")
        while not stop.is_set():
            time.sleep(0.01)
        raise NothingCommitted("ended")

    found: list[str] = []

    def work(group: int) -> None:
        try:
            compute_step("stage", CONTEXT.to_json(), ["clean"], [group], {}, 60)
        except (ConnectionResetError, NothingCommitted) as error:
            found.append(str(error))

    monkeypatch.setattr(compute, "run_step", run_step)
    with turns(CONTEXT.build, 2):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        threads[1].join(60)
        time.sleep(0.1)
        assert found == ["the disk is away"] and [s.is_set() for s in stops if s is not None].count(False) == 1
    threads[0].join(60)
    assert found == ["the disk is away", "ended"]


def test_a_task_that_waits_for_its_turn_does_not_use_up_its_time(monkeypatch: pytest.MonkeyPatch) -> None:

    def run_step(*given: Any, stop: Stop) -> list[str]:
        [group] = given[3]
        for _ in range(0 if group < 3 else 1000):
            time.sleep(0.01)
        time.sleep(0.9)
        return [str(group)]

    found: list[str] = []

    def work(group: int) -> None:
        try:
            found.extend(compute_step("stage", CONTEXT.to_json(), ["clean"], [group], {}, 2.0))  # type: ignore[arg-type]
        except TimeoutError as error:
            found.append(str(error))

    monkeypatch.setattr(compute, "run_step", run_step)
    with turns(CONTEXT.build, 1):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)  # so that they come in this order
        for thread in threads:
            thread.join()
    assert found[:3] == ["0", "1", "2"] and "limit of 2 seconds (task_hours)" in found[3]
