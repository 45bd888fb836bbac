"""The order of an epoch and its division into steps, as pure functions."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.storage.reader_order import epoch_order, steps, steps_left

MASK = (1 << 64) - 1


def twin(seed: int, epoch: int, count: int) -> list[int]:
    """splitmix64 in Python integers."""
    start = int.from_bytes(
        hashlib.blake2b(f"diptych order 1:{seed}:{epoch}".encode(), digest_size=8).digest(), "little"
    )

    def mix(i: int) -> int:
        z = ((i + 1) * 0x9E3779B97F4A7C15 + start) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    return sorted(range(count), key=mix)


@given(st.integers(0, 2**70), st.integers(0, 10_000), st.integers(0, 300))
def test_the_order_is_the_twin_s_and_a_permutation(seed: int, epoch: int, count: int) -> None:
    order = epoch_order(seed, epoch, count)
    assert order.dtype == np.int64 and order.tolist() == twin(seed, epoch, count)
    assert sorted(order.tolist()) == list(range(count))


def test_the_order_never_changes() -> None:
    assert epoch_order(0, 0, 8).tolist() == [5, 6, 7, 4, 2, 3, 1, 0]


def test_seeds_and_epochs_differ_and_positions_are_uniform() -> None:
    orders = {tuple(epoch_order(s, e, 50)) for s in range(20) for e in range(20)}
    assert len(orders) == 400
    first = np.bincount([epoch_order(s, 0, 10)[0] for s in range(5000)], minlength=10)
    assert abs(first - 500).max() < 110  # five standard deviations
    assert abs(np.corrcoef(epoch_order(1, 0, 10_000), np.arange(10_000))[0, 1]) < 0.05


@settings(max_examples=200)
@given(
    count=st.integers(0, 60),
    consumed=st.integers(0, 70),
    batch=st.integers(1, 9),
    world=st.integers(1, 6),
    drop=st.booleans(),
)
def test_ranks_share_each_step_evenly_and_in_lock_step(
    count: int, consumed: int, batch: int, world: int, drop: bool
) -> None:
    order = epoch_order(3, 1, count)
    ranks = [list(steps(order, consumed, batch_size=batch, rank=r, world=world, drop_last=drop)) for r in range(world)]
    assert {len(r) for r in ranks} == {steps_left(count, consumed, batch_size=batch, world=world, drop_last=drop)}
    for number, step in enumerate(zip(*ranks, strict=True)):
        assert len({s.consumed for s in step}) == 1
        sizes = [len(s.rows) for s in step]
        assert max(sizes) - min(sizes) <= 1 and max(sizes) <= batch
        assert sum(sizes) == step[0].consumed - (consumed if number == 0 else ranks[0][number - 1].consumed)
        if drop:
            assert sizes == [batch] * world
    seen = [row for step in zip(*ranks, strict=True) for s in step for row in s.rows.tolist()]
    end = ranks[0][-1].consumed if ranks[0] else consumed
    assert sorted(seen) == sorted(order[consumed:end].tolist())
    assert drop or end >= count
