"""Shared blocks that go back and forth between worker processes and the one that trains.

Fresh shared memory costs a page fault for every 4 kB on either side, which takes longer than copying what lies in it.
Where a batch is copied into page-locked memory anyway, its block goes back to the worker that filled it, for a later
batch: memory is mapped once, and a worker has no more blocks than batches on their way.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

__all__ = ["Blocks", "Lent", "open_blocks", "shared"]

_STEP = 1 << 20
"""Bytes; blocks are a multiple of it, a quarter larger than asked for: batches differ in their padding."""


@dataclass(frozen=True)
class Lent:
    """Which block of which worker a batch lies in, and how many bytes of it."""

    owner: str
    worker: int
    number: int
    size: int
    gone: tuple[int, ...]
    """blocks that the worker has given up since the last batch"""


class Blocks:
    """Those of one loader: its copy in each worker fills them, the loader's own gives them back."""

    def __init__(self, context: BaseContext, workers: int) -> None:
        self._start(secrets.token_hex(8), [context.SimpleQueue() for _ in range(workers)])
        _OPEN[self.name] = self

    def _start(self, name: str, returned: Sequence[Any]) -> None:
        self.name, self._returned = name, returned
        self._blocks: dict[tuple[int, int], Tensor] = {}
        """by worker and number"""
        self._free: list[int] = []
        self._made = 0

    def __getstate__(self) -> tuple[str, Sequence[Any]]:
        return self.name, self._returned

    def __setstate__(self, state: tuple[str, Sequence[Any]]) -> None:
        self._start(*state)

    def take(self, size: int) -> tuple[Tensor, bool, Lent]:
        """In a worker: a block (uint8) of at least ``size`` bytes, whether it is a new one, and what to say of it."""
        info = get_worker_info()
        assert info is not None
        worker, returned = info.id, self._returned[info.id]
        while not returned.empty():
            self._free.append(returned.get())
        fits = [n for n in self._free if self._blocks[worker, n].numel() >= size]
        if fits:
            number = min(fits, key=lambda n: self._blocks[worker, n].numel())
            self._free.remove(number)
            return self._blocks[worker, number], False, Lent(self.name, worker, number, size, ())
        gone = tuple(self._free)
        for number in gone:
            del self._blocks[worker, number]
        self._free.clear()
        self._made += 1
        block = shared(-(-size * 5 // 4 // _STEP) * _STEP)
        self._blocks[worker, self._made] = block
        return block, True, Lent(self.name, worker, self._made, size, gone)

    def pinned(self, lent: Lent, block: Tensor | None) -> Tensor:
        """In the loader's process: a page-locked copy of a batch's bytes; its block goes back.

        ``block`` is the one that came with the batch, None when it has been here before.
        """
        for number in lent.gone:
            self._blocks.pop((lent.worker, number), None)
        if block is not None:
            self._blocks[lent.worker, lent.number] = block
        try:
            return _page_locked(lent.size).copy_(self._blocks[lent.worker, lent.number][: lent.size])
        finally:
            self._returned[lent.worker].put(lent.number)


_OPEN: WeakValueDictionary[str, Blocks] = WeakValueDictionary()


def open_blocks(name: str) -> Blocks:
    """Those of a loader of this process."""
    return _OPEN[name]


def shared(size: int) -> Tensor:
    """uint8 of ``size`` bytes, at least 1, in shared memory."""
    storage = torch.UntypedStorage._new_shared(max(size, 1))
    return torch.empty(0, dtype=torch.uint8).set_(storage)


def _page_locked(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)
