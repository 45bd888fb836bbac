"""Stages that are set up and stay so while a process runs: weights are loaded once, not once a shard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from diptych.engine.graph import Node
from diptych.exceptions import DiptychError
from diptych.stage import Batch, Output, Stage

__all__ = ["Workbench"]


@dataclass
class _Ready:
    stage: Stage
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class Workbench:
    """Set-up stages by stage key and device; at most ``keep`` idle ones stay loaded."""

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self._ready: dict[tuple[str, str], _Ready] = {}
        self._lock = threading.Lock()

    def process(
        self, node: Node, key: str, device: str, fits: Callable[[], Mapping[str, pa.Table]], batch: Batch
    ) -> Output:
        """One batch through the stage; a row that raises fails alone, its batch is computed without it."""
        ready = self._take(node, key, device, fits)
        try:
            with ready.lock:
                return _process(ready.stage, batch)
        finally:
            with self._lock:
                ready.users -= 1

    def _take(self, node: Node, key: str, device: str, fits: Callable[[], Mapping[str, pa.Table]]) -> _Ready:
        with self._lock:
            name = (key, device)
            if name not in self._ready:
                idle = [n for n, r in self._ready.items() if r.users == 0]
                for old in idle[: max(0, len(self._ready) - self.keep + 1)]:
                    self._ready.pop(old).stage.close()
                assert node.stage is not None
                stage = type(node.stage)(node.stage.config)
                stage.fits = fits()
                stage.setup(device)
                self._ready[name] = _Ready(stage)
            ready = self._ready[name]
            ready.users += 1
            return ready

    def close(self) -> None:
        """Release every stage."""
        with self._lock:
            for ready in self._ready.values():
                ready.stage.close()
            self._ready.clear()


def _process(stage: Stage, batch: Batch) -> Output:
    try:
        output = stage.process(batch)
    except (DiptychError, MemoryError, ImportError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        if len(batch) == 1:
            output = batch.output()
            transient = isinstance(error, OSError)
            output.fail(0, f"exception:{type(error).__name__}", str(error)[:2000], transient=transient)
            return output
        half = len(batch) // 2
        first = _process(stage, batch.select(range(half)))
        return _joined(batch, first, _process(stage, batch.select(range(half, len(batch)))))
    output.check(stage.name)
    return output


def _joined(batch: Batch, first: Output, second: Output) -> Output:
    output = batch.output()
    output.take(0, first)
    output.take(len(first.keys), second)
    return output
