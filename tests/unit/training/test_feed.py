"""Streams: instances, their order, resuming, keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from toy_task import IMAGES, PHRASES, ToyConfig, ToyTask

from diptych.exceptions import UsageError
from diptych.storage.reader import Records
from diptych.training.feed import EXTRA, Feed, Given, Instances, entry_of, instance_order
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
