"""The networks of AnANet (Section IV): encoders, association net, alignment net, late fusion.

Shape suffixes: B pairs, N words, K regions, d hidden width (1024), v shared width (200), C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.ananet.batch import AnANetBatch
from diptych.models.ananet.config import GlobalFeature
from diptych.models.common.masking import length_mask, masked_mean, masked_softmax
from diptych.models.common.recurrent import run_padded

__all__ = ["AnANet", "AnANetOutput", "AnANetSizes"]


@dataclass(frozen=True)
class AnANetSizes:
    """Widths and switches; ``region`` and ``contextual`` come from the version."""

    region: int
    vocabulary: int
    word: int
    contextual: int
    """0: static word vectors only (the rows "-BERT" of Table IV)"""
    hidden: int
    """d; each direction of the GRU has half of it"""
    shared: int
    """d_inv = d_var"""
    words: int
    regions: int
    classes: int
    association: bool
    alignment: bool
    features: tuple[GlobalFeature, ...]
    lambda_association: float
    """lambda of Eq 18"""
    eta_alignment: float
    """eta of Eq 18"""
    attention_norm: Literal["attended", "printed"]
    """Eq 11 prints a sum over i, the rows; the prose of 13-14 ("weighted average") wants it over what is attended"""
    orthogonality: Literal["rows", "printed"]
    """Eq 21 prints W^T P (d x d), which bounds the sum of ranks by d_inv; orthogonal row spaces are W P^T = 0"""
    score_scale: float
    dropout: float


@dataclass(frozen=True)
class AnANetOutput:
    """What the model says of a batch."""

    logits_BC: Tensor
    """of Eq 18, before the softmax"""
    invariance_B: Tensor
    """||f_inv^image - f_inv^text||_2 (Eq 20); zeros without the association net"""
    orthogonality: Tensor
    """Eq 21, a scalar; zero without the association net"""
    attention_BKN: Tensor | None
    """A_t2v, for pictures of what the model looked at; None without the alignment net"""
    local_BL: Tensor
    """r_l (Eq 17), words first; empty without the alignment net"""


class AnANet(nn.Module):
    """Association and Alignment Network; with neither net, the baseline that concatenates both means (Table IV, 7)."""

    def __init__(self, sizes: AnANetSizes, vectors_Vw: Tensor | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        self.region = nn.Linear(sizes.region, sizes.hidden)
        self.words = nn.Embedding(sizes.vocabulary, sizes.word, padding_idx=0)
        if vectors_Vw is not None:
            with torch.no_grad():
                self.words.weight.copy_(vectors_Vw)
        self.words.weight.requires_grad_(vectors_Vw is None)
        self.text = nn.GRU(sizes.word + sizes.contextual, sizes.hidden // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(sizes.dropout)
        if sizes.association:
            self.shared = nn.Linear(sizes.hidden, sizes.shared, bias=False)
            self.private_image = nn.Linear(sizes.hidden, sizes.shared, bias=False)
            self.private_text = nn.Linear(sizes.hidden, sizes.shared, bias=False)
            width = sum(sizes.hidden if name in ("image", "text") else sizes.shared for name in sizes.features)
            self.classify_global = nn.Linear(width, sizes.classes)
        if sizes.alignment:
            self.classify_local = nn.Linear(sizes.words + sizes.regions, sizes.classes)
        if not (sizes.association or sizes.alignment):
            self.classify_means = nn.Linear(2 * sizes.hidden, sizes.classes)

    def forward(self, batch: AnANetBatch) -> AnANetOutput:
        """Eq 1-18; everything that stands at a padded place is zero."""
        sizes = self.sizes
        V_BKd, image_BK = self.encode_regions(batch)
        T_BNd, text_BN = self.encode_words(batch)
        f_image, f_text = masked_mean(V_BKd, image_BK), masked_mean(T_BNd, text_BN)
        nothing = V_BKd.new_zeros(())
        invariance, orthogonality, attention = nothing.expand(len(batch)), nothing, None
        r_l = V_BKd.new_zeros(len(batch), 0)
        logits = V_BKd.new_zeros(len(batch), sizes.classes)
        if sizes.association:
            parts = self.decompose(f_image, f_text)
            invariance = torch.linalg.vector_norm(parts["inv_image"] - parts["inv_text"], dim=1)
            orthogonality = self.orthogonality()
            r_g = torch.cat([parts[name] for name in sizes.features], 1)
            logits = logits + sizes.lambda_association * self.classify_global(r_g)
        if sizes.alignment:
            r_l, attention = self.align(V_BKd, image_BK, T_BNd, text_BN)
            logits = logits + sizes.eta_alignment * self.classify_local(r_l)
        if not (sizes.association or sizes.alignment):
            logits = self.classify_means(torch.cat([f_image, f_text], 1))
        return AnANetOutput(logits, invariance, orthogonality, attention, r_l)

    def encode_regions(self, batch: AnANetBatch) -> tuple[Tensor, Tensor]:
        """V (B, K, d) of Eq 1, and which are regions (B, K)."""
        mask_BK = length_mask(batch.region_counts_B, batch.regions_BKr.shape[1])
        V_BKd = self.dropout(F.relu(self.region(batch.regions_BKr)))
        return V_BKd * mask_BK[..., None], mask_BK

    def encode_words(self, batch: AnANetBatch) -> tuple[Tensor, Tensor]:
        """T (B, N, d) of Eq 2-4, and which are words (B, N)."""
        inputs = self.words(batch.words_BN)
        if self.sizes.contextual:
            assert batch.contextual_BNc is not None
            inputs = torch.cat([inputs, batch.contextual_BNc], 2)
        T_BNd, _ = run_padded(self.text, inputs, batch.word_counts_B)
        mask_BN = length_mask(batch.word_counts_B.to(T_BNd.device), T_BNd.shape[1])
        return self.dropout(T_BNd), mask_BN

    def decompose(self, f_image: Tensor, f_text: Tensor) -> dict[GlobalFeature, Tensor]:
        """f_inv and f_var of both modalities (Eq 5-6), beside the features themselves."""
        return {
            "inv_image": self.shared(f_image),
            "inv_text": self.shared(f_text),
            "var_image": self.private_image(f_image),
            "var_text": self.private_text(f_text),
            "image": f_image,
            "text": f_text,
        }

    def orthogonality(self) -> Tensor:
        """Eq 21; the norm is not squared, and linalg's has the subgradient 0 at 0."""
        W_vd = self.shared.weight
        terms = []
        for P_vd in (self.private_image.weight, self.private_text.weight):
            product = W_vd @ P_vd.T if self.sizes.orthogonality == "rows" else W_vd.T @ P_vd
            terms.append(torch.linalg.matrix_norm(product))
        return torch.stack(terms).sum()

    def align(self, V_BKd: Tensor, image_BK: Tensor, T_BNd: Tensor, text_BN: Tensor) -> tuple[Tensor, Tensor]:
        """r_l (B, N + K), words first (Eq 17), and A_t2v (B, K, N); scores in float32 whatever the precision."""
        with torch.autocast(V_BKd.device.type, enabled=False):
            V_BKd, T_BNd = V_BKd.float(), T_BNd.float()
            scores_BKN = self.sizes.score_scale * (V_BKd @ T_BNd.transpose(1, 2))  # Eq 12
            both_BKN = image_BK[:, :, None] & text_BN[:, None, :]
            attended, rows = (2, 1) if self.sizes.attention_norm == "attended" else (1, 2)
            t2v_BKN = masked_softmax(scores_BKN, both_BKN, attended)  # Eq 9, 11
            v2t_BNK = masked_softmax(scores_BKN, both_BKN, rows).transpose(1, 2)  # Eq 10
            v_BK = F.cosine_similarity(V_BKd, t2v_BKN @ T_BNd, dim=2, eps=1e-8)  # Eq 13, 15
            t_BN = F.cosine_similarity(T_BNd, v2t_BNK @ V_BKd, dim=2, eps=1e-8)  # Eq 14, 16
        return torch.cat([t_BN * text_BN, v_BK * image_BK], 1), t2v_BKN
