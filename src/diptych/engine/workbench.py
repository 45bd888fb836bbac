"""Stages that are set up and stay so while a process runs: weights are loaded once, not once a shard.

Each place (a device) has its own. How many rows go in at once is found while it runs (``batch_size.py``): a batch that
finds no memory is halved, and the stage takes no larger one from then on.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from threading import Condition, Lock, Semaphore
from typing import Any

import pyarrow as pa

from diptych.engine.batch_size import BatchSize, room_on
from diptych.engine.devices import Place
from diptych.engine.graph import Node
from diptych.exceptions import DiptychError
from diptych.stage import Batch, Output, Stage

__all__ = ["Workbench"]

Fits = Callable[[], Mapping[str, pa.Table]]
_Name = tuple[str, Place]
"""Stage key and place."""


@dataclass
class _Ready:
    stage: Stage
    size: BatchSize
    turns: Semaphore
    """Batches computed at once: two where one can be turned into rows while the device computes the other."""
    setting_up: Lock = field(default_factory=Lock)
    users: int = 0
    loaded: bool = False

    def close(self) -> None:
        if self.loaded:
            self.stage.close()


class _Door:
    """Many threads compute, or one sets a stage up: torch.fx, which cuts networks in two, changes how modules are
    called in every thread while it works, and seeds of random weights are the process's.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._computing = self._waiting = 0
        self._alone = False

    @contextmanager
    def computing(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._computing += 1
        try:
            yield
        finally:
            with self._changed:
                self._computing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._alone and not self._computing)
            finally:  # after a time limit or Control-C, too: the others may compute
                self._waiting -= 1
                self._changed.notify_all()
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


class Workbench:
    """Set-up stages by stage key and place; at most ``keep`` stay loaded, or those that the steps under way use."""

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self._ready: dict[_Name, _Ready] = {}
        self._held: Counter[_Name] = Counter()
        self._lock = Lock()
        self._door = _Door()

    def rows_at_once(self, node: Node, key: str, place: Place) -> int:
        """How many rows the next batch should have."""
        with self._lock:
            return self._entry(node, key, place).size.rows

    def prepare(self, node: Node, key: str, place: Place, fits: Fits, batch: Batch) -> Batch:
        """The batch with what its stage prepares ahead; as it is when the stage prepares nothing, or fails to:
        ``process`` then finds the row that is to blame.
        """
        assert node.stage is not None
        if type(node.stage).prepare is Stage.prepare:
            return batch
        with self._take(node, key, place, fits) as ready, self._door.computing():
            try:
                return replace(batch, prepared=ready.stage.prepare(batch))
            except (DiptychError, ImportError):
                raise
            except Exception:  # not lost: `process` prepares the batch itself, and names the row and what was wrong
                return batch

    def process(self, node: Node, key: str, place: Place, fits: Fits, batch: Batch) -> Output:
        """One batch through the stage; a row that raises fails alone, its batch is computed without it."""
        with self._take(node, key, place, fits) as ready, ready.turns, self._door.computing():
            return _process(ready, batch)

    @contextmanager
    def _take(self, node: Node, key: str, place: Place, fits: Fits) -> Iterator[_Ready]:
        """The stage, set up."""
        with self._lock:
            ready = self._entry(node, key, place)
            ready.users += 1
        try:
            with ready.setting_up:
                if not ready.loaded:
                    ready.stage.fits = fits()
                    loads = type(ready.stage).setup is not Stage.setup  # a stage that does not stands in nobody's way
                    with self._door.alone() if loads else nullcontext():
                        ready.stage.check()
                        ready.stage.setup(place.device)
                    ready.loaded = True
            yield ready
        finally:
            with self._lock:
                ready.users -= 1

    def _entry(self, node: Node, key: str, place: Place) -> _Ready:
        name = (key, place)
        if name not in self._ready:
            idle = [n for n, r in self._ready.items() if r.users == 0 and not self._held[n]]
            for old in idle[: max(0, len(self._ready) - self.keep + 1)]:
                self._ready.pop(old).close()
            assert node.stage is not None
            stage = type(node.stage)(node.stage.config)
            stage.compiled = place.compiled
            far = place.accelerator and stage.accelerator
            begin = stage.accelerator_batch_size if far else None
            size = BatchSize(stage.batch_size, begin=begin, grows=far, room=lambda: room_on(place.device))
            self._ready[name] = _Ready(stage, size, Semaphore(2 if far and stage.overlaps else 1))
        return self._ready[name]

    @contextmanager
    def holding(self, names: Collection[_Name]) -> Iterator[None]:
        """While entered these stay loaded once they are, whatever other steps load beside them."""
        with self._lock:
            self._held.update(names)
        try:
            yield
        finally:
            with self._lock:
                self._held -= Counter(names)

    def close(self) -> None:
        """Release every stage."""
        with self._lock:
            for ready in self._ready.values():
                ready.close()
            self._ready.clear()


_NO_MEMORY = "DefaultCPUAllocator: can't allocate memory"
"""torch says so in a RuntimeError."""


@dataclass(frozen=True)
class _Failure:
    """What went wrong, without the traceback: that would hold the batch's tensors."""

    name: str
    text: str
    transient: bool
    memory: bool
    """Whether memory ran out: a device's, or the host's as Python or torch says it."""

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        name, text = type(error).__name__, str(error)[:2000]
        memory = name == "OutOfMemoryError" or isinstance(error, MemoryError) or _NO_MEMORY in text
        return cls(name, text or name, isinstance(error, OSError), memory)


def _process(ready: _Ready, batch: Batch) -> Output:
    """In pieces of at most ``ready.size.most`` rows; a piece that fails is halved down to the rows that fail alone."""
    if ready.size.most and len(batch) > ready.size.most:
        return _halves(ready, batch)
    stage, started = ready.stage, time.perf_counter()
    try:
        output = stage.process(batch)
    except (DiptychError, ImportError):
        raise
    except Exception as error:
        failure = _Failure.of(error)
    else:
        ready.size.measured(len(batch), time.perf_counter() - started)
        output.check(stage.name)
        return output
    if failure.memory:
        _free_memory()
        ready.size.ran_out(len(batch))
    if len(batch) > 1:
        return _halves(ready, batch)
    output = batch.output()
    if failure.memory:
        output.fail(0, "out_of_memory", failure.text, transient=True)
    else:
        output.fail(0, f"exception:{failure.name}", failure.text, transient=failure.transient)
    return output


def _halves(ready: _Ready, batch: Batch) -> Output:
    half = len(batch) // 2
    output = batch.output()
    output.take(0, _process(ready, batch.select(range(half))))
    output.take(half, _process(ready, batch.select(range(half, len(batch)))))
    return output


def _free_memory() -> None:
    """Give the accelerator's cached blocks back before the smaller attempt."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
