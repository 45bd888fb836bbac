"""Ranks and recalls against an independent loop, with ties, duplicates and several captions per image."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from diptych.metrics.retrieval import (
    best_ranks,
    caption_retrieval,
    chance,
    ranking,
    region_phrase_ranking,
    with_duplicates,
)


def naive_rank(scores: list[float], correct: list[bool]) -> int:
    """The worst place that ties allow: wrong candidates first among equals."""
    order = sorted(range(len(scores)), key=lambda c: (-scores[c], correct[c]))
    return next((place for place, c in enumerate(order, start=1) if correct[c]), 0)


def test_ranks_equal_a_sort_with_wrong_ones_first() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 3, (600, 12)) / 4.0  # many ties, signs of both kinds
    correct = rng.random((600, 12)) < 0.2
    expected = [naive_rank(s, c) for s, c in zip(scores.tolist(), correct.tolist(), strict=True)]
    assert best_ranks(scores, correct).tolist() == expected and 0 in expected


def test_captions_both_ways() -> None:
    rng = np.random.default_rng(1)
    owner = np.repeat(np.arange(30), 5)
    scores = rng.normal(size=(30, 150)) + 2 * (np.arange(30)[:, None] == owner)
    i2t, t2i = caption_retrieval(scores, owner.tolist())
    rank_i = [min(1 + (row > row[c]).sum() for c in np.flatnonzero(owner == i)) for i, row in enumerate(scores)]
    rank_c = [1 + (scores[:, c] > scores[owner[c], c]).sum() for c in range(150)]
    for found, ranks in ((i2t, np.array(rank_i)), (t2i, np.array(rank_c))):
        expected = (*((ranks <= k).mean() for k in (1, 5, 10)), np.median(ranks), len(ranks))
        assert astuple(found) == pytest.approx(expected)


def vsepp(scores: np.ndarray) -> tuple[list[float], list[float]]:
    """R@1, 5, 10 in percent and the ranks of VSE++'s ``evaluation.py`` (i2t and t2i), five captions an image in order.

    Written down from the released code, which sorts by ``argsort(d)[::-1]`` and takes an image's best caption.
    """
    count = len(scores)
    i2t, t2i = np.zeros(count), np.zeros(5 * count)
    for index in range(count):
        order = np.argsort(scores[index])[::-1]
        i2t[index] = min(np.where(order == i)[0][0] for i in range(5 * index, 5 * index + 5))
        for i in range(5):
            order = np.argsort(scores[:, 5 * index + i])[::-1]
            t2i[5 * index + i] = np.where(order == index)[0][0]
    found = []
    for ranks in (i2t, t2i):
        recalls = [100.0 * len(np.where(ranks < k)[0]) / len(ranks) for k in (1, 5, 10)]
        found.append([*recalls, np.floor(np.median(ranks)) + 1])
    return found[0], found[1]


def test_recalls_equal_those_of_vsepp() -> None:
    """The medians too, which VSE++ rounds down where they lie between two ranks."""
    scores = np.random.default_rng(2).normal(size=(40, 200))
    scores[np.arange(200) // 5, np.arange(200)] += 1.5
    for ours, theirs in zip(caption_retrieval(scores, (np.arange(200) // 5).tolist()), vsepp(scores), strict=True):
        first, fifth, tenth, median, _ = astuple(ours)
        assert [100 * first, 100 * fifth, 100 * tenth, np.floor(median)] == pytest.approx(theirs)


def test_equal_captions() -> None:
    texts = ["A dog", "two cats", "a  dog ", "a man"]  # the first and third read alike
    scores = np.array([[0.5, 0.1, 0.5, 0.2], [0.5, 0.3, 0.5, 0.4]])
    owner = [0, 0, 1, 1]
    i2t, t2i = caption_retrieval(scores, owner)
    assert (i2t.recall_at_1, t2i.recall_at_1) == (0.0, 0.25)  # ties count against
    i2t, t2i = caption_retrieval(scores, owner, texts)
    assert (i2t.recall_at_1, t2i.recall_at_1) == (1.0, 0.75)
    with pytest.raises(ValueError, match="found 3 for 4"):
        caption_retrieval(scores, owner, texts[:3])
    with pytest.raises(ValueError, match="one column a caption"):
        caption_retrieval(scores, owner[:3])


def test_regions_and_phrases() -> None:
    phrases = ["a man", "a red ball", "A man", "grass"]
    linked = np.array([[True, False, False, False], [False, True, False, True], [False] * 4])
    scores = np.array([[0.9, 0.1, 0.9, 0.0], [0.5, 0.2, 0.6, 0.3], [1, 2, 3, 4]])
    assert astuple(region_phrase_ranking(scores, linked, phrases)) == (0.5, 1.0, 1.0, 2.0, 2)
    assert astuple(region_phrase_ranking(scores, linked)) == (0.0, 1.0, 1.0, 2.5, 2)
    naive = [[any(row[j] and p.lower() == q.lower() for j, q in enumerate(phrases)) for p in phrases] for row in linked]
    assert with_duplicates(linked, phrases).tolist() == naive


def test_chance_is_the_mean_of_random_orders() -> None:
    found = chance(5000, 5, 1000)  # the random rows of HM-LSTM's tables: 0.1, 1.1, 631 (drawn) and 0.1, 1.0, 500
    assert (round(100 * found.recall_at_1, 1), round(100 * found.recall_at_10, 1)) == (0.1, 1.0)
    assert 600 < found.median_rank < 660 and chance(1000, 1, 5000).median_rank == 500
    assert round(100 * chance(18724, 4, 4467).recall_at_1, 2) == 0.02
    rng = np.random.default_rng(2)
    drawn = np.array([1 + np.flatnonzero(rng.permutation(20) < 3)[0] for _ in range(4000)])
    exact = chance(20, 3, 1)
    assert exact.recall_at_5 == pytest.approx((drawn <= 5).mean(), abs=0.03)
    assert exact.median_rank == np.median(drawn)
    assert chance(3, 3, 1).median_rank == 1 and chance(3, 1, 1).recall_at_10 == 1


def test_of_nothing_and_of_nan() -> None:
    assert math.isnan(ranking(np.zeros(3, int)).recall_at_1) and ranking(np.zeros(0, int)).queries == 0
    assert best_ranks(np.zeros((0, 4)), np.zeros((0, 4), bool)).shape == (0,)
    assert best_ranks(np.zeros((2, 0)), np.zeros((2, 0), bool)).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"nan at \[1, 0\]"):
        best_ranks(np.array([[0.0], [np.nan]]), np.ones((2, 1), bool))
