"""Stages that are set up and stay so while a process runs: weights are loaded once, not once a shard.

When an accelerator's memory runs out the batch is halved, and the stage takes no larger one from then on.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
    most: int = 0
    """Rows at once since memory ran out; 0 while it has not."""


class Workbench:
    """Set-up stages by stage key and device; at most ``keep`` idle ones stay loaded."""

    def __init__(self, keep: int = 2) -> None:
        self.keep = keep
        self._ready: dict[tuple[str, str], _Ready] = {}
        self._lock = threading.Lock()

    def prepare(
        self, node: Node, key: str, device: str, fits: Callable[[], Mapping[str, pa.Table]], batch: Batch
    ) -> Batch:
        """The batch with what its stage prepares ahead; as it is when the stage prepares nothing, or fails to:
        ``process`` then finds the row that is to blame.
        """
        assert node.stage is not None
        if type(node.stage).prepare is Stage.prepare:
            return batch
        ready = self._take(node, key, device, fits)
        try:
            return replace(batch, prepared=ready.stage.prepare(batch))
        except (DiptychError, MemoryError, ImportError):
            raise
        except Exception:  # not lost: `process` prepares the batch itself, and names the row and what was wrong
            return batch
        finally:
            with self._lock:
                ready.users -= 1

    def process(
        self, node: Node, key: str, device: str, fits: Callable[[], Mapping[str, pa.Table]], batch: Batch
    ) -> Output:
        """One batch through the stage; a row that raises fails alone, its batch is computed without it."""
        ready = self._take(node, key, device, fits)
        try:
            with ready.lock:
                return _process(ready, batch)
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

    def room_for(self, stages: int) -> None:
        """Keep at least this many loaded: those that run side by side."""
        self.keep = max(self.keep, stages)

    def close(self) -> None:
        """Release every stage."""
        with self._lock:
            for ready in self._ready.values():
                ready.stage.close()
            self._ready.clear()


@dataclass(frozen=True)
class _Failure:
    """What went wrong, without the traceback: that would hold the batch's tensors."""

    name: str
    text: str
    transient: bool

    @property
    def memory(self) -> bool:
        return self.name == "OutOfMemoryError"


def _process(ready: _Ready, batch: Batch) -> Output:
    """In pieces of at most ``ready.most`` rows; a piece that fails is halved down to the rows that fail alone."""
    if ready.most and len(batch) > ready.most:
        return _halves(ready, batch)
    stage = ready.stage
    try:
        output = stage.process(batch)
    except (DiptychError, MemoryError, ImportError):
        raise
    except Exception as error:
        failure = _Failure(type(error).__name__, str(error)[:2000], isinstance(error, OSError))
    else:
        output.check(stage.name)
        return output
    if failure.memory:
        _free_memory()
        ready.most = max(1, len(batch) // 2)
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
