"""The networks of HCSCL: modality encoders, two levels of fusion, the summarizer of :mod:`.summarizer`.

Shape suffixes: B documents, S sentences, W words, Q objects, Z scenes, d model width (512).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from diptych.models.common.cross_modality import CrossModalityLayer, Score
from diptych.models.common.masking import length_mask
from diptych.models.common.recurrent import run_padded
from diptych.models.hcscl.batch import HcsclBatch
from diptych.models.hcscl.config import Variant
from diptych.models.hcscl.scenes import ImageGraph, ReadoutMax
from diptych.models.hcscl.summarizer import Memory, Selector, Summarizer

__all__ = ["Encoded", "Hcscl", "HcsclSizes"]


@dataclass(frozen=True)
class HcsclSizes:
    """Widths and switches; ``contextual``, ``region``, ``attributes`` and ``vocabulary`` come from the version."""

    contextual: int
    region: int
    attributes: int
    """classes, none included"""
    vocabulary: int
    width: int
    location: int
    """width of W_l l"""
    attribute: int
    """width of W_a a"""
    output_word: int
    inner: int
    heads: int
    layers: int
    """N_x"""
    dropout: float
    variant: Variant
    selector: bool
    """False: text output only (Table 3)"""
    score: Score
    norm: bool
    """LayerNorm on what a fusion reads: h0, v0; h2, v2"""
    coupled: bool
    """Keys of a repetition are the other side's last layer, as the cited encoder does, not the level's inputs"""
    object_attends: Literal["article", "sentence"]
    """Eq 11 prints one sentence's words; then an object takes the mean over the sentences"""
    readout_max: ReadoutMax
    selector_state: Literal["eos", "mean"]


TEXT_ALONE = ("s2s", "pointer")
"""Baselines of Table 3: a BiLSTM over the words, flat attention, no pictures."""
UNFUSED_WORDS = ("sentence_scene_only", "no_word_object_fusion", *TEXT_ALONE)


class Encoded(NamedTuple):
    """All levels of a batch."""

    h1: Tensor
    """(B, S, W, d)"""
    word_mask_BSW: Tensor
    h3: Tensor
    """(B, S, d)"""
    sentence_mask_BS: Tensor
    v1: Tensor
    """(B, Q, d)"""
    v3: Tensor
    """(B, Z, d)"""


class Hcscl(nn.Module):
    """Hierarchical cross-modality semantic correlation learning."""

    def __init__(self, sizes: HcsclSizes, output_vectors_Vw: Tensor | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        d, scenes = sizes.width, sizes.variant not in ("word_object_only", *TEXT_ALONE)
        self.words = nn.LSTM(sizes.contextual, d // 2, batch_first=True, bidirectional=True)
        self.location = nn.Linear(4, sizes.location, bias=False)
        self.attribute = nn.Embedding(sizes.attributes, sizes.attribute)
        self.objects = nn.Linear(sizes.region + sizes.location + sizes.attribute, d)
        self.dropout = nn.Dropout(sizes.dropout)

        def encoder() -> nn.ModuleList:
            settings = (d, sizes.heads, sizes.inner, sizes.dropout, sizes.score)
            return nn.ModuleList(CrossModalityLayer(*settings) for _ in range(sizes.layers))

        def norm() -> nn.Module:
            return nn.LayerNorm(d) if sizes.norm else nn.Identity()

        if sizes.variant not in UNFUSED_WORDS:
            self.word_encoder, self.object_encoder = encoder(), encoder()
            self.word_norm, self.object_norm = norm(), norm()
        if scenes:
            self.sentences = nn.LSTM(d, d, batch_first=True)
            self.graph = ImageGraph(d, sizes.readout_max)
            if sizes.variant != "no_sentence_scene_fusion":
                self.sentence_encoder, self.scene_encoder = encoder(), encoder()
                self.sentence_norm, self.scene_norm = norm(), norm()
        attend = {"word_object_only": "words", "sentence_scene_only": "sentences", **dict.fromkeys(TEXT_ALONE, "words")}
        self.summarizer = Summarizer(
            d, sizes.output_word, sizes.vocabulary, attend.get(sizes.variant, "both"), sizes.dropout,
            output_vectors_Vw, copies=sizes.variant == "pointer",
        )  # fmt: skip
        if sizes.selector:
            gate = {"word_object_only": 1.0, "sentence_scene_only": 0.0}.get(sizes.variant)
            self.selector = Selector(d, gate)

    def encode(self, batch: HcsclBatch) -> Encoded:
        """Eq 1-19."""
        sizes = self.sizes
        h0, word_mask = self.encode_words(batch)
        v0, object_mask = self.encode_objects(batch), batch.image_of_BQ >= 0
        sentence_mask = word_mask.any(2)
        h1, v1 = h0, v0
        if sizes.variant not in UNFUSED_WORDS:
            h1, v1 = self.fuse_words(h0, word_mask, v0, object_mask)
        if sizes.variant in ("word_object_only", *TEXT_ALONE):
            counts = word_mask.sum(2, keepdim=True).clamp_min(1)
            return Encoded(h1, word_mask, h1.sum(2) / counts, sentence_mask, v1, v1[:, :0])
        h2 = self.encode_sentences(h1, batch.word_counts_BS)
        v2 = self.graph(v1, batch.iou_BQQ, batch.scene_of_BQ, batch.image_of_BQ, batch.image_of_BZ)
        h3, v3 = h2, v2
        if sizes.variant != "no_sentence_scene_fusion":
            h3, v3 = self.fuse_sentences(h2, sentence_mask, v2, batch.image_of_BZ >= 0)
        return Encoded(h1, word_mask, h3, sentence_mask, v1, v3)

    def encode_words(self, batch: HcsclBatch) -> tuple[Tensor, Tensor]:
        """h0 (B, S, W, d): a BiLSTM over the words of each sentence (Eq 1-2), and which are words."""
        b, s, w = batch.words_BSWc.shape[:3]
        lengths = batch.word_counts_BS.flatten()
        h0, _ = run_padded(self.words, batch.words_BSWc.flatten(0, 1), lengths)
        mask = length_mask(lengths.to(h0.device), w).view(b, s, w)
        return self.dropout(h0).view(b, s, w, -1), mask

    def encode_objects(self, batch: HcsclBatch) -> Tensor:
        """v0 (B, Q, d) of Eq 3, brought to the model's width, which Eq 4 and 6 need."""
        parts = [batch.objects_BQr, self.location(batch.boxes_BQ4), self.attribute(batch.attributes_BQ)]
        v0 = self.dropout(self.objects(torch.cat(parts, 2)))
        return v0 * (batch.image_of_BQ >= 0)[..., None]

    def fuse_words(self, h0: Tensor, word_mask: Tensor, v0: Tensor, object_mask: Tensor) -> tuple[Tensor, Tensor]:
        """h1, v1 (Eq 10-11): words see all objects and their own sentence, objects all words and all objects."""
        b, s, w, d = h0.shape
        h0, v0 = self.word_norm(h0), self.object_norm(v0)
        h, v = h0.view(b * s, w, d), v0
        flat = word_mask.view(b * s, w)
        object_masks = object_mask.repeat_interleave(s, 0)
        for word_layer, object_layer in zip(self.word_encoder, self.object_encoder, strict=True):
            h_keys, v_keys = (h, v) if self.sizes.coupled else (h0.view(b * s, w, d), v0)
            next_h = word_layer(h, flat, v_keys.repeat_interleave(s, 0), object_masks)
            assert isinstance(object_layer, CrossModalityLayer)
            if self.sizes.object_attends == "article":
                v = object_layer(v, object_mask, h_keys.reshape(b, s * w, d), word_mask.view(b, s * w))
            else:
                each = object_layer.attend(v.repeat_interleave(s, 0), h_keys, flat).view(b, s, -1, d)
                real = word_mask.any(2)[..., None, None]
                v = object_layer.rest((each * real).sum(1) / real.sum(1).clamp_min(1), object_mask)
            h = next_h
        return h.view(b, s, w, d) * word_mask[..., None], v * object_mask[..., None]

    def encode_sentences(self, h1: Tensor, word_counts_BS: Tensor) -> Tensor:
        """h2 (B, S, d): the last state over each sentence's words (Eq 12)."""
        _, last = run_padded(self.sentences, h1.flatten(0, 1), word_counts_BS.flatten())
        return self.dropout(last).view(*h1.shape[:2], -1)

    def fuse_sentences(
        self, h2: Tensor, sentence_mask: Tensor, v2: Tensor, scene_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """h3, v3 (Eq 18-19)."""
        h2, v2 = self.sentence_norm(h2), self.scene_norm(v2)
        h, v = h2, v2
        for sentence_layer, scene_layer in zip(self.sentence_encoder, self.scene_encoder, strict=True):
            h_keys, v_keys = (h, v) if self.sizes.coupled else (h2, v2)
            h = sentence_layer(h, sentence_mask, v_keys, scene_mask)
            v = scene_layer(v, scene_mask, h_keys, sentence_mask)
        return h * sentence_mask[..., None], v * scene_mask[..., None]

    def memory(self, batch: HcsclBatch, encoded: Encoded) -> Memory:
        """What the summarizer reads."""
        extra = max((len(words) for words in batch.extra_words), default=0)
        return Memory(encoded.h1, encoded.word_mask_BSW, encoded.h3, encoded.sentence_mask_BS, batch.source_BSW, extra)

    def summary_logits(self, batch: HcsclBatch, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Teacher-forced logits (B, T, V) and decoder states h' (B, T, d)."""
        assert batch.inputs_BT is not None
        return self.summarizer.forced(batch.inputs_BT, self.memory(batch, encoded))

    def select(self, batch: HcsclBatch, encoded: Encoded, states_BTd: Tensor, outputs_BT: Tensor) -> Tensor:
        """Scores of the candidate images (B, P), -inf where there is none (Eq 26-29)."""
        said = self.summarizer.reading(states_BTd, outputs_BT, self.sizes.selector_state)
        return self.selector(said, encoded.v1, batch.image_of_BQ, encoded.v3, batch.image_of_BZ, batch.image_counts_B)
