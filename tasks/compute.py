"""What the extract and annotate tasks share: one step of a build over some groups of shards."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

from prefect.utilities.timeout import timeout

from diptych import weights
from diptych.engine.context import BuildContext, Done, Kind, Progress, Stop
from diptych.engine.groups import run_step
from diptych.environment import set_environment
from diptych.exceptions import NothingCommitted
from tasks.policies import OverLimit

__all__ = ["compute_step", "turns", "use_environment"]


class _Ends:
    """When a task's step is to end: when its build is over, or it says so itself (to its own threads alone)."""

    def __init__(self, over: Event) -> None:
        self._over, self._own = over, Event()

    def set(self) -> None:
        self._own.set()

    def is_set(self) -> bool:
        return self._own.is_set() or self._over.is_set()


class _Turns:
    """Who may compute; after the build broke off nobody any more."""

    def __init__(self, tasks_at_once: int) -> None:
        self._free, self.over = Semaphore(tasks_at_once), Event()

    def __enter__(self) -> Stop:
        self._free.acquire()
        if self.over.is_set():
            self._free.release()
            raise NothingCommitted("the build ended before this task's turn came")
        return _Ends(self.over)

    def __exit__(self, *_: object) -> None:
        self._free.release()


_TURNS: dict[str, _Turns] = {}
"""By build."""


@contextmanager
def turns(build: str, tasks_at_once: int | None) -> Iterator[None]:
    """While entered, so many tasks of a build compute at once in this process (None: all).

    A runner with one thread more then has a task at hand that the server knows to be running, and that begins when
    another ends: what is said to the server before and after each task costs no time in which nothing is computed. When
    the build breaks off (a task failed, it was cancelled) the tasks that wait fail instead, and those at work fail at
    their next batch.
    """
    if tasks_at_once is None:
        yield
        return
    made = _TURNS[build] = _Turns(tasks_at_once)
    try:
        yield
    finally:
        made.over.set()
        del _TURNS[build]


def use_environment() -> None:
    """Hand this process's environment to the library, as the command line does: secrets, where weights are."""
    set_environment(os.environ)
    cache = os.environ.get("DIPTYCH_WEIGHTS")
    if cache:
        weights.set_cache(Path(cache))
    weights.set_mirror(os.environ.get("DIPTYCH_WEIGHTS_MIRROR", ""))


def compute_step(
    kind: Kind,
    context: Mapping[str, Any],
    names: Sequence[str],
    groups: Sequence[int],
    done: Mapping[str, Done],
    limit_s: float,
) -> list[Progress]:
    """Run one step; everything that comes in and goes out is small and plain.

    Its time begins with its turn: a limit of Prefect's own would count the wait for it, too.
    """
    use_environment()
    built = BuildContext.from_json(context)
    turn: AbstractContextManager[Stop] = _TURNS.get(built.build) or nullcontext(Event())
    with turn as stop:
        try:
            with timeout(limit_s, OverLimit):
                return run_step(kind, built, names, groups, done, stop=stop)
        except OverLimit:
            raise OverLimit(
                f"the task met its limit of {limit_s:g} seconds (task_hours); finished shards are kept, "
                "and the next build goes on from there"
            ) from None
