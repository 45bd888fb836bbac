"""How well scores tell pairs that say the same from others, beside the cosine of character n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diptych.models.esim.pairs import TextPair
from diptych.stages.relevance_scorers import Ngrams

__all__ = ["Measured", "best_threshold", "cosines", "labels_of", "measure"]


@dataclass(frozen=True)
class Measured:
    """Accuracy at ``threshold`` and area under the ROC curve (0.5 is chance; nan when one label is missing)."""

    pairs: int
    accuracy: float
    threshold: float
    auc: float


def labels_of(pairs: Sequence[TextPair]) -> list[bool]:
    """Whether each pair says the same."""
    return [pair.same for pair in pairs]


def cosines(pairs: Sequence[TextPair]) -> np.ndarray:
    """What the scorer ``ngrams`` gives these pairs."""
    ngrams = Ngrams((2, 3))
    return ngrams.scores([(p.first, p.second) for p in pairs])


def best_threshold(scores: np.ndarray, labels: Sequence[bool]) -> float:
    """Where accuracy on these pairs is highest: for scores that are no probabilities."""
    order = np.argsort(scores, kind="stable")
    same = np.array(labels, bool)[order]
    right = np.concatenate([[same.sum()], same.sum() + np.cumsum(np.where(same, -1, 1))])
    edges = np.concatenate([[-np.inf], scores[order]])  # a pair is the same when its score is above the edge
    return float(edges[int(right.argmax())])


def measure(scores: np.ndarray, labels: Sequence[bool], threshold: float = 0.5) -> Measured:
    """Accuracy of ``score > threshold``, and the share of (same, different) pairs of pairs in the right order."""
    same = np.array(labels, bool)
    accuracy = float(((scores > threshold) == same).mean()) if len(same) else float("nan")
    ranks = _average_ranks(scores)
    yes, no = int(same.sum()), int((~same).sum())
    auc = float((ranks[same].sum() - yes * (yes + 1) / 2) / (yes * no)) if yes and no else float("nan")
    return Measured(len(same), accuracy, threshold, auc)


def _average_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal scores share the mean of theirs."""
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place] if len(values) else np.zeros(0)
