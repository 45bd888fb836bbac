"""Image precision, classes, perplexity and keyphrases against independent computations and published values."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest

from diptych.metrics.classes import class_scores, perplexity
from diptych.metrics.images import image_precision
from diptych.metrics.keyphrases import Kind, Post, keyphrase_scores, stemmed

# Values of the task's released scorer (MODELS-DETAILS M10).
POSTS = [
    Post(
        ["garden", "cat play", "playing cats", "new york , ny", "<unk> day"],
        ["playing cat", "Gardens", "gardens"],
        "great cats are playing in the garden today",
    ),
    Post(
        ["happy birthday", "birthday", "son", "sons", "party time", "giveaway"],
        ["happy birthday", "son", "party time"],
        "happy birthday to my son",
    ),
    Post(["election", "vote"], ["brexit"], "vote now"),
]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("all", (0.39216, 0.49383, 0.51701, 0.54630, 3)),
        ("present", (0.85714, 0.90909, 0.90909, 0.91667, 2)),
        ("absent", (0.33333, 0.44444, 0.44444, 0.50000, 3)),
    ],
)
def test_keyphrases_equal_the_released_scorer(kind: Kind, expected: tuple[float, ...]) -> None:
    assert tuple(round(v, 5) for v in astuple(keyphrase_scores(POSTS, kind))) == expected


def naive_keyphrases(posts: list[Post], k: int) -> tuple[float, float]:
    """Macro F1@k and MAP@5 of posts whose words are their own stems, by NumPy over 0/1 rows."""
    precisions, recalls, averages = [], [], []
    for post in posts:
        gold = np.unique(post.gold)
        kept = np.array([p for n, p in enumerate(post.predicted) if p not in post.predicted[:n] and "," not in p])
        hit = np.isin(kept, gold).astype(float) if len(kept) else np.zeros(0)
        precisions.append(hit[:k].mean() if len(kept) else 0.0)
        recalls.append(hit[:k].sum() / len(gold))
        at = np.cumsum(hit)[:5] / np.arange(1, len(hit) + 1)[:5]
        averages.append((at * hit[:5]).sum() / len(gold))
    p, r = np.mean(precisions), np.mean(recalls)
    return (2 * p * r / (p + r) if p + r else 0.0), float(np.mean(averages))


def test_keyphrases_equal_an_independent_count() -> None:
    rng = np.random.default_rng(0)
    pool = ["ab", "ab cd", "ef", "gh", "gh ,", "kl mn", "op", "qr"]
    posts = [
        Post(rng.choice(pool, rng.integers(0, 9)).tolist(), rng.choice(pool[:4], rng.integers(1, 4)).tolist())
        for _ in range(50)
    ]
    found = keyphrase_scores(posts)
    for k, value in ((1, found.f1_at_1), (3, found.f1_at_3), (5, found.f1_at_5)):
        assert value == pytest.approx(naive_keyphrases(posts, k)[0])
    assert found.map_at_5 == pytest.approx(naive_keyphrases(posts, 5)[1])


def test_keyphrases_of_little() -> None:
    assert stemmed("Playing  CATS") == ("play", "cat")
    assert astuple(keyphrase_scores([Post(["a ."], ["a"]), Post([], ["b"])])) == (0.0, 0.0, 0.0, 0.0, 2)
    empty = keyphrase_scores([Post(["a"], [])])
    assert empty.posts == 0 and math.isnan(empty.f1_at_1)
    assert keyphrase_scores([Post(["a"], ["a"], "b")], "present").posts == 0
    with pytest.raises(ValueError, match="post 1 has none"):
        keyphrase_scores([POSTS[0], Post(["a"], ["a"])], "absent")


def test_image_precision() -> None:
    scores = [np.array(s, float) for s in ([3, 1, 2], [1, 3, 3], [1, 1, 1], [0, 5], [7], [1, 2], [1, 2])]
    found = image_precision(scores, [0, 2, 1, 0, 0, None, 1])
    hits = [1, 1 / 2, 1 / 3, 0, 1]  # the fifth has one candidate, the sixth no vote
    assert found.documents == 5 and found.precision == pytest.approx(np.mean(hits))
    assert found.chance == pytest.approx(np.mean([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2]))
    assert math.isnan(image_precision([np.array([1.0])], [0]).precision)
    with pytest.raises(ValueError, match="one of 2 candidates, found place 2"):
        image_precision([np.array([1.0, 2.0])], [2])
    with pytest.raises(ValueError, match="nan"):
        image_precision([np.array([1.0, np.nan])], [0])


def test_image_precision_of_ties_is_that_of_drawing() -> None:
    rng = np.random.default_rng(1)
    scores = [rng.integers(0, 3, rng.integers(2, 5)).astype(float) for _ in range(40)]
    voted = [int(rng.integers(0, len(s))) for s in scores]
    drawn = [np.mean([v == d for d in np.flatnonzero(s == s.max())]) for s, v in zip(scores, voted, strict=True)]
    assert image_precision(scores, voted).precision == pytest.approx(np.mean(drawn))


def test_classes_equal_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    rng = np.random.default_rng(2)
    for names in (["0", "1", "2"], ["a", "b", "c", "never predicted"]):
        gold = rng.choice(names, 80).tolist()
        predicted = rng.choice(names[:3], 80).tolist()
        found = class_scores(predicted, gold)
        assert found.accuracy == pytest.approx(accuracy_score(gold, predicted), abs=1e-15)
        for average, value in (("weighted", found.weighted_f1), ("macro", found.macro_f1)):
            assert value == pytest.approx(f1_score(gold, predicted, average=average, zero_division=0), abs=1e-12)
        each = f1_score(gold, predicted, average=None, labels=sorted(found.f1), zero_division=0)
        assert list(found.f1.values()) == pytest.approx(list(each), abs=1e-15)
        assert sum(found.support.values()) == 80
    assert class_scores(["a", "b"], ["b", "b"]).f1 == {"a": 0.0, "b": pytest.approx(2 / 3)}
    assert math.isnan(class_scores([], []).accuracy)
    with pytest.raises(ValueError, match="found 1 and 0"):
        class_scores(["a"], [])


def test_perplexity() -> None:
    assert perplexity(3 * math.log(7), 3) == pytest.approx(7)
    assert perplexity(1e6, 1) == math.inf and math.isnan(perplexity(0.0, 0))
