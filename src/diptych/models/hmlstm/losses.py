"""The losses of Eq 9-10 on a batch, and the matching of phrases to regions that they need (Section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from diptych.models.common.ranking import hinge_ranking
from diptych.models.hmlstm.batch import HMLSTMBatch
from diptych.models.hmlstm.judging import Picture
from diptych.models.hmlstm.model import Embedded

__all__ = ["match", "matched", "part_loss", "pictures_of", "root_loss"]


def root_loss(embedded: Embedded, batch: HMLSTMBatch, margin: float) -> Tensor:
    """Eq 9 at the roots, mean over the batch: every other image and sentence is wrong, but not those of the same image,
    nor those of an equal sentence."""
    image_T = batch.same_image_B[batch.image_T]
    same = (image_T[:, None] == image_T) | (batch.text_T[:, None] == batch.text_T)
    scores_TT = embedded.images_Bd[batch.image_T] @ embedded.captions_Td.T
    return hinge_ranking(scores_TT, ~same, margin).mean()


def part_loss(
    embedded: Embedded,
    batch: HMLSTMBatch,
    memory: Mapping[str, np.ndarray],
    margin: float,
    negatives: Literal["batch", "batch+same_image"],
) -> Tensor:
    """Eq 9 at the matched phrases, weighted by their confidence (Eq 10), mean over the matched phrases of the batch.

    Phrases and matched regions of other images are wrong (with ``batch+same_image`` also those of the same image that
    are matched to other regions), equal phrases never are. Without a matched phrase the loss is 0.
    """
    region_P, weight_P = _remembered(batch, memory, embedded.phrases_Pd)
    rows = (region_P >= 0).nonzero()[:, 0]
    if not len(rows):
        return 0.0 * embedded.phrases_Pd.sum()
    place_P = batch.image_T[batch.caption_P[rows]]
    region_P, image_P, text_P = region_P[rows], batch.same_image_B[place_P], batch.text_P[rows]
    scores_PP = embedded.regions_BKd[place_P, region_P] @ embedded.phrases_Pd[rows].T
    same = image_P[:, None] == image_P
    if negatives == "batch+same_image":
        same &= region_P[:, None] == region_P
    wrong = ~(same | (text_P[:, None] == text_P))
    return (weight_P[rows] * hinge_ranking(scores_PP, wrong, margin)).mean()


def matched(batch: HMLSTMBatch, memory: Mapping[str, np.ndarray]) -> int:
    """How many phrases of the batch have a region."""
    return int((_remembered(batch, memory, batch.image_Bf)[0] >= 0).sum())


def _remembered(batch: HMLSTMBatch, memory: Mapping[str, np.ndarray], like: Tensor) -> tuple[Tensor, Tensor]:
    """The region (-1: none) and the weight of each phrase of the batch, where ``like`` is."""
    known, wanted = memory["phrase"], batch.phrase_id_P.numpy()
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    there = known[place] == wanted if len(known) else np.zeros(len(wanted), bool)
    region = np.where(there, memory["region"][place] if len(known) else -1, -1).astype(np.int64)
    weight = np.where(there, memory["weight"][place] if len(known) else 0, 0).astype(np.float32)
    return torch.from_numpy(region).to(like.device), torch.from_numpy(weight).to(like.device)


def match(module: nn.Module, batches: Iterable[HMLSTMBatch]) -> dict[str, np.ndarray]:
    """For each phrase (``phrase``, sorted ids) its best proposal of the same image (``region``, -1: the image has none;
    of equal ones the first) and ``weight``, the score where it is above 0."""
    ids: list[np.ndarray] = [np.zeros(0, np.int64)]
    regions: list[np.ndarray] = [np.zeros(0, np.int32)]
    weights: list[np.ndarray] = [np.zeros(0, np.float32)]
    for batch in batches:
        embedded = module(batch)
        place_P = batch.image_T[batch.caption_P]
        scores_PK = torch.einsum("pkd,pd->pk", embedded.regions_BKd[place_P], embedded.phrases_Pd)
        scores = scores_PK.masked_fill(~batch.region_mask_BK[place_P], -np.inf).float().cpu().numpy()
        ids.append(batch.phrase_id_P.numpy())
        if not scores.shape[1]:
            scores = np.full((len(scores), 1), -np.inf, np.float32)
        best = scores.argmax(1)
        score = scores[np.arange(len(scores)), best]
        regions.append(np.where(np.isfinite(score), best, -1).astype(np.int32))
        weights.append(np.maximum(score, 0).astype(np.float32))
    phrase = np.concatenate(ids)
    order = np.argsort(phrase, kind="stable")
    found = {"phrase": phrase, "region": np.concatenate(regions), "weight": np.concatenate(weights)}
    return {name: values[order] for name, values in found.items()}


def pictures_of(embedded: Embedded, batch: HMLSTMBatch) -> list[Picture]:
    """The embeddings of a judged batch by image."""
    images, captions, phrases, regions, queries = (
        value.float().cpu().numpy()
        for value in (embedded.images_Bd, embedded.captions_Td, embedded.phrases_Pd, embedded.regions_BKd,
                      embedded.queries_Qd)
    )  # fmt: skip
    image_T, mask = batch.image_T.cpu().numpy(), batch.region_mask_BK.cpu().numpy()
    image_P = image_T[batch.caption_P.cpu().numpy()]
    ends = np.cumsum([len(judged.asked) for judged in batch.judged])
    found = []
    for row, (key, judged) in enumerate(zip(batch.keys, batch.judged, strict=True)):
        own_T, own_P = np.flatnonzero(image_T == row), np.flatnonzero(image_P == row)
        found.append(
            Picture(
                id=key,
                image_d=images[row],
                captions_Td=captions[own_T],
                captions=tuple(batch.captions[n] for n in own_T),
                phrases_Pd=phrases[own_P],
                phrases=tuple(batch.phrases[n] for n in own_P),
                regions_Kd=regions[row][mask[row]],
                queries_Qd=queries[ends[row] - len(judged.asked) : ends[row]],
                judged=judged,
            )
        )
    return found
