"""Recall at k and median rank of retrieval: images and captions both ways, regions and phrases.

The rank of a query is 1 + the number of wrong candidates that score at least as high as its best correct one: ties
are broken pessimistically. Scores may have any sign.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "Ranking",
    "best_ranks",
    "caption_retrieval",
    "chance",
    "normalised",
    "ranking",
    "region_phrase_ranking",
    "with_duplicates",
]

_BLOCK = 512
"""Queries ranked at once: bounds the memory."""


@dataclass(frozen=True)
class Ranking:
    """Recalls are shares in [0, 1]; ``queries`` counts those that have a correct candidate."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    queries: int


def ranking(ranks: np.ndarray) -> Ranking:
    """Of ranks from 1; rank 0 marks a query without a correct candidate, which does not count. nan without queries."""
    ranks = ranks[ranks > 0]
    if not len(ranks):
        return Ranking(math.nan, math.nan, math.nan, math.nan, 0)
    at_1, at_5, at_10 = (float((ranks <= k).mean()) for k in (1, 5, 10))
    return Ranking(at_1, at_5, at_10, float(np.median(ranks)), len(ranks))


def best_ranks(scores_QC: np.ndarray, correct_QC: np.ndarray) -> np.ndarray:
    """Rank of each query's best correct candidate, from 1; 0 for a query that has none."""
    if scores_QC.shape != correct_QC.shape or scores_QC.ndim != 2:
        raise ValueError(
            f"scores and correct must be matrices of one shape, found {scores_QC.shape} and {correct_QC.shape}"
        )
    ranks_Q = np.zeros(len(scores_QC), np.int64)
    for start in range(0, len(scores_QC), _BLOCK):
        scores, correct = scores_QC[start : start + _BLOCK], correct_QC[start : start + _BLOCK]
        if np.isnan(scores).any():
            row, column = np.argwhere(np.isnan(scores))[0]
            raise ValueError(f"scores must be numbers, found nan at [{start + row}, {column}]")
        best = np.where(correct, scores, -np.inf).max(1, initial=-np.inf)
        ranks = 1 + ((scores >= best[:, None]) & ~correct).sum(1)
        ranks_Q[start : start + _BLOCK] = np.where(correct.any(1), ranks, 0)
    return ranks_Q


def with_duplicates(correct_QC: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """``correct_QC``, and also every candidate with the same normalised text as one that is correct."""
    if len(texts) != correct_QC.shape[1]:
        raise ValueError(f"one text a candidate is needed, found {len(texts)} for {correct_QC.shape[1]} candidates")
    group_C = np.unique([normalised(t) for t in texts], return_inverse=True)[1].reshape(-1)
    wanted = np.zeros((len(correct_QC), int(group_C.max(initial=-1)) + 1), bool)
    queries, candidates = np.nonzero(correct_QC)
    wanted[queries, group_C[candidates]] = True
    return wanted[:, group_C]


def caption_retrieval(
    scores_IC: np.ndarray, image_of_caption: Sequence[int], texts: Sequence[str] | None = None
) -> tuple[Ranking, Ranking]:
    """Image to caption (i2t: rank of the best of its captions) and caption to image (t2i) of a similarity matrix.

    With ``texts``, images and captions that an equal caption joins are correct for each other; without, only its own.
    """
    if scores_IC.ndim != 2 or scores_IC.shape[1] != len(image_of_caption):
        raise ValueError(
            f"one column a caption is needed, found {scores_IC.shape} for {len(image_of_caption)} captions"
        )
    correct_IC = np.arange(len(scores_IC))[:, None] == np.asarray(image_of_caption, np.int64)
    if texts is not None:
        correct_IC = with_duplicates(correct_IC, texts)
    return ranking(best_ranks(scores_IC, correct_IC)), ranking(best_ranks(scores_IC.T, correct_IC.T))


def region_phrase_ranking(scores_RP: np.ndarray, linked_RP: np.ndarray, texts: Sequence[str] | None = None) -> Ranking:
    """Each annotated region against all phrases: the rank of the best phrase linked to it (HM-LSTM, Table 4).

    With ``texts``, a phrase that reads like a linked one is correct, too.
    """
    correct_RP = np.asarray(linked_RP, bool)
    return ranking(best_ranks(scores_RP, correct_RP if texts is None else with_duplicates(correct_RP, texts)))


def chance(candidates: int, correct: int, queries: int) -> Ranking:
    """What a random order gives when each query has ``correct`` of ``candidates``: expected recalls, median rank."""

    def recall(k: int) -> float:
        k = min(k, candidates)
        return 1 - math.comb(candidates - correct, k) / math.comb(candidates, k)

    median = bisect_left(range(1, candidates + 1), 0.5, key=recall) + 1
    return Ranking(recall(1), recall(5), recall(10), float(median), queries)


def normalised(text: str) -> str:
    """Lower-cased words with one space between; by this, texts are the same."""
    return " ".join(text.lower().split())
