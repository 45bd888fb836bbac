"""From samples of a version to AnANet's batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from diptych.models.ananet.batch import AnANetBatch
from diptych.models.ananet.config import CLASSES, AnANetConfig
from diptych.models.common.text_rows import contextual_words, items_of

__all__ = ["fields_of", "label_of", "make_batch", "tokens_of"]


def fields_of(config: AnANetConfig) -> tuple[str, ...]:
    """What a pair is read with."""
    text = ("sentences.items", "pairs.caption", "pair_votes.relation")
    bert = ("bert.key", "bert.words", "bert.tokens") if config.bert else ()
    return (*text, *bert, "regions.features", "regions.scores")


def label_of(sample: Mapping[str, Any]) -> int:
    """Index of the class; -1 where there is no majority."""
    relation = sample["pair_votes.relation"]
    return CLASSES.index(relation) if relation is not None else -1


def tokens_of(sample: Mapping[str, Any], config: AnANetConfig) -> list[str]:
    """The words at the places that the model knows them by; with BERT those that have vectors."""
    items = items_of(sample, config.text)
    if config.bert:
        return list(contextual_words(sample, items)[0])[: config.words]
    return [token for item in items for token in item["tokens"]][: config.words]


def make_batch(samples: Sequence[Mapping[str, Any]], config: AnANetConfig, words: Mapping[str, int]) -> AnANetBatch:
    """Regions by falling score; word ids with 0 for every word without a vector."""
    count = len(samples)
    ids = np.zeros((count, config.words), np.int64)
    lengths = np.zeros(count, np.int64)
    contextual = np.zeros((count, config.words, config.contextual if config.bert else 0), np.float32)
    width = np.asarray(samples[0]["regions.features"]).shape[-1]
    regions, found = np.zeros((count, config.regions, width), np.float32), np.zeros(count, np.int64)
    for row, sample in enumerate(samples):
        items = items_of(sample, config.text)
        if config.bert:
            tokens, vectors = contextual_words(sample, items)
            if tokens:
                contextual[row, : len(tokens)] = vectors[: config.words]
        else:
            tokens = [token for item in items for token in item["tokens"]]
        tokens = tokens[: config.words]
        ids[row, : len(tokens)] = [words.get(token.lower(), 0) for token in tokens]
        lengths[row] = len(tokens)
        if config.image:
            best = np.argsort(-np.asarray(sample["regions.scores"], np.float32), kind="stable")[: config.regions]
            regions[row, : len(best)] = np.asarray(sample["regions.features"])[best]
            found[row] = len(best)
    return AnANetBatch(
        regions_BKr=torch.from_numpy(regions),
        region_counts_B=torch.from_numpy(found),
        words_BN=torch.from_numpy(ids),
        word_counts_B=torch.from_numpy(lengths),
        contextual_BNc=torch.from_numpy(contextual) if config.bert else None,
        labels_B=torch.tensor([label_of(sample) for sample in samples]),
        keys=tuple(sample["key"] for sample in samples),
    )
