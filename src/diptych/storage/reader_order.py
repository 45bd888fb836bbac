"""In which order an epoch's rows are read, and how steps divide that order among ranks.

The order is a pure function of (seed, epoch, number of rows), by our own arithmetic: no release of NumPy or torch
can change it.
A *step* takes the next ``batch_size * world`` rows of it, rank ``r`` every ``world``-th of them from the
``r``-th on. After any step the rows consumed are a prefix of the order, however many ranks there were:
one number resumes an epoch with any other batch size, number of workers or ranks.

The last step of an epoch may have fewer rows: they are divided evenly, and where fewer rows than ranks are
left some ranks get an empty batch, so that every rank takes the same number of steps and no row is repeated.
With ``drop_last`` such a step is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Step", "epoch_order", "steps", "steps_left"]

_GOLDEN, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Step:
    """One rank's share of one step, and how many rows of the epoch all ranks have consumed after it."""

    rows: np.ndarray
    consumed: int


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A permutation of ``range(count)`` (int64): rows sorted by a 64-bit hash (splitmix64, a bijection: no ties)."""
    start = hashlib.blake2b(f"diptych order 1:{seed}:{epoch}".encode(), digest_size=8).digest()
    mixed = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN + np.frombuffer(start, "<u8").astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    mixed ^= mixed >> np.uint64(31)
    return np.argsort(mixed, kind="stable").astype(np.int64, copy=False)


def steps(
    order: np.ndarray, consumed: int, *, batch_size: int, rank: int, world: int, drop_last: bool
) -> Iterator[Step]:
    """The steps that are left of an epoch after ``consumed`` rows, as rank ``rank`` of ``world`` sees them."""
    width = batch_size * world
    while consumed < len(order):
        share = order[consumed : consumed + width]
        if drop_last and len(share) < width:
            return
        consumed += len(share)
        yield Step(share[rank::world], consumed)


def steps_left(count: int, consumed: int, *, batch_size: int, world: int, drop_last: bool) -> int:
    """How many steps :func:`steps` yields."""
    width = batch_size * world
    left = max(0, count - consumed)
    return left // width if drop_last else -(-left // width)
