"""Boxes, relations and scenes against twins that loop over pairs in plain Python, and against torchvision."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.geometry import (
    CONVERSE,
    PREDICATES,
    adjacency,
    areas,
    components,
    intersections,
    iou,
    padded,
    predicates,
)

Box = tuple[float, float, float, float]


def one_iou(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = wide * high if wide > 0 and high > 0 else 0.0
    whole = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / whole if whole > 0 else 0.0


def one_predicate(a: Box, b: Box, inside: float, near: float) -> str:
    size = {n: (box[2] - box[0]) * (box[3] - box[1]) for n, box in (("a", a), ("b", b))}
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    a_holds = size["b"] > 0 and shared >= inside * size["b"]
    b_holds = size["a"] > 0 and shared >= inside * size["a"]
    if a_holds != b_holds:
        return "contains" if a_holds else "inside"
    if a_holds:
        return "overlaps"
    apart = []
    for n in (0, 1):
        between = (b[n] + b[n + 2]) / 2 - (a[n] + a[n + 2]) / 2
        mean = ((a[n + 2] - a[n]) + (b[n + 2] - b[n])) / 2
        apart.append(between / mean if mean > 0 else math.copysign(math.inf, between) if between else 0.0)
    x, y = apart
    if (abs(x) < near and abs(y) < near) or (x == 0 and y == 0):
        return "overlaps"
    if abs(x) >= abs(y):
        return "left of" if x > 0 else "right of"
    return "above" if y > 0 else "below"


def walked(count: int, edges: set[tuple[int, int]]) -> list[int]:
    """Components by walking from each box not yet seen."""
    found, scene = [-1] * count, 0
    for start in range(count):
        if found[start] >= 0:
            continue
        queue = [start]
        while queue:
            at = queue.pop()
            if found[at] < 0:
                found[at] = scene
                queue += [b for a, b in edges if a == at]
        scene += 1
    return found


side = st.integers(0, 40)
box = st.tuples(side, side, side, side).map(
    lambda v: (float(v[0]), float(v[1]), float(v[0] + v[2]), float(v[1] + v[3]))
)
pictures = st.lists(st.lists(box, max_size=7), min_size=1, max_size=4)


def arrays(boxes: list[list[Box]]) -> tuple[np.ndarray, np.ndarray]:
    return padded([np.array(b, np.float64).reshape(-1, 4) for b in boxes])


@settings(max_examples=80, deadline=None)
@given(pictures, st.sampled_from([0.0, 0.2, 0.5]))
def test_relations_and_scenes_equal_the_twin(boxes: list[list[Box]], threshold: float) -> None:
    stacked, valid = arrays(boxes)
    overlap = iou(stacked, stacked)
    related = adjacency(overlap, valid, threshold)
    scenes = components(related, valid)
    for n, mine in enumerate(boxes):
        k = len(mine)
        expected = np.array([[one_iou(a, b) for b in mine] for a in mine]).reshape(k, k)
        np.testing.assert_array_equal(overlap[n, :k, :k], expected)
        edges = {(i, j) for i in range(k) for j in range(k) if i != j and expected[i, j] > threshold}
        assert {(int(i), int(j)) for i, j in zip(*np.nonzero(related[n]), strict=True)} == edges
        assert scenes[n].tolist() == walked(k, edges) + [-1] * (valid.shape[1] - k)


@settings(max_examples=80, deadline=None)
@given(pictures, st.sampled_from([0.6, 0.9, 1.0]), st.sampled_from([0.0, 0.25, 1.0]))
def test_predicates_equal_the_twin_and_have_a_converse(boxes: list[list[Box]], inside: float, near: float) -> None:
    stacked, _ = arrays(boxes)
    codes = predicates(stacked, inside=inside, near=near)
    for n, mine in enumerate(boxes):
        for i, a in enumerate(mine):
            for j, b in enumerate(mine):
                name = PREDICATES[codes[n, i, j]]
                assert name == one_predicate(a, b, inside, near), (a, b)
                assert PREDICATES[codes[n, j, i]] == CONVERSE[name], (a, b)


@settings(max_examples=50, deadline=None)
@given(st.lists(box, min_size=2, max_size=8), st.randoms(use_true_random=False), st.integers(-50, 50))
def test_order_and_place_do_not_matter(boxes: list[Box], random: object, shift: int) -> None:
    order = list(range(len(boxes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    stacked, valid = arrays([boxes, [boxes[i] for i in order]])
    overlap = iou(stacked, stacked)
    np.testing.assert_array_equal(overlap[1], overlap[0][np.ix_(order, order)])
    np.testing.assert_array_equal(overlap, np.swapaxes(overlap, 1, 2))
    np.testing.assert_array_equal(iou(stacked + shift, stacked + shift), overlap)
    np.testing.assert_array_equal(predicates(stacked + shift), predicates(stacked))
    scenes = components(adjacency(overlap, valid, 0.2), valid)
    together = scenes[0][order][:, None] == scenes[0][order][None, :]
    np.testing.assert_array_equal(scenes[1][:, None] == scenes[1][None, :], together)
    assert (overlap >= 0).all() and (overlap <= 1).all()


def test_a_long_chain_is_one_scene() -> None:
    chain = np.array([[10.0 * n, 0, 10.0 * n + 16, 10] for n in range(200)])
    shuffled = np.random.default_rng(0).permutation(200)
    stacked, valid = padded([chain[shuffled], chain[:3], np.zeros((0, 4))])
    scenes = components(adjacency(iou(stacked, stacked), valid, 0.2), valid)
    assert set(scenes[0].tolist()) == {0} and scenes[1, :3].tolist() == [0, 0, 0]
    assert (scenes[1, 3:] == -1).all() and (scenes[2] == -1).all()


def test_the_threshold_itself_relates_nothing() -> None:
    stacked, valid = padded([np.array([[0, 0, 6, 1], [4, 0, 10, 1.0]])])  # 2 of 10: exactly 0.2
    overlap = iou(stacked, stacked)
    assert overlap[0, 0, 1] == 0.2
    assert not adjacency(overlap, valid, 0.2).any() and adjacency(overlap, valid, 0.19).sum() == 2
    assert components(adjacency(overlap, valid, 0.2), valid).tolist() == [[0, 1]]


def test_predicates_mean_what_they_say() -> None:
    picture = (0, 0, 100, 100)
    for a, b, name in (
        (picture, (10, 10, 30, 30), "contains"),
        ((10, 10, 30, 30), picture, "inside"),
        (picture, picture, "overlaps"),
        ((0, 0, 20, 20), (12, 0, 32, 20), "left of"),
        ((12, 0, 32, 20), (0, 0, 20, 20), "right of"),
        ((0, 0, 20, 20), (0, 12, 20, 32), "above"),
        ((0, 12, 20, 32), (0, 0, 20, 20), "below"),
        ((0, 0, 20, 20), (4, 3, 24, 23), "overlaps"),
        ((0, 0, 20, 20), (12, 12, 32, 32), "left of"),  # a diagonal counts as horizontal
        ((5, 5, 5, 5), (5, 5, 5, 5), "overlaps"),  # points
        ((5, 5, 5, 5), (7, 5, 7, 5), "left of"),
    ):
        codes = predicates(np.array([a, b], np.float64)[None])
        assert PREDICATES[codes[0, 0, 1]] == name and PREDICATES[codes[0, 1, 0]] == CONVERSE[name]


def test_areas_and_empty_inputs() -> None:
    assert areas(np.array([[0, 0, 2, 3], [5, 5, 1, 9.0]])).tolist() == [6, 0]
    assert intersections(np.zeros((0, 4)), np.zeros((3, 4))).shape == (0, 3)
    stacked, valid = padded([])
    assert stacked.shape == (0, 0, 4) and components(np.zeros((0, 0, 0), bool), valid).shape == (0, 0)
    stacked, valid = padded([np.zeros((0, 4))])
    assert components(adjacency(iou(stacked, stacked), valid, 0.2), valid).shape == (1, 0)


def test_iou_equals_torchvision() -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    random = np.random.default_rng(1)
    low = random.uniform(0, 100, (2, 30, 2))
    a = np.concatenate([low, low + random.uniform(1, 80, (2, 30, 2))], -1)
    theirs = ops.box_iou(torch.from_numpy(a[0]), torch.from_numpy(a[1])).numpy()
    np.testing.assert_allclose(iou(a[0], a[1]), theirs, rtol=1e-12, atol=0)
