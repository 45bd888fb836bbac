"""HM-LSTM (Section 3): sentences and phrases, images and regions in one space.

Shape suffixes: B images, K regions, T captions, P phrases, N tree nodes, E word width, H hidden width, f image feature,
d joint space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.common.recurrent import run_padded
from diptych.models.hmlstm.batch import HMLSTMBatch
from diptych.models.hmlstm.cell import HierarchicalLSTM

__all__ = ["Branch", "Embedded", "Encoder", "HMLSTM", "HMLSTMSizes"]

Encoder = Literal["hierarchical", "tree", "chain"]
"""H-LSTM; a tree without a distinction of noun phrases; an LSTM over words that reads each phrase alone."""


@dataclass(frozen=True)
class HMLSTMSizes:
    """Widths; those of words and image features come from the version."""

    word: int
    region: int
    """of a proposal's feature"""
    image: int
    """of the whole image's; where it has another source than the regions', it has a linear layer of its own"""
    hidden: int
    joint: int
    encoder: Encoder
    dropout: float = 0.0
    """of what the linear layers into the joint space read"""
    own_image_layer: bool = False


@dataclass(frozen=True)
class Embedded:
    """Unit vectors of the joint space; the score of two is their product."""

    captions_Td: Tensor
    phrases_Pd: Tensor
    images_Bd: Tensor
    regions_BKd: Tensor
    """zeros where there is no region"""
    queries_Qd: Tensor


class Branch(nn.Module):
    """Batch norm and L2 norm behind the linear layers of one branch (Section 3.2.2): wholes and parts together."""

    def __init__(self, joint: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(joint)

    def forward(self, wholes: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        """The same shapes: batch statistics are those of both."""
        joined = torch.cat([wholes, parts])
        if not len(joined):
            return wholes, parts
        found = F.normalize(self.norm(joined).float(), dim=1)
        return found[: len(wholes)], found[len(wholes) :]


class HMLSTM(nn.Module):
    """Words to caption and phrase vectors by a tree (or a chain), features to image and region vectors by Eq 1."""

    def __init__(self, sizes: HMLSTMSizes, vectors_VE: Tensor) -> None:
        super().__init__()
        self.sizes = sizes
        self.register_buffer("vectors", vectors_VE, persistent=False)  # fixed, and in the run's state already
        self.vectors: Tensor
        if sizes.encoder == "chain":
            self.chain = nn.LSTM(sizes.word, sizes.hidden, batch_first=True)
        else:
            self.tree = HierarchicalLSTM(sizes.word, sizes.hidden, distinct=sizes.encoder == "hierarchical")
        self.W_t = nn.Linear(sizes.hidden, sizes.joint)
        self.W_m = nn.Linear(sizes.region, sizes.joint)
        self.W_image = nn.Linear(sizes.image, sizes.joint) if sizes.own_image_layer else None
        self.dropout = nn.Dropout(sizes.dropout)
        self.text, self.image = Branch(sizes.joint), Branch(sizes.joint)

    def forward(self, batch: HMLSTMBatch) -> Embedded:
        """All captions, phrases, images and regions of a batch."""
        captions_TH, phrases_PH = map(self.dropout, self._encode(batch))
        captions_Td, phrases_Pd = self.text(self.W_t(captions_TH), self.W_t(phrases_PH))
        whole = self.W_m if self.W_image is None else self.W_image
        mask = batch.region_mask_BK
        parts_Rf = self.dropout(torch.cat([batch.regions_BKf[mask], batch.queries_Qf]))
        images_Bd, found_Rd = self.image(whole(self.dropout(batch.image_Bf)), self.W_m(parts_Rf))
        found_Rd, queries_Qd = found_Rd.split([len(found_Rd) - len(batch.queries_Qf), len(batch.queries_Qf)])
        regions_BKd = found_Rd.new_zeros(*mask.shape, self.sizes.joint)
        regions_BKd = regions_BKd.masked_scatter(mask[..., None], found_Rd)
        return Embedded(captions_Td, phrases_Pd, images_Bd, regions_BKd, queries_Qd)

    def _encode(self, batch: HMLSTMBatch) -> tuple[Tensor, Tensor]:
        """h of captions (T, H) and of phrases (P, H)."""
        if batch.sequences is not None:
            words_SNE = self.vectors[batch.sequences.words_SN]
            _, last_SH = run_padded(self.chain, words_SNE, batch.sequences.lengths_S)
            return last_SH[: len(batch.image_T)], last_SH[len(batch.image_T) :]
        assert batch.trees is not None
        h_NH = self.tree(batch.trees, self.vectors[batch.trees.word_L])
        return h_NH[batch.trees.root_T], h_NH[batch.phrase_place_P]
