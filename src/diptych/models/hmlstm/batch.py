"""The batch that HM-LSTM reads: images with their regions, captions with their trees.

Sizes: B images, K regions of the image with the most, T captions (one an image in training), P phrases of all captions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from diptych.models.common.trees import TreePlan

__all__ = ["HMLSTMBatch", "Judged", "WordSequences"]


@dataclass(frozen=True)
class WordSequences:
    """Captions, then phrases, each as its words: what a chain reads."""

    words_SN: Tensor
    """int64, ids of word vectors; 0 is padding and every unknown word"""
    lengths_S: Tensor
    """int64, on the CPU"""

    def to(self, device: torch.device | str) -> Self:
        """The same there; lengths stay where packing wants them."""
        return replace(self, words_SN=self.words_SN.to(device, non_blocking=True))


@dataclass(frozen=True)
class Judged:
    """What people said about one image's regions, for judging only; nothing of it is trained on. Boxes are xyxy."""

    boxes: tuple[tuple[float, ...], ...]
    """of the candidate regions, in their order"""
    drawn: tuple[tuple[float, ...], ...]
    """that people drew"""
    phrases: tuple[tuple[str, ...], ...]
    """of each of those the phrases that name it, normalised"""
    asked: tuple[int, ...]
    """which of those have a feature, in the order of the batch's queries"""
    rows: tuple[int, ...]
    """the stored feature of each of these"""


@dataclass(frozen=True)
class HMLSTMBatch:
    """What one step reads."""

    image_Bf: Tensor
    """float32, the whole image's feature"""
    regions_BKf: Tensor
    """float32, features of the proposals, best first, zeros behind them"""
    region_mask_BK: Tensor
    """bool"""
    queries_Qf: Tensor
    """float32, features of annotated boxes, those of row 0 first; none in training"""
    same_image_B: Tensor
    """int64, equal for two rows with the same picture"""
    trees: TreePlan | None
    """of the captions; None for a chain"""
    sequences: WordSequences | None
    phrase_place_P: Tensor
    """int64, the phrase's node in the plan's order (of a chain not read)"""
    caption_P: Tensor
    """int64, the caption that the phrase stands in"""
    image_T: Tensor
    """int64, the row of the batch whose caption it is"""
    text_T: Tensor
    """int64, equal for captions that read alike"""
    text_P: Tensor
    """int64, equal for phrases that read alike"""
    phrase_id_P: Tensor
    """int64, on the CPU: what the matching pass remembers a phrase by"""
    keys: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    judged: tuple[Judged, ...] = ()

    def to(self, device: torch.device | str) -> Self:
        """The same batch there."""
        moved = {
            f.name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor | TreePlan | WordSequences) and f.name != "phrase_id_P"
        }
        return replace(self, **moved)

    def __len__(self) -> int:
        return len(self.image_Bf)
