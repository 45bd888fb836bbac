"""Enhanced LSTM for natural language inference (Chen et al., ACL 2017, section 3) with two classes.

B pairs, L places of the longer text, E the embedding, h both directions of the LSTM. The input is
characters with vectors of their own, or the token vectors of a frozen BERT-like encoder (HCSCL: BERT + ESIM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from diptych.models.common.batches import moved
from diptych.models.common.masking import length_mask, masked_max, masked_mean, masked_softmax
from diptych.models.common.recurrent import run_padded

__all__ = ["Esim", "EsimConfig", "PairBatch"]


@dataclass(frozen=True)
class EsimConfig:
    """Sizes are the paper's where it prints them."""

    embedding: str = "characters"
    """``characters``, or a text encoder: minilm, bert_base_uncased, bert_base_chinese, random:<seed>."""
    size: int = 300
    """Length of a character's vector (ours; the paper's words have GloVe-300); an encoder brings its own."""
    hidden: int = 300
    """Units of each LSTM direction, of the projection and of the classifier."""
    dropout: float = 0.5
    longest: int = 128
    """Places of a text that are read (ours)."""


@dataclass(frozen=True)
class PairBatch:
    """Pairs of texts: ids (B, L) of characters or vectors (B, L, E); lengths (B,) are on the CPU."""

    first: Tensor
    first_lengths: Tensor
    second: Tensor
    second_lengths: Tensor
    labels: Tensor
    """(B,): 1 where both say the same."""
    keys: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Self:
        """The same batch there; lengths stay where packing wants them."""
        return moved(self, device, stays=("first_lengths", "second_lengths"))

    def __len__(self) -> int:
        return len(self.labels)


class Esim(nn.Module):
    """Pairs to logits (B, 2); ``characters`` is the number of ids, or 0 where ``inputs`` wide vectors come in."""

    def __init__(self, config: EsimConfig, *, characters: int = 0, inputs: int = 0) -> None:
        super().__init__()
        hidden, wide = config.hidden, 2 * config.hidden
        self.embedding = nn.Embedding(characters, config.size, padding_idx=0) if characters else None
        self.encode = nn.LSTM(config.size if characters else inputs, hidden, batch_first=True, bidirectional=True)
        self.project = nn.Sequential(nn.Linear(4 * wide, hidden), nn.ReLU())
        self.compose = nn.LSTM(hidden, hidden, batch_first=True, bidirectional=True)
        self.classify = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(4 * wide, hidden),
            nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden, 2),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: PairBatch) -> Tensor:
        """Logits (B, 2). Both texts go through each LSTM side by side: a pair is two of 2B rows of one length."""
        size = max(batch.first.shape[1], batch.second.shape[1])
        texts = torch.cat([_padded(batch.first, size), _padded(batch.second, size)])
        lengths = torch.cat([batch.first_lengths, batch.second_lengths])
        vectors = self.embedding(texts) if self.embedding is not None else texts
        encoded = run_padded(self.encode, self.dropout(vectors), lengths)[0]  # Eq 1-2
        mask = length_mask(lengths.to(texts.device), size)
        (a_BLh, b_BLh), (a_mask, b_mask) = encoded.chunk(2), mask.chunk(2)
        score_BLL = a_BLh @ b_BLh.transpose(1, 2)  # Eq 11
        towards_b = masked_softmax(score_BLL, b_mask[:, None, :], 2) @ b_BLh  # Eq 12
        towards_a = masked_softmax(score_BLL, a_mask[:, :, None], 1).transpose(1, 2) @ a_BLh  # Eq 13
        other = torch.cat([towards_b, towards_a])
        joined = torch.cat([encoded, other, encoded - other, encoded * other], 2)  # Eq 14-15
        composed = run_padded(self.compose, self.dropout(self.project(joined)), lengths)[0]  # Eq 16-17
        pooled = torch.cat([masked_mean(composed, mask), masked_max(composed, mask)], 1)
        return self.classify(torch.cat(pooled.chunk(2), 1))  # Eq 18-20


def _padded(texts: Tensor, size: int) -> Tensor:
    """Zeros behind each row of ids (B, L) or vectors (B, L, E)."""
    behind = texts.new_zeros(texts.shape[0], size - texts.shape[1], *texts.shape[2:])
    return torch.cat([texts, behind], 1)
