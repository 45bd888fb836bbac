"""From samples of a version to the information gap model's batches and vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from diptych.models.common.text_rows import TextField, items_of
from diptych.models.gap.batch import UNK, GapBatch, text_batch
from diptych.models.gap.config import CMI_LEVELS, SC_LEVELS, GapConfig

__all__ = ["LABELS", "level", "make_batch", "sentences_of"]

LABELS = ("pair_votes.cmi", "pair_votes.sc")


def sentences_of(sample: Mapping[str, Any], config: GapConfig) -> list[list[str]]:
    """The lower-case tokens of the pair's text by sentence: those of its article, and (or) those of its caption."""
    fields: tuple[TextField, ...] = ("text", "caption") if config.text == "both" else (config.text,)
    items = [item for field in fields for item in items_of(sample, field)]
    return [[token.lower() for token in item["tokens"]] for item in items]


def level(value: float | None, levels: Sequence[float]) -> int:
    """Index of the label; -1 for none."""
    return -1 if value is None else levels.index(float(value))


def make_batch(samples: Sequence[Mapping[str, Any]], config: GapConfig, words: Mapping[str, int],
               *, pixels: bool, labels: bool) -> GapBatch:  # fmt: skip
    """One batch; ``pixels`` are the autoencoder's target, ``labels`` the classifier's."""
    texts = [[[words.get(w, UNK) for w in s] for s in sentences_of(sample, config)] for sample in samples]
    images = np.stack([np.asarray(sample[config.image_feature], np.float32) for sample in samples])
    if not config.image:
        images = np.zeros_like(images)
    picture = None
    if pixels:
        stacked = np.stack([sample["pixels.pixels"] for sample in samples])
        picture = torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))).float() / 127.5 - 1
    cmi = sc = None
    if labels:
        cmi = torch.tensor([level(sample["pair_votes.cmi"], CMI_LEVELS) for sample in samples])
        sc = torch.tensor([level(sample["pair_votes.sc"], SC_LEVELS) for sample in samples])
    return GapBatch(
        image_BI=torch.from_numpy(images),
        pixels_B3HW=picture,
        cmi_B=cmi,
        sc_B=sc,
        keys=tuple(sample["key"] for sample in samples),
        **text_batch(texts, config.sentences, config.tokens),
    )
