"""The networks of MM-MKP (Section 3.1): encoders, noise filter, classifier, pointer decoder.

Shape suffixes: B rows, N source tokens, R regions, d hidden width d1 = d2 (300), e word width, C classes,
V vocabulary, X vocabulary and copy ids, L words of the longest class, J steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.common.attention import AttentionBlock
from diptych.models.common.masking import length_mask, masked_max, masked_mean
from diptych.models.common.recurrent import run_padded
from diptych.models.mkp.batch import PAD, MkpBatch
from diptych.models.mkp.decoder import Decoder, Memory, class_copies

__all__ = ["Filtered", "Mkp", "MkpSizes"]


@dataclass(frozen=True)
class MkpSizes:
    """Widths and switches; ``vocabulary``, ``classes`` and ``channels`` come from the version."""

    vocabulary: int
    classes: int
    channels: int
    """of a region"""
    word: int
    hidden: int
    layers: int
    heads: int
    head_width: int
    dropout: float
    lambda_copy: float
    """lambda_c of Eq 12"""
    top_classes: int
    """how many predictions are copied from"""
    context_in_gru: Literal["previous", "none"]
    image: bool = True
    image_text_matching: bool = True
    """s_c; without it neither the score nor its loss"""
    region_matching: bool = True
    """A; without it s_c gates all regions alike"""
    noise_filter: bool = True
    """False: regions as they are"""
    classifier: bool = True
    irtm_target_sc: Literal["input", "none"] = "input"
    irtm_detach: bool = True
    pool: Literal["max", "mean"] = "max"
    """of the text's vector; the mean is a baseline's"""


class Encoded(NamedTuple):
    """Section 3.1.1."""

    H_T: Tensor
    """(B, N, d)"""
    mask_BN: Tensor
    M_T: Tensor
    """(B, d), the maximum over tokens"""
    last_Bd: Tensor
    """final states of both directions: the decoder's first state"""
    H_I: Tensor
    """(B, R, d)"""
    image_BR: Tensor
    """bool: the regions are there"""


class Filtered(NamedTuple):
    """Section 3.1.2."""

    H_I: Tensor
    """(B, R, d), gated (Eq 5)"""
    matching_B2: Tensor | None
    """logits of "the image adds" (column 1)"""
    A_BR: Tensor | None
    """Eq 4, after the feed-forward"""


class Mkp(nn.Module):
    """Multi-modal keyphrase generation with noise filter; ``class_words_CL`` holds the words of each class, padded."""

    class_words_CL: Tensor

    def __init__(self, sizes: MkpSizes, class_words_CL: Tensor, vectors_Ve: Tensor | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        d = sizes.hidden
        self.words = nn.Embedding(sizes.vocabulary, sizes.word, padding_idx=PAD)
        if vectors_Ve is not None:
            with torch.no_grad():
                self.words.weight.copy_(vectors_Ve)
        self.types = nn.Embedding(3, sizes.word)
        self.text = nn.GRU(
            sizes.word, d // 2, sizes.layers, batch_first=True, bidirectional=True,
            dropout=sizes.dropout if sizes.layers > 1 else 0.0,
        )  # fmt: skip
        self.dropout = nn.Dropout(sizes.dropout)
        if sizes.image:
            self.image = nn.Linear(sizes.channels, d)
            if sizes.image_text_matching and sizes.noise_filter:
                self.match = AttentionBlock(d, sizes.heads, sizes.head_width, d, sizes.dropout)
                self.score = nn.Linear(d, 2)
            if sizes.region_matching and sizes.noise_filter:
                self.project_text, self.project_image = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
                self.correlate = nn.Sequential(nn.Linear(1, 16), nn.GELU(), nn.Linear(16, 1))  # 1 -> 1 ReLU can die
            self.fuse = AttentionBlock(d, sizes.heads, sizes.head_width, d, sizes.dropout)
        if sizes.classifier:
            layers = [nn.Linear(d, d), nn.ReLU(), nn.Dropout(sizes.dropout), nn.Linear(d, sizes.classes)]
            self.classify = nn.Sequential(*layers)
        self.decoder = Decoder(sizes.word, d, sizes.vocabulary, sizes.context_in_gru, sizes.dropout)
        self.register_buffer("class_words_CL", class_words_CL, persistent=False)

    def encode(self, batch: MkpBatch) -> Encoded:
        """Eq 1-2."""
        H_T, mask_BN, M_T, last = self._encode_text(batch.source_BN, batch.lengths_B, batch.types_BN)
        present = batch.has_image_B[:, None].expand(-1, batch.grid_BRc.shape[1])
        if not self.sizes.image:
            return Encoded(H_T, mask_BN, M_T, last, M_T.new_zeros(len(batch), 0, M_T.shape[1]), present[:, :0])
        H_I = self.dropout(self.image(batch.grid_BRc)) * present[..., None]
        return Encoded(H_T, mask_BN, M_T, last, H_I, present)

    def _encode_text(self, ids_BN: Tensor, lengths_B: Tensor, types_BN: Tensor | None) -> tuple[Tensor, ...]:
        inputs = self.words(ids_BN)
        if types_BN is not None:
            inputs = inputs + self.types(types_BN)
        H_BNd, last_Bd = run_padded(self.text, self.dropout(inputs), lengths_B)
        mask_BN = length_mask(lengths_B.to(ids_BN.device), ids_BN.shape[1])
        pool = masked_max if self.sizes.pool == "max" else masked_mean
        return self.dropout(H_BNd), mask_BN, pool(H_BNd, mask_BN), last_Bd

    def filter(self, encoded: Encoded) -> Filtered:
        """Eq 3-5: how well picture and text match gates the regions."""
        sizes, H_I = self.sizes, encoded.H_I
        if not (sizes.image and sizes.noise_filter):
            return Filtered(H_I, None, None)
        matching, s_c = None, None
        if sizes.image_text_matching:
            H_c = self.match(encoded.M_T[:, None], H_I, encoded.image_BR)[:, 0]
            matching = self.score(H_c)
            s_c = matching.softmax(1)[:, 1:]
        if sizes.region_matching:
            A_BR = self.correlation(encoded.M_T, H_I, s_c)
            return Filtered(torch.sigmoid(A_BR)[..., None] * H_I, matching, A_BR)
        return Filtered(H_I if s_c is None else s_c[..., None] * H_I, matching, None)

    def correlation(self, M_T: Tensor, H_I: Tensor, s_c: Tensor | None) -> Tensor:
        """A of Eq 4: one score a region; region index 7 x row + column."""
        dots_BR = (self.project_image(H_I) @ self.project_text(M_T)[..., None])[..., 0] / math.sqrt(M_T.shape[1])
        if s_c is not None:
            dots_BR = dots_BR + s_c
        return self.correlate(dots_BR[..., None])[..., 0]

    def correlation_target(self, batch: MkpBatch, encoded: Encoded, matching_B2: Tensor | None) -> Tensor:
        """A_gt: the same scores with the true keyphrase in place of the text; a signal, not a path for gradients."""
        assert batch.inputs_BJ is not None and batch.keyphrase_lengths_B is not None
        _, _, M_y, _ = self._encode_text(batch.inputs_BJ[:, 1:], batch.keyphrase_lengths_B, None)
        s_c = None
        if self.sizes.irtm_target_sc == "input" and matching_B2 is not None:
            s_c = matching_B2.softmax(1)[:, 1:]
        A_gt = self.correlation(M_y, encoded.H_I, s_c)
        return A_gt.detach() if self.sizes.irtm_detach else A_gt

    def fused(self, encoded: Encoded, filtered: Filtered) -> Tensor:
        """H_f (B, d) of Eq 6; without pictures the text's vector."""
        if not self.sizes.image:
            return encoded.M_T
        return self.fuse(encoded.M_T[:, None], filtered.H_I, encoded.image_BR)[:, 0]

    def class_logits(self, H_f: Tensor) -> Tensor:
        """(B, C), before the softmax of Eq 7; class 0, <unk>, cannot be predicted."""
        logits = self.classify(H_f)
        return F.pad(logits[:, 1:], (1, 0), value=torch.finfo(logits.dtype).min)

    def memory(self, batch: MkpBatch, encoded: Encoded, H_f: Tensor, classes_BC: Tensor | None) -> Memory:
        """What the decoder reads of its input at every step."""
        copies = None
        if classes_BC is not None:
            copies = class_copies(classes_BC, self.class_words_CL, self.sizes.top_classes)
        return Memory(
            encoded.H_T, self.decoder.attend_source(encoded.H_T), encoded.mask_BN, batch.copies_BN, H_f, copies,
            self.sizes.lambda_copy, batch.extra,
        )  # fmt: skip

    def log_likelihood(self, batch: MkpBatch, encoded: Encoded, H_f: Tensor, classes_BC: Tensor | None) -> Tensor:
        """(B, J): log p(y_j) of the targets (Eq 13); 0 behind the end."""
        assert batch.inputs_BJ is not None and batch.outputs_BJ is not None
        memory = self.memory(batch, encoded, H_f, classes_BC)
        state, context = self.decoder.start(encoded.last_Bd)
        steps = []
        for j in range(batch.inputs_BJ.shape[1]):
            found_BX, state, context = self.decoder.step(self.words(batch.inputs_BJ[:, j]), state, context, memory)
            steps.append(found_BX.gather(1, batch.outputs_BJ[:, j, None])[:, 0])
        said = torch.stack(steps, 1).clamp_min(1e-12).log()
        return said.masked_fill(batch.outputs_BJ == PAD, 0.0)
