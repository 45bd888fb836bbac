"""From samples of a version to HCSCL's batches and vocabularies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from diptych.models.common.text_rows import items_of, vectors_of
from diptych.models.hcscl.batch import BOS, EOS, PAD, UNK, HcsclBatch
from diptych.models.hcscl.config import HcsclConfig
from diptych.stages.splitting import tokens

__all__ = [
    "Article",
    "Candidates",
    "candidates_of",
    "comparable",
    "count_tokens",
    "fields_of",
    "make_batch",
    "summary_of",
]


def fields_of(config: HcsclConfig) -> tuple[str, ...]:
    """What a document is read with."""
    text = ("documents.summary", "sentences.items", "bert.key", "bert.words", "bert.tokens")
    images = ("best_image.images", "best_image.choice")
    objects = ("width", "height", "boxes", "attributes", "features")
    regions = tuple(f"regions.{name}" for name in ("key", *objects))
    graphs = tuple(f"scene_graph.{name}" for name in ("key", "edges", "scenes"))
    return (*text, *images, *regions, *graphs) if config.image else (*text, *images)


def summary_of(sample: Mapping[str, Any]) -> list[str]:
    """Lower-case tokens of the summary."""
    return [token.lower() for item in items_of(sample, "summary") for token in item["tokens"]]


def comparable(text: str) -> str:
    """Lower-case tokens joined by blanks, split again until nothing changes.

    So a text as it was written and the same text said token by token (``wo n't``) come out alike.
    """
    before = None
    while text != before:
        before, text = text, " ".join(tokens(text)).lower()
    return text


def count_tokens(samples: Iterable[Mapping[str, Any]]) -> tuple[Counter[str], Counter[str]]:
    """How often each token of articles and summaries, and each attribute of their objects, occurs."""
    words: Counter[str] = Counter()
    attributes: Counter[str] = Counter()
    for sample in samples:
        words.update(token.lower() for item in items_of(sample, "text") for token in item["tokens"])
        words.update(summary_of(sample))
        attributes.update(a for image in sample.get("regions.attributes") or () for a in image or () if a)
    return words, attributes


@dataclass(frozen=True)
class Candidates:
    """A document's candidate images in the order of their hashes, which says nothing of relevance."""

    images: tuple[str, ...]
    choice: int
    """the voted one; -1 for none"""


def candidates_of(sample: Mapping[str, Any]) -> Candidates:
    """The kept images; of an image that stands twice the first place counts."""
    kept = list(dict.fromkeys(sample["best_image.images"] or ()))
    choice = sample["best_image.choice"]
    voted = sample["best_image.images"][choice] if choice is not None else None
    images = sorted(kept)
    return Candidates(tuple(images), images.index(voted) if voted is not None else -1)


@dataclass(frozen=True)
class Article:
    """One document's arrays, unpadded."""

    sentences: list[np.ndarray]
    roi: np.ndarray
    boxes: np.ndarray
    attributes: np.ndarray
    image_of: np.ndarray
    iou: np.ndarray
    scene_of: np.ndarray
    scene_image: np.ndarray
    candidates: Candidates
    summary: list[str]
    words: list[list[str]]
    """of each sentence, lower-case"""


def article_of(sample: Mapping[str, Any], config: HcsclConfig, attributes: Mapping[str, int]) -> Article:
    """Sentences cut and split as the configuration says; objects of all candidate images joined."""
    sentences, words = [], []
    for item in items_of(sample, "text"):
        found, vectors = vectors_of(sample, item)
        for n in range(0, len(vectors), config.words):
            sentences.append(vectors[n : n + config.words])
            words.append([word.lower() for word in found[n : n + config.words]])
    candidates = candidates_of(sample)
    parts = _objects(sample, candidates, attributes) if config.image else []
    roi = np.zeros((0, config.region), np.float32)
    starts = np.cumsum([0, *(len(part.boxes) for part in parts)])
    count = int(starts[-1])
    iou = np.zeros((count, count), np.float32)
    scene_of, scene_image = np.zeros(count, np.int64), []
    for part, start in zip(parts, starts, strict=False):
        for edge in part.edges:
            a, b = start + edge["a"], start + edge["b"]
            iou[a, b] = iou[b, a] = edge["iou"]
        scene_of[start : start + len(part.boxes)] = len(scene_image) + part.scenes
        scene_image += [part.image] * (int(part.scenes.max()) + 1 if len(part.scenes) else 0)
    return Article(
        sentences[: config.sentences],
        np.concatenate([roi, *(part.roi for part in parts)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(part.boxes for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.attributes for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(np.full(len(part.boxes), part.image) for part in parts)]),
        iou,
        scene_of,
        np.array(scene_image, np.int64),
        candidates,
        summary_of(sample)[: config.summary_words],
        words[: config.sentences],
    )


@dataclass(frozen=True)
class _Objects:
    image: int
    roi: np.ndarray
    boxes: np.ndarray
    attributes: np.ndarray
    edges: Sequence[Mapping[str, Any]]
    scenes: np.ndarray


def _objects(sample: Mapping[str, Any], candidates: Candidates, attributes: Mapping[str, int]) -> list[_Objects]:
    """The objects of each candidate image that both stages have a row for."""
    regions = {key: n for n, key in enumerate(sample["regions.key"])}
    graphs = {key: n for n, key in enumerate(sample["scene_graph.key"])}
    found = []
    for image, key in enumerate(candidates.images):
        if key not in regions or key not in graphs:
            continue
        n, g = regions[key], graphs[key]
        boxes = np.asarray(sample["regions.boxes"][n], np.float32).reshape(-1, 4)
        size = np.array([sample["regions.width"][n], sample["regions.height"][n]] * 2, np.float32)
        names = sample["regions.attributes"][n] or [None] * len(boxes)
        found.append(
            _Objects(
                image,
                np.asarray(sample["regions.features"][n], np.float32),
                boxes / size,
                np.array([attributes.get(a, 0) if a else 0 for a in names], np.int64),
                sample["scene_graph.edges"][g] or (),
                np.asarray(sample["scene_graph.scenes"][g], np.int64).reshape(-1),
            )
        )
    return found


def make_batch(samples: Sequence[Mapping[str, Any]], config: HcsclConfig, words: Mapping[str, int],
               attributes: Mapping[str, int]) -> HcsclBatch:  # fmt: skip
    """One batch; with the summaries, which a scored batch does not feed."""
    made = [article_of(sample, config, attributes) for sample in samples]
    b = len(made)
    s = max(1, *(len(a.sentences) for a in made))  # also where no article has a sentence
    w = max((len(x) for a in made for x in a.sentences), default=1)
    q, z = max(len(a.boxes) for a in made), max(len(a.scene_image) for a in made)
    t = max(len(a.summary) for a in made) + 1
    vectors, counts = np.zeros((b, s, w, config.contextual), np.float32), np.zeros((b, s), np.int64)
    roi, boxes = np.zeros((b, q, config.region), np.float32), np.zeros((b, q, 4), np.float32)
    iou, attribute = np.zeros((b, q, q), np.float32), np.zeros((b, q), np.int64)
    image_of, scene_of = np.full((b, q), -1), np.full((b, q), -1)
    scene_image, fed, said = np.full((b, z), -1), np.full((b, t), PAD), np.full((b, t), PAD)
    source = np.full((b, s, w), PAD)
    extra = tuple(tuple(dict.fromkeys(w for x in a.words for w in x if w not in words)) for a in made)
    for row, a in enumerate(made):
        for n, sentence in enumerate(a.sentences):
            vectors[row, n, : len(sentence)], counts[row, n] = sentence, len(sentence)
        n = len(a.boxes)
        roi[row, :n], boxes[row, :n], attribute[row, :n], iou[row, :n, :n] = a.roi, a.boxes, a.attributes, a.iou
        image_of[row, :n], scene_of[row, :n] = a.image_of, a.scene_of
        scene_image[row, : len(a.scene_image)] = a.scene_image
        ids = [words.get(word, UNK) for word in a.summary]
        fed[row, : len(ids) + 1], said[row, : len(ids) + 1] = [BOS, *ids], [*ids, EOS]
        if config.variant == "pointer":
            own = {w: len(words) + n for n, w in enumerate(extra[row])}
            said[row, : len(ids)] = [words.get(word, own.get(word, UNK)) for word in a.summary]
            for n, sentence in enumerate(a.words):
                source[row, n, : len(sentence)] = [words.get(word, own.get(word, UNK)) for word in sentence]
    copied = config.variant == "pointer"
    arrays = (vectors, counts, roi, boxes, attribute, image_of, iou, scene_of, scene_image)
    return HcsclBatch(
        *map(torch.from_numpy, arrays),
        image_counts_B=torch.tensor([len(a.candidates.images) for a in made]),
        choice_B=torch.tensor([a.candidates.choice for a in made]),
        inputs_BT=torch.from_numpy(fed),
        outputs_BT=torch.from_numpy(said),
        source_BSW=torch.from_numpy(source) if copied else None,
        extra_words=extra if copied else (),
        keys=tuple(sample["key"] for sample in samples),
        images=tuple(a.candidates.images for a in made),
        summaries=tuple(sample["documents.summary"] or "" for sample in samples),
    )
