"""Softmax, mean and maximum over the items that are there; an empty set gives zeros, never NaN."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["length_mask", "masked_max", "masked_mean", "masked_softmax"]


def length_mask(lengths_B: Tensor, size: int) -> Tensor:
    """bool (B, size): True at the first ``lengths_B`` places of each row."""
    return torch.arange(size, device=lengths_B.device) < lengths_B[:, None]


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax of ``scores`` along ``dim`` over the places where ``mask`` (broadcast) is True; all others get 0."""
    mask = mask.expand_as(scores)
    lowest = torch.finfo(scores.dtype).min
    weights = torch.softmax(scores.masked_fill(~mask, lowest), dim)
    return weights.masked_fill(~mask, 0.0)  # a row without items is uniform until here


def masked_mean(items_BNd: Tensor, mask_BN: Tensor) -> Tensor:
    """(B, d): the mean over the items that are there."""
    present = mask_BN[..., None].to(items_BNd.dtype)
    return (items_BNd * present).sum(1) / present.sum(1).clamp_min(1)


def masked_max(items_BNd: Tensor, mask_BN: Tensor) -> Tensor:
    """(B, d): the largest value of each channel over the items that are there."""
    if not items_BNd.shape[1]:
        return items_BNd.new_zeros(items_BNd.shape[0], items_BNd.shape[2])
    lowest = torch.finfo(items_BNd.dtype).min
    found = items_BNd.masked_fill(~mask_BN[..., None], lowest).amax(1)
    return found.masked_fill(~mask_BN.any(1)[:, None], 0.0)
