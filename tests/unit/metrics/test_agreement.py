"""Agreement against published worked examples and against an independent pairwise computation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from diptych.metrics.agreement import fleiss_kappa, item_entropy, krippendorff_alpha, majority, vote_counts

# 10 subjects, 14 raters, 5 categories: kappa 0.210 (Wikipedia, "Fleiss' kappa", worked example).
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C onwards: 4 observers, 12 units, missing
# data; nominal .743, ordinal .815, interval .849.
OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def reliability() -> np.ndarray:
    counts = np.zeros((12, 5), np.int64)
    for observer in OBSERVERS:
        for unit, value in enumerate(observer):
            if value != ".":
                counts[unit, int(value) - 1] += 1
    return counts


def alpha_by_pairs(counts: np.ndarray, values: list[float]) -> float:
    """Interval alpha straight from its definition: pairs of single votes."""
    units = [[values[c] for c, n in enumerate(row) for _ in range(n)] for row in counts]
    units = [u for u in units if len(u) > 1]
    everything = [v for u in units for v in u]
    observed = sum(sum((a - b) ** 2 for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units)
    expected = sum((a - b) ** 2 for a, b in itertools.permutations(everything, 2)) / (len(everything) - 1)
    return 1 - observed / expected


def test_fleiss_of_the_worked_example() -> None:
    assert round(fleiss_kappa(FLEISS), 3) == 0.210


def test_fleiss_equals_statsmodels() -> None:
    reference = pytest.importorskip("statsmodels.stats.inter_rater")
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.multinomial(5, [0.5, 0.3, 0.2], 30)
        assert fleiss_kappa(counts) == pytest.approx(reference.fleiss_kappa(counts), abs=1e-12)
    assert fleiss_kappa(FLEISS) == pytest.approx(reference.fleiss_kappa(FLEISS), abs=1e-12)


def test_fleiss_where_it_is_not_defined() -> None:
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1.0
    for counts in ([[3, 0], [3, 0]], [[1, 0], [0, 1]], np.zeros((0, 2), int), [[0, 0]]):
        assert math.isnan(fleiss_kappa(np.asarray(counts)))
    with pytest.raises(ValueError, match="found 2 to 3"):
        fleiss_kappa(np.array([[2, 0], [1, 2]]))


def test_alpha_of_the_worked_example() -> None:
    counts = reliability()
    assert round(krippendorff_alpha(counts), 3) == 0.743
    assert round(krippendorff_alpha(counts, "ordinal"), 3) == 0.815
    assert round(krippendorff_alpha(counts, "interval", [1, 2, 3, 4, 5]), 3) == 0.849


def test_alpha_equals_its_definition_by_pairs() -> None:
    rng = np.random.default_rng(1)
    values = [0.0, 0.25, 0.5, 0.75, 1.0]
    for _ in range(20):
        counts = np.stack([rng.multinomial(rng.integers(0, 6), np.ones(5) / 5) for _ in range(12)])
        assert krippendorff_alpha(counts, "interval", values) == pytest.approx(alpha_by_pairs(counts, values))


def test_alpha_where_it_is_not_defined() -> None:
    for counts in ([[3, 0], [3, 0]], [[1, 0], [0, 1]], np.zeros((0, 2), int)):
        assert math.isnan(krippendorff_alpha(np.asarray(counts)))
    assert krippendorff_alpha(np.array([[2, 0], [0, 3], [1, 0]])) == 1.0
    with pytest.raises(ValueError, match="each of the 2 columns"):
        krippendorff_alpha(np.array([[2, 0], [1, 1]]), "interval")


def test_entropy_and_majority() -> None:
    counts = np.array([[4, 0, 0], [2, 2, 0], [2, 1, 1], [1, 1, 1], [0, 0, 0], [2, 2, 1]])
    entropy = item_entropy(counts)
    assert entropy[:4] == pytest.approx([0, 1, 1.5, math.log2(3)]) and math.isnan(entropy[4])
    assert str(entropy[0]) == "0.0"
    assert majority(counts).tolist() == [0, -1, 0, -1, -1, -1]
    assert majority(counts, "first").tolist() == [0, 0, 0, 0, -1, 0]
    assert majority(np.zeros((2, 0), int)).tolist() == [-1, -1]


def test_counting_and_refusing() -> None:
    counts = vote_counts([{"ann": "a", "ben": "b", "eve": "b"}, {}], ["a", "b"])
    assert counts.tolist() == [[1, 2], [0, 0]]
    with pytest.raises(ValueError, match="item 0, annotator ann: 'c' is none of a, b"):
        vote_counts([{"ann": "c"}], ["a", "b"])
    for bad in (np.array([1, 2]), np.array([[0.5]]), np.array([[-1]])):
        with pytest.raises(ValueError, match="whole numbers"):
            majority(bad)
