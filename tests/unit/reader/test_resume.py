"""The stream resumes exactly, wherever it stops and whatever the workers and ranks are then."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diptych.exceptions import UsageError
from diptych.storage.reader import Loader
from diptych.storage.reader_order import epoch_order
from diptych.version import Version

FIELDS = ["features.pooled"]


class Numbers:
    """As many rows as asked for, instead of a version's; each says which process read it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.digest = f"numbers {count}"

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        return [{"key": i, "process": os.getpid()} for i in indices]

    def close(self) -> None:
        pass


def numbers(version: Version, count: int, **options: Any) -> Loader:
    with patch("diptych.storage.reader_loader.Records", lambda *_, **__: Numbers(count)):
        return Loader(version, FIELDS, collate=list, **options)


def keys(batch: list[dict[str, Any]]) -> list[int]:
    return [sample["key"] for sample in batch]


class Ranks:
    """All ranks of a training, in lock step."""

    def __init__(self, version: Version, count: int, world: int, **options: Any) -> None:
        self.loaders = [numbers(version, count, world=world, rank=r, **options) for r in range(world)]
        self._loops: list[Iterator[Any]] | None = None

    def load(self, state: dict[str, Any]) -> None:
        for loader in self.loaders:
            loader.load_state_dict(state)

    def take(self, count: int) -> list[int]:
        """The rows of so many steps, across ends of epochs."""
        seen = []
        while count:
            if self._loops is None:
                self._loops = [iter(loader) for loader in self.loaders]
            step = [next(loop, None) for loop in self._loops]
            if step[0] is None:
                assert step == [None] * len(step)  # all ranks end together
                self._loops = None
                if self.loaders[0].drop_last and len(self.loaders[0]) == 0:
                    return seen
                continue
            seen += [key for batch in step for key in keys(batch)]
            count -= 1
        return seen

    def state(self) -> dict[str, Any]:
        states = [json.loads(json.dumps(loader.state_dict())) for loader in self.loaders]
        assert all(state == states[0] for state in states)
        return states[0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 40),
    seed=st.integers(0, 99),
    plan=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=5),
)
def test_no_row_is_lost_or_repeated_over_changes_of_batch_size_and_ranks(
    version: Version, count: int, seed: int, plan: list[tuple[int, int, int]]
) -> None:
    state: dict[str, Any] | None = None
    seen: list[int] = []
    for batch, world, stop in plan:
        ranks = Ranks(version, count, world, batch_size=batch, seed=seed if state is None else 0)
        if state is not None:
            ranks.load(state)
        seen += ranks.take(stop)
        state = ranks.state()
    assert state is not None
    assert state["seed"] == seed
    assert len(seen) == state["epoch"] * count + state["consumed"]
    for epoch in range(state["epoch"] + 1):
        mine = seen[epoch * count : (epoch + 1) * count]
        assert sorted(mine) == sorted(epoch_order(seed, epoch, count)[: len(mine)].tolist())


@pytest.mark.parametrize(
    ("first", "then"), [((2, 1), (0, 1)), ((0, 1), (2, 1)), ((1, 2), (2, 3)), ((2, 1), (1, 1)), ((0, 3), (1, 1))]
)
def test_changes_of_workers(version: Version, first: tuple[int, int], then: tuple[int, int]) -> None:
    count, batch = 83, 3
    before = Ranks(version, count, first[1], batch_size=batch, seed=5, workers=first[0])
    seen = before.take(7)
    state = before.state()
    assert state["consumed"] == 7 * batch * first[1] == len(seen)  # workers have read further
    after = Ranks(version, count, then[1], batch_size=batch, seed=5, workers=then[0])
    after.load(state)
    while after.loaders[0].epoch == 0:
        seen += after.take(1)
    more = after.state()["consumed"]
    assert sorted(seen[: len(seen) - more]) == list(range(count))
    for loader in (*before.loaders, *after.loaders):
        loader.close()
    gc.collect()


def test_one_rank_sees_exactly_the_order_with_any_number_of_workers(version: Version) -> None:
    for workers in (0, 1, 2):
        with numbers(version, 57, batch_size=4, seed=9, workers=workers) as loader:
            processes = set()
            for epoch in range(3):
                batches = list(loader)
                assert [k for b in batches for k in keys(b)] == epoch_order(9, epoch, 57).tolist()
                assert [len(b) for b in batches] == [4] * 14 + [1] and len(loader) == 15
                processes |= {s["process"] for b in batches for s in b}
            assert len(processes) == max(1, workers) and (os.getpid() in processes) == (workers == 0)


def test_resuming_a_version_s_own_rows_in_spawned_workers(version: Version) -> None:
    with Loader(version, FIELDS, split=None, batch_size=4, seed=1) as loader:
        whole = [key for batch in loader for key in batch["key"]]
        assert sorted(whole) == sorted(loader.records.keys()) and whole != loader.records.keys()
        assert [key for batch in loader for key in batch["key"]] != whole  # the next epoch
        again = Loader(version, FIELDS, split=None, batch_size=4, seed=1)
        seen = []
        for batch in again:
            seen += batch["key"]
            if len(seen) == 12:
                break
        state = again.state_dict()
        assert state == {
            **{"format": 1, "seed": 1, "shuffle": True, "epoch": 0, "consumed": 12},
            **{"rows": len(whole), "digest": loader.records.digest},
        }
        with Loader(version, FIELDS, split=None, batch_size=7, seed=77, workers=2, start_method="spawn") as other:
            other.load_state_dict(state)
            assert other.steps_left == -(-(len(whole) - 12) // 7)
            for batch in other:
                assert batch["features.pooled"].shape == (len(batch["key"]), 8)
                seen += batch["key"]
            assert seen == whole and other.epoch == 1


def test_a_loop_goes_on_where_the_last_one_stopped(version: Version) -> None:
    for workers in (0, 1):
        with numbers(version, 20, batch_size=4, workers=workers) as loader:
            seen = [k for batch in islice(loader, 2) for k in keys(batch)]
            seen += [k for batch in loader for k in keys(batch)]
            assert seen == epoch_order(0, 0, 20).tolist() and loader.epoch == 1
            loader.set_epoch(0)
            assert [k for batch in loader for k in keys(batch)] == seen


def test_the_end_of_an_epoch_is_reached_once(version: Version) -> None:
    """A checkpoint after the last batch resumes before the end-of-epoch work, not after it."""
    with numbers(version, 8, batch_size=4) as loader, numbers(version, 8, batch_size=4) as other:
        for _ in loader:
            state = loader.state_dict()
        assert (state["epoch"], state["consumed"]) == (0, 8)
        other.load_state_dict(state)
        assert list(other) == [] and other.epoch == 1 and other.state_dict() == loader.state_dict()


def test_an_older_loop_cannot_go_on(version: Version) -> None:
    with numbers(version, 20, batch_size=4) as loader:
        old = iter(loader)
        next(old)
        new = iter(loader)
        assert keys(next(new)) == epoch_order(0, 0, 20)[4:8].tolist()
        with pytest.raises(UsageError, match="another loop"):
            next(old)
        loader.load_state_dict(loader.state_dict())
        with pytest.raises(UsageError, match="state was set"):
            next(new)


def test_a_state_of_other_rows_is_refused(version: Version) -> None:
    with Loader(version, FIELDS, split=None) as loader, Loader(version, FIELDS, split="train") as other:
        with pytest.raises(UsageError, match="its rows is"):
            other.load_state_dict(loader.state_dict())
        with pytest.raises(UsageError, match="its shuffle is False"):
            loader.load_state_dict(loader.state_dict() | {"shuffle": False})
    for options in ({"batch_size": 0}, {"workers": -1}, {"rank": 2, "world": 2}, {"rank": -1}):
        with pytest.raises(UsageError):
            Loader(version, FIELDS, **options)


def test_last_steps(version: Version) -> None:
    with numbers(version, 10, batch_size=2, world=3, rank=2) as loader:  # 6 + 4 rows
        assert [len(b) for b in loader] == [2, 1]
    with numbers(version, 7, batch_size=2, world=3, rank=2) as loader:  # one row left for three ranks
        assert [len(b) for b in loader] == [2, 0]
    with numbers(version, 7, batch_size=2, world=3, rank=2, drop_last=True, shuffle=False) as loader:
        assert [keys(b) for b in loader] == [[2, 5]] and len(loader) == 1
    with Loader(version, ["features.pooled", "features.regions"], split=None, world=200, rank=199, workers=1) as loader:
        (batch,) = list(loader)
        assert batch["key"] == [] and batch["features.pooled"].shape == (0, 8)
        assert batch["features.regions"].shape == (0, 0, 3)


def test_workers_do_not_touch_the_global_generator(version: Version) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with numbers(version, 9, batch_size=4, workers=1) as loader:
        list(loader), list(loader)
    assert torch.equal(before, torch.get_rng_state())


def test_an_error_in_a_worker_arrives(version: Version) -> None:
    with Loader(version, FIELDS, workers=1, collate=_refuse) as loader, pytest.raises(UsageError, match="refused"):
        list(loader)


def _refuse(samples: list[Any]) -> None:
    raise UsageError("refused")


def test_a_version_opens_its_loader(version: Version) -> None:
    with version.loader(split="train", fields=FIELDS, batch_size=3, float_dtype="float32") as loader:
        batch = next(iter(loader))
        assert batch["features.pooled"].dtype == torch.float32 and len(batch["key"]) == 3
