"""Stages that several steps use side by side stay loaded; a wait that is broken off stands in nobody's way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import toy
import toy_heavy
from test_build import corpus

from diptych.engine import steps
from diptych.engine.build import make_context
from diptych.engine.context import BuildOptions
from diptych.engine.groups import run_step
from diptych.engine.workbench import Workbench, _Door
from diptych.stage import Batch, Output, Stage
from diptych.storage.store import open_store


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    steps.close()
    toy_heavy.SET_UP.clear(), toy_heavy.LOADED.clear(), toy_heavy.MOST.clear()
    yield
    steps.close()


def test_two_steps_at_once_do_not_evict_each_others_stages(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    digest = toy.snapshot(store, corpus(store))
    context = make_context(toy_heavy.RECIPE, str(tmp_path), digest, BuildOptions())
    together, errors = Barrier(2, timeout=60), []

    def step(names: tuple[str, ...]) -> None:
        def meet(name: str, rows: int) -> None:
            if name == names[-1] and not together.broken:
                try:
                    together.wait()  # a batch of one, a batch of the other
                except threading.BrokenBarrierError:
                    pass

        try:
            run_step("stage", context, names, range(8), {}, meet)
        except BaseException as error:
            errors.append(error)
        together.abort()

    threads = [threading.Thread(target=step, args=(names,)) for names in (toy_heavy.NAMES[:3], toy_heavy.NAMES[3:4])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and toy_heavy.SET_UP == dict.fromkeys(toy_heavy.NAMES[:4], 1)
    run_step("stage", context, toy_heavy.NAMES[4:], range(8), {})
    assert toy_heavy.LOADED.total() <= Workbench().keep, "no more than that stay when their steps have ended"
    assert max(toy_heavy.MOST) <= 4


def test_a_stage_that_loads_nothing_does_not_wait_for_anothers_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, "toy")
    context = make_context(toy_heavy.RECIPE, str(tmp_path), toy.snapshot(store, corpus(store)), BuildOptions())
    inside, stop = threading.Event(), threading.Event()

    def takes_its_time(stage: Stage, batch: Batch) -> Output:
        inside.set()
        stop.wait(60)
        return toy_heavy.Heavy.process(stage, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(toy_heavy.One, "process", takes_its_time)
    monkeypatch.setattr(toy_heavy.Two, "setup", Stage.setup)
    monkeypatch.setattr(toy_heavy.Two, "close", Stage.close)
    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(run_step, "stage", context, ("one",), range(8), {})
        assert inside.wait(60)
        two = threads.submit(run_step, "stage", context, ("two",), range(8), {})
        wait([two], 20)
        first = two.done() and not one.done()
        stop.set()
    assert first and one.result() and two.result()


def test_a_wait_to_be_alone_that_is_broken_off_lets_the_others_compute() -> None:
    door, stop, computed = _Door(), threading.Event(), threading.Event()
    inside, waits = threading.Event(), door._changed.wait_for

    def first() -> None:
        with door.computing():
            inside.set()
            stop.wait(60)

    def breaks_off(predicate: object) -> None:
        raise TimeoutError

    def third() -> None:
        with door.computing():
            computed.set()

    threads = [threading.Thread(target=first, daemon=True)]
    threads[0].start()
    inside.wait(60)
    door._changed.wait_for = breaks_off  # type: ignore[method-assign,assignment]
    with pytest.raises(TimeoutError), door.alone():
        raise AssertionError
    door._changed.wait_for = waits  # type: ignore[method-assign]
    threads.append(threading.Thread(target=third, daemon=True))
    threads[1].start()
    assert computed.wait(10)
    stop.set()
    for thread in threads:
        thread.join(10)
    with door.alone():
        pass
