"""Means of loss terms over several batches: each term is weighted by its own items, however the rows fall into batches.

The sums of a pass are one flat mapping, as a checkpoint holds it: ``loss.NAME`` over all items so far, and how many
these are, ``items.NAME``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["add_terms", "mean_of"]


def add_terms(
    sums: dict[str, Any], terms: Mapping[str, torch.Tensor], items: Mapping[str, int], rows: int, wide: torch.dtype
) -> None:
    """Add a step's terms; one of which ``items`` says nothing is a mean over the ``rows``, one without items is none.

    Sums stay where the terms are, as ``wide`` numbers, so that a GPU need not be waited for.
    """
    for name, value in terms.items():
        count = items.get(name, rows)
        sums[f"items.{name}"] = sums.get(f"items.{name}", 0) + count
        if count:
            sums[f"loss.{name}"] = sums.get(f"loss.{name}", 0.0) + value.detach().to(wide) * count


def mean_of(sums: Mapping[str, Any]) -> dict[str, float]:
    """``loss``, the sum of the terms that had items, and ``loss.NAME``; nan without an item."""
    means: dict[str, float] = {}
    for name, count in sums.items():
        kind, _, term = name.partition(".")
        if kind == "items":
            means[f"loss.{term}"] = float(sums[f"loss.{term}"]) / count if count else math.nan
    counted = [value for name, value in means.items() if sums["items." + name.partition(".")[2]]]
    return {"loss": sum(counted) if counted else math.nan, **means}
