"""The batch that AnANet reads: B pairs, N words (fixed), K regions (fixed)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from diptych.models.common.batches import moved

__all__ = ["AnANetBatch"]


@dataclass(frozen=True)
class AnANetBatch:
    """What one step reads; words and regions stand at fixed places because Eq 17 knows them by position."""

    regions_BKr: Tensor
    """float32, features of the best regions by score, zeros behind them"""
    region_counts_B: Tensor
    """int64"""
    words_BN: Tensor
    """int64, ids of static word vectors; 0 is padding and every unknown word"""
    word_counts_B: Tensor
    """int64, on the CPU"""
    contextual_BNc: Tensor | None = None
    """float32, contextual word vectors; None without BERT"""
    labels_B: Tensor | None = None
    """int64: 0 irrelevant, 1 implicit, 2 explicit (Eq 19)"""
    keys: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Self:
        """The same batch there; word counts stay where packing wants them."""
        return moved(self, device, stays=("word_counts_B",))

    def __len__(self) -> int:
        return len(self.word_counts_B)
