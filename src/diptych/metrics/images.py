"""Image precision (HCSCL Eq 32): how often the chosen image is the one that people chose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["ImagePrecision", "image_precision"]


@dataclass(frozen=True)
class ImagePrecision:
    """Shares in [0, 1] over the documents that have a choice; ``chance`` is the mean of 1 / candidates."""

    precision: float
    chance: float
    documents: int


def image_precision(scores: Sequence[np.ndarray], chosen: Sequence[int | None]) -> ImagePrecision:
    """Of each document the scores of its candidate images and the place of the voted one.

    A document counts when it has a voted image and at least two candidates. When several candidates share the highest
    score and the voted one is among them, it counts 1 / (number tied). nan when no document counts.
    """
    hits = chance = 0.0
    documents = 0
    for row, voted in zip(scores, chosen, strict=True):
        row = np.asarray(row, np.float64)
        if voted is None or len(row) < 2:
            continue
        if not 0 <= voted < len(row):
            raise ValueError(f"the voted image is one of {len(row)} candidates, found place {voted}")
        if np.isnan(row).any():
            raise ValueError("the scores of candidate images hold nan")
        best = row == row.max()
        hits += bool(best[voted]) / best.sum()
        chance += 1 / len(row)
        documents += 1
    if not documents:
        return ImagePrecision(math.nan, math.nan, 0)
    return ImagePrecision(float(hits / documents), chance / documents, documents)
