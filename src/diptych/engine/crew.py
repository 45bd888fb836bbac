"""Worker processes of a build: several interpreters compute groups of shards side by side on one machine.

One interpreter keeps a fast device waiting, because what is done beside the network takes turns under its lock. The
processes of a crew are fresh interpreters that stay while the build runs. Each has networks and caches of its own, and
its share of the cores and devices; it ends as soon as the process that began the build does.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any, TypeVar

from diptych import weights
from diptych.engine import steps
from diptych.engine.context import OnRows, Stop
from diptych.engine.waiting import results
from diptych.environment import set_environment, variables
from diptych.exceptions import NothingCommitted, WorkerLost
from diptych.machine import cores
from diptych.processes import end_with_parent
from diptych.stages import pool

__all__ = ["Crew", "crew_of", "working"]

Result = TypeVar("Result")
_SLOTS = 1024
"""Calls that can be under way at once."""


@dataclass(frozen=True)
class _Orders:
    """What a worker needs of the process that started it; the library reads no environment."""

    environment: Mapping[str, str]
    weights: Path
    threads: int


@dataclass
class _Worker:
    """The state of a worker process."""

    number: int
    rows: Any
    """The pipe's end for ``(call, stage, rows)``; its messages are small, so the system writes each one whole."""
    stops: Any


@dataclass(frozen=True)
class _Slot:
    """A byte that all processes see."""

    stops: Any
    call: int

    def set(self) -> None:
        self.stops[self.call % _SLOTS] = 1

    def clear(self) -> None:
        self.stops[self.call % _SLOTS] = 0

    def is_set(self) -> bool:
        return bool(self.stops[self.call % _SLOTS])


_WORKER: _Worker | None = None


def _begin(orders: _Orders, numbers: Any, rows: Any, stops: Any) -> None:
    """Called once in each worker."""
    global _WORKER
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Control-C reaches it too; it is told to stop instead
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with numbers.get_lock():
        _WORKER = _Worker(numbers.value, rows, stops)
        numbers.value += 1
    end_with_parent()
    set_environment(orders.environment)
    weights.set_cache(orders.weights)
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(orders.threads)  # of torch, which is not loaded yet
        if torch := sys.modules.get("torch"):  # except by a program that does so before it builds
            torch.set_num_threads(orders.threads)
    pool.set_threads(orders.threads)
    util.Finalize(None, steps.close, exitpriority=10)


def _work(function: Callable[..., Result], given: Sequence[Any], call: int) -> tuple[Result | None, int]:
    """One piece of a call, and of how many rows it told; None when it was to stop before it began."""
    assert _WORKER is not None
    worker, stop, told = _WORKER, _Slot(_WORKER.stops, call), itertools.count()

    def on_rows(name: str, rows: int) -> None:
        next(told)
        worker.rows.send((call, name, rows))

    if stop.is_set():
        return None, 0
    try:
        found = function(*given, worker=worker.number, on_rows=on_rows, stop=stop)
    except BaseException as error:
        stop.set()  # the others end at their next batch
        raise _portable(error) from None
    return found, next(told)


def _portable(error: BaseException) -> BaseException:
    """The error, if another process can read it; what it says, if not. A pool that a stage lost is not the crew."""
    try:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - the bytes were made in this line
        if type(again) is type(error) and str(again) == str(error) and not isinstance(error, BrokenExecutor):
            return error
    except Exception:  # whatever a stage's own exception raises when it is made again: its words are kept
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


class _Call:
    """One call on its way: whom to tell of rows."""

    def __init__(self, on_rows: OnRows, stop: Stop) -> None:
        self._on_rows, self._stop = on_rows, stop
        self._changed = Condition()
        self._heard = 0
        self._error: BaseException | None = None

    def hear(self, name: str, rows: int) -> None:
        with self._changed:
            self._heard += 1
            try:
                self._on_rows(name, rows)
            except BaseException as error:
                self._error = error
                self._stop.set()
            self._changed.notify_all()

    def heard(self, told: int) -> None:
        """Wait until so many messages came; raises what ``on_rows`` raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._heard >= told or self._error)
            if self._error:
                raise self._error


class _Started:
    """Running processes, and the pipe on which they tell of rows."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.stops = context.RawArray("B", _SLOTS)
        self.calls: dict[int, _Call] = {}
        self._closing = Lock()
        self._incoming, self._outgoing = context.Pipe(duplex=False)
        orders = _Orders(dict(variables()), weights.cache(), max(1, cores() // processes))
        self._numbers = context.Value("i", 0)
        given = (orders, self._numbers, self._outgoing, self.stops)
        self.pool = ProcessPoolExecutor(processes, context, _begin, given)
        self._hearing = Thread(target=self._hear, name="rows", daemon=True)
        self._hearing.start()

    def _hear(self) -> None:
        while True:
            try:
                number, name, rows = self._incoming.recv()
            except (EOFError, OSError):
                return
            call = self.calls.get(number)
            if call is not None:
                call.hear(name, rows)

    @property
    def begun(self) -> bool:
        """Whether one of them got as far as to work."""
        return self._numbers.get_obj().value > 0  # without its lock, with which one of them may have ended

    def submit(self, piece: tuple[Any, ...]) -> Future[Any]:
        """Ask for a piece; Control-C waits meanwhile, which a process that is begun here would not know to ignore."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited
        try:
            return self.pool.submit(_work, *piece)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        with self._closing:  # two calls can find the same process lost
            self.pool.shutdown()
            self._outgoing.close()  # the last end: nobody can tell anything any more
            self._hearing.join()
            self._incoming.close()


class Crew:
    """So many worker processes, started when there is work and again after one of them was lost."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._numbers = itertools.count()
        self._lock = Lock()
        self._started: _Started | None = None

    def call(
        self, function: Callable[..., Result], pieces: Sequence[Sequence[Any]], on_rows: OnRows, most: int | None = None
    ) -> list[Result]:
        """``function`` of each piece, in order; after an error or Control-C all end at their next batch.

        It is a module's, and has the keywords ``worker`` (which one, from 0), ``on_rows`` and ``stop`` too. No piece
        is cancelled: a pool whose processes end does not outlive that, and one that is to stop ends as it begins.
        ``most`` processes are of use; it counts when they are started.

        Raises what ``function`` or ``on_rows`` raised, and :class:`~diptych.exceptions.WorkerLost` when a process
        ended by itself.
        """
        with self._lock:
            started = self._started = self._started or _Started(min(self.processes, most or self.processes))
            number = next(self._numbers)
        stop = _Slot(started.stops, number)
        stop.clear()
        call = started.calls[number] = _Call(on_rows, stop)
        futures: list[Future[tuple[Result | None, int]]] = []
        try:
            for piece in pieces:
                futures.append(started.submit((function, piece, number)))
            found = list(results(futures))
            call.heard(sum(told for _, told in found))
            if stop.is_set():
                raise NothingCommitted("the build ended before this was computed")
            return [result for result, _ in found if result is not None]
        except BrokenExecutor as error:
            with self._lock:
                if self._started is started:
                    self._started = None
            started.close()
            raise WorkerLost(self._lost(started.begun)) from error
        except BaseException:
            stop.set()
            wait(futures)
            raise
        finally:
            del started.calls[number]

    def _lost(self, begun: bool) -> str:
        if not begun:
            return (
                "worker processes could not begin; each loads the program that builds anew, so a script has to call "
                "`build` under `if __name__ == '__main__':`"
            )
        return (
            f"one of {self.processes} worker processes ended by itself; the system ends one when memory runs out. "
            "What was finished is kept: run it again, with fewer processes if memory was short"
        )

    def close(self) -> None:
        """End the processes; what they still compute ends at its next batch."""
        with self._lock:
            started, self._started = self._started, None
        if started:
            for number in list(started.calls):
                _Slot(started.stops, number).set()
            started.close()


_CREWS: dict[str, Crew] = {}
"""By build."""


@contextmanager
def working(build: str, processes: int) -> Iterator[None]:
    """While entered, the steps of a build are computed by so many worker processes; by this one if it is one."""
    if processes < 2:
        yield
        return
    crew = _CREWS[build] = Crew(processes)
    try:
        yield
    finally:
        del _CREWS[build]
        crew.close()


def crew_of(build: str) -> Crew | None:
    """The build's worker processes; None when it has none, or has ended."""
    return _CREWS.get(build)
