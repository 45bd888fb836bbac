"""The batch that the information-gap model reads.

Sizes: B pairs, S sentences in the batch (only real ones, those of pair 0 first), T tokens of the longest sentence,
P supervised positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from diptych.models.common.batches import moved

__all__ = ["EOS", "EOT", "PAD", "UNK", "GapBatch", "text_batch"]

PAD, UNK, EOS, EOT = 0, 1, 2, 3
"""Ids before the words: padding, a word outside the vocabulary, the end of a sentence, the end of the text."""


@dataclass(frozen=True)
class GapBatch:
    """What one step reads; labels are -1 where nobody said."""

    image_BI: Tensor
    """float32, pooled image features"""
    tokens_ST: Tensor
    """int64, ids, padded with PAD"""
    sentence_lengths_S: Tensor
    """int64, on the CPU, all > 0"""
    sentence_counts_B: Tensor
    """int64, on the CPU; 0 for a pair without text"""
    targets_P: Tensor
    """int64, what the decoder should say: the tokens, <eos> after a sentence, <eot> after the text"""
    places_P3: Tensor
    """int64, where each target stands: pair, sentence, token"""
    pixels_B3HW: Tensor | None = None
    """float32 in [-1, 1]: the image decoder's target"""
    cmi_B: Tensor | None = None
    """int64, index of the level"""
    sc_B: Tensor | None = None
    """int64, index of the level"""
    keys: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Self:
        """The same batch there; lengths stay where packing wants them."""
        return moved(self, device, stays=("sentence_lengths_S", "sentence_counts_B"))

    def __len__(self) -> int:
        return len(self.sentence_counts_B)


def text_batch(texts: Sequence[Sequence[Sequence[int]]], sentences: int, tokens: int) -> dict[str, Tensor]:
    """The text fields of a batch from word ids by text and sentence; cut at ``sentences`` x ``tokens``.

    The decoder has that many places and no more, so a sentence (a text) that was cut, or that fills its last place,
    gets no end. Sentences without a token are left out.
    """
    rows: list[Sequence[int]] = []
    counts: list[int] = []
    targets: list[int] = []
    places: list[tuple[int, int, int]] = []
    for b, text in enumerate(texts):
        kept = [sentence[:tokens] for sentence in text if len(sentence)][:sentences]
        rows += kept
        counts.append(len(kept))
        for s, sentence in enumerate(kept):
            said = [*sentence, EOS][:tokens]
            targets += said
            places += [(b, s, t) for t in range(len(said))]
        if len(kept) < sentences:
            targets.append(EOT)
            places.append((b, len(kept), 0))
    lengths = [len(row) for row in rows]
    padded = np.full((len(rows), max(lengths, default=0)), PAD, np.int64)
    for row, sentence in zip(padded, rows, strict=True):
        row[: len(sentence)] = sentence
    return {
        "tokens_ST": torch.from_numpy(padded),
        "sentence_lengths_S": torch.tensor(lengths, dtype=torch.int64),
        "sentence_counts_B": torch.tensor(counts, dtype=torch.int64),
        "targets_P": torch.tensor(targets, dtype=torch.int64),
        "places_P3": torch.tensor(places, dtype=torch.int64).reshape(-1, 3),
    }
