"""From embeddings of a whole split to lines: ranks of captions, images and phrases, and phrases matched to regions.

A line's ``i2t`` and ``t2i`` count candidates that read like a correct one as correct, ``i2t_distinct`` and
``t2i_distinct`` as wrong; ``sampled`` holds the same among a seeded sample of the images (Section 5.1.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.geometry import iou
from diptych.metrics.retrieval import Ranking, best_ranks, ranking, with_duplicates
from diptych.models.hmlstm.batch import Judged
from diptych.naming import split_pair_key
from diptych.training.config import Plain

__all__ = ["Picture", "judged_lines", "measured"]

_SHOWN = 5
"""Retrieved captions and phrases in a line."""
_RIGHT = 0.5
"""Least IoU of the region a phrase is matched to with a box that people linked to it."""


@dataclass(frozen=True)
class Picture:
    """One image's embeddings (unit rows) and texts."""

    id: str
    image_d: np.ndarray
    captions_Td: np.ndarray
    captions: tuple[str, ...]
    phrases_Pd: np.ndarray
    phrases: tuple[str, ...]
    regions_Kd: np.ndarray
    queries_Qd: np.ndarray
    judged: Judged


def judged_lines(pictures: Sequence[Picture], sample: int) -> list[dict[str, Plain]]:
    """A line an image; ``sample`` images are drawn from seed 0 for the second ranks, 0 draws none."""
    everything = list(range(len(pictures)))
    lines = [
        {**found, **_matched(picture), "region_phrases": said}
        for found, picture, said in zip(_retrieved(pictures), pictures, _described(pictures), strict=True)
    ]
    if 0 < sample < len(pictures):
        some = sorted(np.random.default_rng(0).choice(everything, sample, replace=False).tolist())
        for place, found in zip(some, _retrieved([pictures[n] for n in some]), strict=True):
            lines[place]["sampled"] = {name: found[name] for name in _RANKS}
    for line, found in zip(lines, _region_ranks(pictures), strict=True):
        line["regions"] = found
    return lines


_RANKS = ("i2t", "t2i", "i2t_distinct", "t2i_distinct")


def _retrieved(pictures: Sequence[Picture]) -> list[dict[str, Plain]]:
    """Ranks both ways, and the captions that stand first.

    A picture that several records show is right for the captions of each (T4, X6), under ``_distinct``, too.
    """
    counts = [len(p.captions) for p in pictures]
    owner = np.repeat(np.arange(len(pictures)), counts)
    texts = [text for p in pictures for text in p.captions]
    scores_IT = _scores([p.image_d[None] for p in pictures], [p.captions_Td for p in pictures])
    image_I = np.unique([split_pair_key(p.id)[1] for p in pictures], return_inverse=True)[1].reshape(-1)
    own_IT = image_I[:, None] == image_I[owner]
    ranks: dict[str, list[Any]] = {}
    for suffix, correct in (("", with_duplicates(own_IT, texts)), ("_distinct", own_IT)):
        ranks[f"i2t{suffix}"] = best_ranks(scores_IT, correct).tolist()
        t2i = best_ranks(scores_IT.T, correct.T)
        ranks[f"t2i{suffix}"] = [some.tolist() for some in np.split(t2i, np.cumsum(counts)[:-1])]
    first = np.argsort(-scores_IT, axis=1, kind="stable")[:, :_SHOWN].tolist()
    return [
        {
            "id": p.id,
            "gold": list(p.captions),
            "predicted": [texts[place] for place in first[row]],
            **{name: ranks[name][row] for name in _RANKS},
        }
        for row, p in enumerate(pictures)
    ]


def _matched(picture: Picture) -> dict[str, Plain]:
    """Each phrase with its best region; how many of those that people linked to a box are right."""
    found: list[Plain] = []
    linked = right = 0
    boxes = picture.judged.boxes
    scores_PK = picture.phrases_Pd @ picture.regions_Kd.T
    for phrase, scores_K in zip(picture.phrases, scores_PK, strict=True):
        place = int(scores_K.argmax()) if len(scores_K) else None
        box = list(boxes[place]) if place is not None else None
        score = None if place is None else float(scores_K[place])
        found.append({"phrase": phrase, "box": box, "score": score})
        truth = [b for b, some in zip(picture.judged.drawn, picture.judged.phrases, strict=True) if phrase in some]
        if truth:
            linked += 1
            right += box is not None and bool(iou(np.array([box]), np.array(truth)).max() >= _RIGHT)
    return {"phrases": found, "linked": linked, "right": right}


def _described(pictures: Sequence[Picture]) -> list[list[Plain]]:
    """Of each image its regions, each with the phrases of the whole split that score best there."""
    place = {phrase: n for n, phrase in enumerate(phrase for p in pictures for phrase in p.phrases)}
    texts, rows = list(place), np.array(list(place.values()), np.int64)
    vectors_Ud = np.concatenate([p.phrases_Pd for p in pictures])[rows] if texts else np.zeros((0, 0), np.float32)
    found: list[list[Plain]] = []
    for picture in pictures:
        said: list[Plain] = []
        scores_KU = picture.regions_Kd @ vectors_Ud.T if texts else np.zeros((len(picture.regions_Kd), 0))
        for box, scores_U in zip(picture.judged.boxes, scores_KU, strict=True):
            first = np.argpartition(-scores_U, _SHOWN)[:_SHOWN] if len(texts) > _SHOWN else np.arange(len(texts))
            first = sorted(first.tolist(), key=lambda n: (-scores_U[n], n))
            best: list[Plain] = [{"phrase": texts[n], "score": float(scores_U[n])} for n in first]
            said.append({"box": list(box), "phrases": best})
        found.append(said)
    return found


def _region_ranks(pictures: Sequence[Picture]) -> list[list[Plain]]:
    """Of each image its annotated regions, each ranked against all phrases of the split (Table 4)."""
    phrases = [phrase for p in pictures for phrase in p.phrases]
    owner_P = np.repeat(np.arange(len(pictures)), [len(p.phrases) for p in pictures])
    owner_Q = np.repeat(np.arange(len(pictures)), [len(p.judged.asked) for p in pictures])
    named = [set(p.judged.phrases[n]) for p in pictures for n in p.judged.asked]
    linked_QP = np.zeros((len(named), len(phrases)), bool)
    for query, (row, names) in enumerate(zip(owner_Q, named, strict=True)):
        for place in np.flatnonzero(owner_P == row):
            linked_QP[query, place] = phrases[place] in names
    scores_QP = _scores([p.queries_Qd for p in pictures], [p.phrases_Pd for p in pictures])
    ranks = best_ranks(scores_QP, with_duplicates(linked_QP, phrases))
    distinct = best_ranks(scores_QP, linked_QP)
    found: list[list[Plain]] = [[] for _ in pictures]
    for query, row in enumerate(owner_Q.tolist()):
        picture, place = pictures[row], pictures[row].judged.asked[len(found[row])]
        first = np.argsort(-scores_QP[query], kind="stable")
        shown = list(dict.fromkeys(phrases[n] for n in first[: 20 * _SHOWN].tolist()))[:_SHOWN]
        found[row].append(
            {
                "box": list(picture.judged.drawn[place]),
                "gold": list(picture.judged.phrases[place]),
                "predicted": shown,
                "rank": int(ranks[query]),
                "rank_distinct": int(distinct[query]),
            }
        )
    return found


def _scores(rows: Sequence[np.ndarray], columns: Sequence[np.ndarray]) -> np.ndarray:
    """float32 products of all rows with all columns."""
    if not rows:
        return np.zeros((0, 0), np.float32)
    return np.concatenate(rows) @ np.concatenate(columns).T


def measured(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Recalls and median ranks; those of the sample under the plain names where one was drawn, of all as ``_all``."""
    sampled = [line["sampled"] for line in lines if "sampled" in line]
    found: dict[str, float] = {}
    for suffix in ("", "_distinct"):
        for way in ("i2t", "t2i"):
            name = f"{way}{suffix}"
            found |= _named(_ranking([line[name] for line in sampled or lines]), way, suffix)
            if sampled:
                found |= _named(_ranking([line[name] for line in lines]), way, f"{suffix}_all")
        regions = [region[f"rank{suffix}"] for line in lines for region in line["regions"]]
        if regions:
            found |= _named(_ranking(regions), "region", suffix)
    found["rsum"] = sum(found[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10))
    linked = sum(line["linked"] for line in lines)
    if linked:
        found["phrases_right"] = sum(line["right"] for line in lines) / linked
        found["phrases_linked"] = float(linked)
    return found


def _ranking(ranks: Sequence[Any]) -> Ranking:
    flat = [r for some in ranks for r in (some if isinstance(some, list) else [some])]
    return ranking(np.array(flat, np.int64))


def _named(found: Ranking, way: str, suffix: str) -> dict[str, float]:
    values = (found.recall_at_1, found.recall_at_5, found.recall_at_10, found.median_rank)
    return {f"{way}_{name}{suffix}": v for name, v in zip(("r1", "r5", "r10", "median"), values, strict=True)}
