"""How many rows a stage takes at once on a device: more while that pays, fewer when memory runs out.

A stage begins with its own ``batch_size``, on an accelerator with its ``accelerator_batch_size`` if it has one. There
the size is doubled as long as rows are computed faster for it, the device and the host have room for twice as much, and
no batch has failed for want of memory; after the first doubling that does not pay it goes back and stays. On a CPU it
is never grown: networks see each row alone there.
Rows do not depend on it beyond a stage's tolerance, on a CPU not at all, so it is in no key.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

from diptych.machine import memory

__all__ = ["BatchSize", "room_on"]

TRIES = 3
"""Batches measured at a size; the fastest counts, so that a first call or a busy machine decides nothing."""
GAIN = 0.05
"""A doubling pays when a row takes this share less time."""
LARGEST = 8
"""Most growth: times the stage's own size, because decoded pictures wait in the host's memory."""


class BatchSize:
    """The present size of one stage at one place; safe to use from several threads."""

    def __init__(
        self, own: int, *, begin: int | None = None, grows: bool = False, room: Callable[[], bool] = lambda: True
    ) -> None:
        self.rows = begin or own
        """Rows to ask for."""
        self.most = 0
        """Rows that fit since memory ran out; 0 while it has not."""
        self._largest = LARGEST * own
        self._settled = not grows
        self._room = room
        self._times: list[float] = []
        self._best, self._good = float("inf"), self.rows
        self._lock = Lock()

    def measured(self, rows: int, seconds: float) -> None:
        """A batch of ``rows`` took so long; batches of another size (a shard's last) say nothing."""
        with self._lock:
            if self._settled or rows != self.rows:
                return
            self._times.append(seconds / rows)
            if len(self._times) < TRIES:
                return
            fastest = min(self._times)
            self._times.clear()
            if fastest > (1 - GAIN) * self._best:
                self.rows, self._settled = self._good, True
                return
            self._best, self._good = fastest, rows
            if 2 * rows <= self._largest and self._room():
                self.rows = 2 * rows
            else:
                self._settled = True

    def ran_out(self, rows: int) -> None:
        """A batch of ``rows`` found no memory: half as many from now on."""
        with self._lock:
            self.most = self.rows = max(1, min(rows // 2, self.most or rows))
            self._settled = True


def room_on(device: str) -> bool:
    """Whether twice the most memory used so far fits: of the device, and a quarter of the host's is free."""
    return _host_has_room() and _device_has_room(device)


def _host_has_room() -> bool:
    found = memory()
    return found is None or found[0] * 4 > found[1]


def _device_has_room(device: str) -> bool:
    torch: Any = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda") or not torch.cuda.is_initialized():
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return 2 * torch.cuda.max_memory_allocated(device) < 0.9 * (free + torch.cuda.memory_reserved(device))
