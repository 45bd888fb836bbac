"""Accuracy and F1 of predicted classes; equal to scikit-learn's with ``zero_division=0``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ClassScores", "class_scores", "perplexity"]


@dataclass(frozen=True)
class ClassScores:
    """Shares in [0, 1]; ``f1`` by class, in order of name; ``weighted_f1`` weighs each by its gold rows."""

    accuracy: float
    weighted_f1: float
    macro_f1: float
    f1: dict[str, float]
    support: dict[str, int]


def class_scores(predicted: Sequence[str], gold: Sequence[str]) -> ClassScores:
    """Of rows with one class each; a class counts when it is predicted or gold; nan without rows."""
    if len(predicted) != len(gold):
        raise ValueError(f"as many predicted as gold classes are needed, found {len(predicted)} and {len(gold)}")
    if not gold:
        return ClassScores(math.nan, math.nan, math.nan, {}, {})
    names = sorted(set(predicted) | set(gold))
    place = {name: n for n, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), np.int64)
    np.add.at(table, ([place[g] for g in gold], [place[p] for p in predicted]), 1)
    hits, support = table.diagonal(), table.sum(1)
    f1 = 2 * hits / (table.sum(0) + support)
    return ClassScores(
        accuracy=float(hits.sum() / len(gold)),
        weighted_f1=float(f1 @ support / len(gold)),
        macro_f1=float(f1.mean()),
        f1=dict(zip(names, f1.tolist(), strict=True)),
        support=dict(zip(names, support.tolist(), strict=True)),
    )


def perplexity(nats: float, tokens: int) -> float:
    """``exp`` of the mean cross entropy: ``nats`` summed over ``tokens``; nan without tokens, inf when it overflows."""
    if not tokens:
        return math.nan
    try:
        return math.exp(nats / tokens)
    except OverflowError:
        return math.inf
