"""How far annotators agree: Fleiss' kappa, Krippendorff's alpha, entropy and majority of each item.

Every function takes ``counts_NC``: how many annotators gave item N the value C (integers, 0 and up). Who gave
which value does not enter any of them. Coefficients that are undefined (fewer than two votes on every item, or
one single value in all the data) are ``nan``, never 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

__all__ = ["Level", "Ties", "fleiss_kappa", "item_entropy", "krippendorff_alpha", "majority", "vote_counts"]

Level = Literal["nominal", "ordinal", "interval"]
"""What differences between values mean: none, their order, their distance."""
Ties = Literal["none", "first"]
"""What an item gets whose most frequent value is not alone: no value, or the first of them in column order."""


def vote_counts(votes: Sequence[Mapping[str, str]], values: Sequence[str]) -> np.ndarray:
    """``counts_NC`` of items given as annotator -> value; :class:`ValueError` for a value that is not listed."""
    column = {value: n for n, value in enumerate(values)}
    counts_NC = np.zeros((len(votes), len(values)), np.int64)
    for row, item in enumerate(votes):
        for annotator, value in item.items():
            if value not in column:
                raise ValueError(f"item {row}, annotator {annotator}: {value!r} is none of {', '.join(values)}")
            counts_NC[row, column[value]] += 1
    return counts_NC


def fleiss_kappa(counts_NC: np.ndarray) -> float:
    """Agreement above chance of as many annotators on every item (Fleiss 1971, Psychological Bulletin 76).

    :class:`ValueError` when the number of votes differs between items: use :func:`krippendorff_alpha` there.
    """
    counts_NC = _checked(counts_NC)
    votes_N = counts_NC.sum(1)
    if len(votes_N) == 0 or votes_N[0] < 2 and (votes_N == votes_N[0]).all():
        return float("nan")
    if (votes_N != votes_N[0]).any():
        raise ValueError(f"Fleiss' kappa needs as many votes on every item, found {votes_N.min()} to {votes_N.max()}")
    each = int(votes_N[0])
    observed = float(((counts_NC**2).sum(1) - each).sum() / (len(votes_N) * each * (each - 1)))
    share_C = counts_NC.sum(0) / counts_NC.sum()
    expected = float((share_C**2).sum())
    return float("nan") if (share_C == 1).any() else (observed - expected) / (1 - expected)


def krippendorff_alpha(counts_NC: np.ndarray, level: Level = "nominal", values: Sequence[float] | None = None) -> float:
    """One minus observed over expected disagreement; items may have any number of votes, those with one are left out.

    Columns stand in ascending order for ``ordinal``; ``interval`` takes their ``values`` (Krippendorff 2011,
    Computing Krippendorff's Alpha-Reliability).
    """
    counts_NC = _checked(counts_NC)
    counts_NC = counts_NC[counts_NC.sum(1) >= 2].astype(np.float64)
    total_C = counts_NC.sum(0)
    if (total_C > 0).sum() < 2:
        return float("nan")
    weight_N1 = 1 / (counts_NC.sum(1, keepdims=True) - 1)
    together_CC = (counts_NC * weight_N1).T @ counts_NC - np.diag((counts_NC * weight_N1).sum(0))
    distance_CC = _distances(total_C, level, values)
    observed = float((together_CC * distance_CC).sum())
    expected = float((np.outer(total_C, total_C) * distance_CC).sum())
    return 1 - (total_C.sum() - 1) * observed / expected


def item_entropy(counts_NC: np.ndarray) -> np.ndarray:
    """Entropy (N,) of each item's votes in bits: 0 when all agree; ``nan`` without votes."""
    counts_NC = _checked(counts_NC)
    votes_N1 = counts_NC.sum(1, keepdims=True)
    share_NC = np.divide(counts_NC, votes_N1, out=np.full(counts_NC.shape, np.nan), where=votes_N1 > 0)
    log_NC = np.log2(share_NC, out=np.zeros_like(share_NC), where=share_NC > 0)
    return np.abs(-(share_NC * log_NC).sum(1)) if counts_NC.shape[1] else np.full(len(counts_NC), np.nan)


def majority(counts_NC: np.ndarray, ties: Ties = "none") -> np.ndarray:
    """Column (N,) of each item's most frequent value; -1 without votes and, with ``ties="none"``, on a tie.

    A plurality is enough: 2-1-1 gives the first, 2-2-1 and 1-1-1 are ties.
    """
    counts_NC = _checked(counts_NC)
    if not counts_NC.shape[1]:
        return np.full(len(counts_NC), -1)
    most_N1 = counts_NC.max(1, keepdims=True)
    tied_N = (counts_NC == most_N1).sum(1) > 1
    nothing_N = (most_N1[:, 0] == 0) | (tied_N & (ties == "none"))
    return np.where(nothing_N, -1, counts_NC.argmax(1))


def _checked(counts_NC: np.ndarray) -> np.ndarray:
    counts_NC = np.asarray(counts_NC)
    if counts_NC.ndim != 2 or not np.issubdtype(counts_NC.dtype, np.integer) or (counts_NC < 0).any():
        raise ValueError(f"expected whole numbers (items, values) from 0, found {counts_NC.dtype} {counts_NC.shape}")
    return counts_NC.astype(np.int64)


def _distances(total_C: np.ndarray, level: Level, values: Sequence[float] | None) -> np.ndarray:
    """Squared differences (C, C) between values; for ``ordinal`` they depend on how often each occurs."""
    if level == "nominal":
        return 1 - np.eye(len(total_C))
    if level == "ordinal":
        place_C = np.cumsum(total_C) - total_C / 2
    else:
        if values is None or len(values) != len(total_C):
            raise ValueError(f"level interval needs a number for each of the {len(total_C)} columns, found {values}")
        place_C = np.asarray(values, np.float64)
    return (place_C[:, None] - place_C[None, :]) ** 2
