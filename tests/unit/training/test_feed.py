"""Streams: instances, their order, resuming, keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_task import IMAGES, PHRASES, ToyConfig, ToyTask

from diptych.exceptions import UsageError
from diptych.storage.reader import Records
from diptych.training.feed import EXTRA, Feed, Given, Instances, apart, entry_of, instance_order
from diptych.training.phase import Stream
from diptych.training.task import State
from diptych.version import Version


class Keys(ToyTask):
    """Batches are the samples themselves."""

    def collate(self, samples: Any, stream: str) -> Any:
        return samples


TASK = Keys(ToyConfig(), State({"scale": np.ones(8, np.float32)}))


def seen(batches: Any) -> list[tuple[str, int]]:
    return [(s["key"], s.get("choice", -1)) for batch in batches for s in batch]


def test_every_instance_once_and_those_of_a_row_far_apart() -> None:
    counts = np.array([3, 0, 1, 2, 3])
    owner = np.repeat(np.arange(5), counts)
    firsts = set()
    for epoch in range(3):
        order = instance_order(counts, 7, epoch)
        assert sorted(order) == list(range(9)) and order.dtype == np.int64
        rows = owner[order].tolist()
        assert sorted(rows[:4]) == [0, 2, 3, 4] and sorted(rows[4:7]) == [0, 3, 4] and sorted(rows[7:]) == [0, 4]
        firsts.add(int(order[rows.index(0)]))
        assert list(instance_order(counts, 7, epoch)) == list(order)
    assert firsts == {0, 1, 2}  # another item comes first in each epoch
    assert list(instance_order(counts, 8, 0)) != list(instance_order(counts, 7, 0))
    assert len(instance_order(np.zeros(3, np.int64), 0, 0)) == 0


def repeats(order: np.ndarray, pictures: np.ndarray, batch: int) -> int:
    """Instances whose picture stands in their batch already."""
    batches = [pictures[order[n : n + batch]].tolist() for n in range(0, len(order), batch)]
    return sum(len(b) - len(set(b)) for b in batches)


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=60),
    shared=st.integers(1, 60),
    batch=st.integers(1, 16),
    seed=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_a_batch_has_no_picture_twice_where_swaps_allow_it(
    counts: list[int], shared: int, batch: int, seed: int
) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    pictures = owner % shared  # rows share pictures, too
    order = instance_order(np.array(counts), seed, 0)
    found = apart(order, pictures, batch)
    assert sorted(found.tolist()) == list(range(len(owner))) and found.dtype == np.int64
    assert found.tolist() == apart(order, pictures, batch).tolist()
    before, after = repeats(order, pictures, batch), repeats(found, pictures, batch)
    assert after <= before
    if before == 0:
        assert found.tolist() == order.tolist()
    steps = -(-len(owner) // batch)
    if batch <= len(set(pictures.tolist())) // 4 and np.bincount(pictures).max() <= steps // 4:
        assert after == 0  # there is room


def test_five_captions_a_picture_stay_apart_at_the_borders_of_passes() -> None:
    owner = np.repeat(np.arange(200), 5)
    for epoch in range(4):
        order = instance_order(np.full(200, 5), 0, epoch)
        assert repeats(order, owner, 64) > 0  # a batch takes the end of one pass and the beginning of the next
        found = apart(order, owner, 64)
        assert repeats(found, owner, 64) == 0 and (found != order).sum() < 100


def test_pairs_of_one_picture_are_told_by_their_keys() -> None:
    rows = [{"key": f"{n:032x}/{n % 3:064x}#{n}", "texts": ["a", "b"]} for n in range(6)]
    records = Given({"train": rows}).rows("train")
    assert Instances(records, "texts", None).pictures().tolist() == [0, 0, 1, 1, 2, 2] * 2


def test_only_rows_that_say_something_are_read(version: Version) -> None:
    said = ['{"adds": 0}', "{}", None, '{"adds": 1, "x": 2}', '{"adds": null}', "[1]", "not JSON"]
    rows = [{"key": f"r{n}", EXTRA: extra} for n, extra in enumerate(said)]
    found = Instances(Given({"train": rows}).rows("train"), "", None, "adds")
    assert [found[n]["key"] for n in range(len(found))] == ["r0", "r3"] and found.dropped == {"adds": 5}
    assert [entry_of(extra, "adds") for extra in said] == [0, None, None, 1, None, None, None]
    assert found.digest != Instances(Given({"train": rows}).rows("train"), "", None).digest
    nobody = Stream((EXTRA, "documents.title"), says="adds")
    with Feed(version, TASK, "nobody", nobody) as feed:
        assert len(feed) == len(feed.records) == 0 and feed.records.dropped["adds"] > 10
    with pytest.raises(UsageError, match=r"says is 'adds', but documents\.extra is none of its fields"):
        Feed(version, TASK, "wrong", Stream(("documents.title",), says="adds"))


def test_instances_are_the_items_of_a_list(version: Version) -> None:
    with Records(version, PHRASES.fields, rows="document", split="train") as records:
        expected = {(s["key"], n) for s in records for n in range(len(s["documents.keyphrases"]))}
    with Feed(version, TASK, "phrases", PHRASES, seed=1) as feed:
        found = seen(feed)
        assert set(found) == expected and len(found) == len(expected) > 10
        assert len(feed) == -(-len(expected) // PHRASES.batch_size)
        assert seen(feed) != found  # the next epoch has another order
    with Feed(version, TASK, "phrases", PHRASES, shuffle=False) as feed:
        assert seen(feed) == sorted(found, key=seen(feed).index)


@pytest.mark.parametrize("after", [1, 4, 7, 30])
def test_it_goes_round_and_resumes(version: Version, after: int) -> None:
    def take(feed: Feed, count: int) -> list[list[tuple[str, int]]]:
        batches = feed.forever()
        return [seen([next(batches)]) for _ in range(count)]

    with Feed(version, TASK, "phrases", PHRASES, seed=5) as feed:
        whole = take(feed, 40)
    with Feed(version, TASK, "phrases", PHRASES, seed=5) as feed:
        begun = take(feed, after)
        state = feed.state_dict()
    with Feed(version, TASK, "phrases", PHRASES, seed=5) as feed:
        feed.load_state_dict(state)
        assert begun + take(feed, 40 - after) == whole


@pytest.mark.parametrize("world", [1, 2, 3])
def test_small_steps_are_left_out_on_every_rank(version: Version, world: int) -> None:
    for size in (4, 5, 7):
        stream = Stream(IMAGES.fields, "image", batch_size=size, least=3)
        sizes = []
        for rank in range(world):
            with Feed(version, TASK, "images", stream, rank=rank, world=world) as feed:
                rows = len(feed.records)
                sizes.append([len(batch) for batch in feed])
                assert len(sizes[-1]) == len(feed) and feed.epoch == 1
        whole, rest = divmod(rows, size * world)
        assert all(len(s) == whole + (rest // world >= 3) and min(s) >= 3 for s in sizes)


def test_only_the_rows_asked_for(version: Version) -> None:
    with Records(version, IMAGES.fields, rows="image", split="test") as records:
        keys = records.keys()
    with Feed(version, TASK, "images", IMAGES, split="test", shuffle=False, keys={*keys[3:5], "other"}) as feed:
        assert [key for key, _ in seen(feed)] == keys[3:5]
    with Feed(version, TASK, "images", IMAGES, split="test", shuffle=False) as feed:
        assert [key for key, _ in seen(feed)] == keys


def test_errors_say_what_is_wrong(version: Version) -> None:
    with pytest.raises(UsageError, match="each is 'documents.text', which is none of its fields"):
        Feed(version, TASK, "x", Stream(("documents.title",), each="documents.text"))
    stream = Stream(IMAGES.fields, "image", ("features.level > 99",))
    with Feed(version, TASK, "images", stream) as feed, pytest.raises(UsageError, match="images: 0 rows of train"):
        next(feed.forever())
    with Feed(version, TASK, "images", IMAGES) as one, Feed(version, TASK, "phrases", PHRASES) as other:
        with pytest.raises(UsageError, match="another stream"):
            one.load_state_dict(other.state_dict())
