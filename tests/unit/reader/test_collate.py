"""Padding and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diptych.storage.collate import collate, pad
from diptych.storage.reader import Records
from diptych.storage.reader_fields import Spec
from diptych.version import Version


def twin(values: list[Any], depth: int) -> tuple[list[int], dict[tuple[int, ...], Any]]:
    """Sizes, and what stands at each real place, by plain loops."""
    sizes, found = [0] * depth, dict[tuple[int, ...], Any]()

    def walk(value: Any, place: tuple[int, ...]) -> None:
        if value is None:
            return
        if len(place) == depth + 1:
            found[place] = value
            return
        sizes[len(place) - 1] = max(sizes[len(place) - 1], len(value))
        for n, item in enumerate(value):
            walk(item, (*place, n))

    for n, value in enumerate(values):
        walk(value, (n,))
    return sizes, found


leaf = st.one_of(st.none(), st.integers(-5, 5))
one = st.one_of(st.none(), st.lists(leaf, max_size=4))
two = st.one_of(st.none(), st.lists(one, max_size=3))


@given(st.one_of(*(st.tuples(st.just(d), st.lists(v, max_size=5)) for d, v in enumerate((leaf, one, two)))))
def test_padding_is_the_twin_s(case: tuple[int, list[Any]]) -> None:
    depth, values = case
    sizes, found = twin(values, depth)
    padded, mask, items = pad(values, depth, (), np.dtype("int64"))
    assert padded.shape == mask.shape == (len(values), *sizes)
    assert {place: padded[place] for place in np.ndindex(mask.shape) if mask[place]} == found
    assert not padded[~mask].any()
    if depth == 2:
        assert items is not None
        assert [int(row.sum()) for row in items] == [len(v or ()) for v in values]


def test_every_layout(version: Version) -> None:
    fields = [
        "features.pooled", "features.regions", "features.names", "features.boxes", "features.level", "score.points",
        "documents.title", "parse.depth", "parse.tokens", "images.bytes", "clean.size", "score.good",
    ]  # fmt: skip
    with Records(version, fields) as records:
        samples = [records[i] for i in range(9)]
        batch = records.collate()(samples)
    assert batch["key"] == [s["key"] for s in samples]
    assert batch["features.pooled"].shape == (9, 8) and batch["features.pooled"].dtype == torch.float16
    assert "features.pooled.mask" not in batch
    counts = [len(s["features.regions"]) for s in samples]
    assert batch["features.regions"].shape == (9, max(counts), 3) and min(counts) < max(counts)
    assert batch["features.regions.mask"].sum(1).tolist() == counts
    for row, sample in enumerate(samples):
        assert np.array_equal(batch["features.regions"][row, : counts[row]].numpy(), sample["features.regions"])
        assert batch["features.boxes"][row][batch["features.boxes.mask"][row]].tolist() == sum(
            sample["features.boxes"], []
        )
        assert batch["features.boxes.items"][row].sum() == counts[row]
        level = sample["features.level"]
        assert batch["features.level.mask"][row] == (level is not None)
        assert batch["features.level"][row] == (level or 0)
        assert batch["parse.depth"][row][batch["parse.depth.mask"][row]].tolist() == sample["parse.depth"]
    assert batch["features.level"].dtype == torch.float64 and batch["clean.size"].dtype == torch.int64
    assert batch["score.good"].dtype == torch.bool
    for name in ("features.names", "documents.title", "parse.tokens", "images.bytes"):
        assert batch[name] == [s[name] for s in samples]
    cast = records.collate("float32")(samples)
    assert {k: v.dtype for k, v in cast.items() if isinstance(v, torch.Tensor) and v.is_floating_point()} == {
        k: torch.float32
        for k in ("features.pooled", "features.regions", "features.boxes", "features.level", "score.points")
    }
    assert cast["clean.size"].dtype == torch.int64


def test_lists_of_tensors_and_empty_lists(version: Version) -> None:
    with Records(version, ["features.pooled", "features.regions"], rows="document") as records:
        samples = list(records)
        batch = records.collate()(samples)
        most = max(len(s["features.pooled"]) for s in samples)
        longest = max(len(r) for s in samples for r in s["features.regions"])
        assert batch["features.pooled"].shape == (len(samples), most, 8)
        assert batch["features.regions"].shape == (len(samples), most, longest, 3)
        for row, sample in enumerate(samples):
            own = len(sample["features.pooled"])
            assert batch["features.pooled.mask"][row].tolist() == [n < own for n in range(most)]
            assert batch["features.regions.items"][row].tolist() == [n < own for n in range(most)]
            for n, regions in enumerate(sample["features.regions"]):
                assert np.array_equal(
                    batch["features.regions"][row, n][batch["features.regions.mask"][row, n]], regions
                )
        bare = [s for s in samples if not s["features.pooled"]]
        empty = records.collate()(bare)
        assert bare and empty["features.pooled"].shape == (len(bare), 0, 8)
        assert empty["features.pooled.mask"].shape == (len(bare), 0) and not empty["features.pooled.mask"].any()
        mixed = records.collate()([bare[0], next(s for s in samples if s["features.pooled"])])
        assert not mixed["features.pooled.mask"][0].any() and mixed["features.pooled.mask"][1].any()
        none = records.collate()([])
        assert none["key"] == [] and none["features.regions"].shape == (0, 0, 0, 3)


def test_missing_values_have_a_mask(version: Version) -> None:
    with Records(version, ["features.pooled", "features.regions"], missing="none") as records:
        samples = list(records)
        batch = records.collate()(samples)
        there = [s["features.pooled"] is not None for s in samples]
        assert batch["features.pooled.mask"].tolist() == there and not all(there)
        assert not batch["features.pooled"][~batch["features.pooled.mask"]].any()
        assert not batch["features.regions.mask"][~batch["features.pooled.mask"]].any()


def test_a_batch_does_not_share_memory_with_the_store(version: Version) -> None:
    with Records(version, ["features.pooled"]) as records:
        first = records.collate()([records[0]])["features.pooled"]
        first += 1  # a view of the mapped file would crash or change it
        assert not np.array_equal(first[0].numpy(), records[0]["features.pooled"])


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"])
def test_every_number_type(dtype: str) -> None:
    batch = collate([{"key": "a", "x": 1}, {"key": "b", "x": None}], {"x": Spec(0, (), dtype, True)})
    assert batch["x"].tolist() == [1, 0] and batch["x.mask"].tolist() == [True, False]
