"""The batch that HCSCL reads, padded.

Sizes: B documents, S sentences, W words of a sentence, Q objects of a document (all its images), Z scenes, P images,
T words of the summary and its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from diptych.models.common.batches import moved

__all__ = ["BOS", "EOS", "PAD", "SPECIAL", "UNK", "HcsclBatch"]

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("[PAD]", "[BOS]", "[EOS]", "[UNK]")
"""The first words of the output vocabulary; none but the end is ever said."""


@dataclass(frozen=True)
class HcsclBatch:
    """What one step reads; a scene belongs to the image its objects are in."""

    words_BSWc: Tensor
    """float32, contextual word vectors"""
    word_counts_BS: Tensor
    """int64, on the CPU; 0 behind the last sentence"""
    objects_BQr: Tensor
    """float32, ROI features"""
    boxes_BQ4: Tensor
    """float32 in [0, 1]: xyxy over the image's width and height"""
    attributes_BQ: Tensor
    """int64, class of the attribute; 0 is none"""
    image_of_BQ: Tensor
    """int64, the object's image among the document's; -1 is padding"""
    iou_BQQ: Tensor
    """float32, IoU where the scene graph has an edge, else 0; no edges across images, none to itself"""
    scene_of_BQ: Tensor
    """int64, the object's scene among the document's; -1 is padding"""
    image_of_BZ: Tensor
    """int64, the scene's image; -1 is padding"""
    image_counts_B: Tensor
    """int64, candidates of each document, in the order of their hashes"""
    choice_B: Tensor | None = None
    """int64, the voted image; -1 where nobody voted"""
    inputs_BT: Tensor | None = None
    """[BOS] and the summary's words"""
    outputs_BT: Tensor | None = None
    """the summary's words and [EOS]; PAD behind"""
    source_BSW: Tensor | None = None
    """int64, where words are copied: the articles' words in the output vocabulary, others as V, V + 1, ..."""
    extra_words: tuple[tuple[str, ...], ...] = ()
    """of each document the words that have such numbers"""
    keys: tuple[str, ...] = ()
    images: tuple[tuple[str, ...], ...] = ()
    """keys of the candidates"""
    summaries: tuple[str, ...] = ()
    """the summaries as they are written"""

    def to(self, device: torch.device | str) -> Self:
        """The same batch there; word counts stay where packing wants them."""
        return moved(self, device, stays=("word_counts_BS",))

    def __len__(self) -> int:
        return len(self.word_counts_BS)
