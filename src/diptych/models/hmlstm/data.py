"""From samples of a version to HM-LSTM's batches: captions with their trees, regions, and what people annotated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from diptych.exceptions import UsageError
from diptych.geometry import iou
from diptych.metrics.retrieval import normalised
from diptych.models.common.text_rows import items_of
from diptych.models.common.trees import Tree, plan_trees
from diptych.models.hmlstm.batch import HMLSTMBatch, Judged, WordSequences
from diptych.models.hmlstm.config import HMLSTMConfig
from diptych.models.parser.flat import flat_tree
from diptych.naming import sentence_key
from diptych.records import json_object
from diptych.stages.splitting import paragraphs, tokens

__all__ = ["Caption", "captions_of", "make_batch"]

_SAME_BOX = 0.5
"""Least IoU of a stored box with an annotated one for its feature to stand for it; with fc7's own it is 1."""


@dataclass(frozen=True)
class Caption:
    """One caption: its tree, its words as a chain, and its noun phrases in the order of their nodes."""

    text: str
    tree: Tree
    """leaves hold ids of word vectors"""
    words: tuple[int, ...]
    """ids of the leaves from left to right"""
    nodes: tuple[int, ...]
    """of the phrases"""
    spans: tuple[tuple[int, int], ...]
    """first and last (exclusive) of ``words`` for each phrase"""
    phrases: tuple[str, ...]
    """normalised"""


def captions_of(sample: Mapping[str, Any], words: Mapping[str, int], only: int | None = None) -> dict[int, Caption]:
    """The captions of a pair by number, one a line; a line of several sentences is one tree with theirs below the root.

    ``only`` asks for one of them.
    """
    text = sample["pairs.caption"] or ""
    items = items_of(sample, "caption")
    rows = {key: n for n, key in enumerate(sample["parse.key"])}
    found = {}
    for number, (start, end) in enumerate(paragraphs(text)):
        if only in (None, number):
            sentences = [_nodes(sample, rows, item) for item in items if start <= item["start"] < end]
            found[number] = _caption(text[start:end], sentences, words)
    return found


@dataclass(frozen=True)
class _Nodes:
    """A sentence's nodes; ``start`` and ``end`` are places among its tokens."""

    tokens: Sequence[str]
    parent: Sequence[int]
    start: Sequence[int]
    end: Sequence[int]
    noun_phrase: Sequence[bool]


def _nodes(sample: Mapping[str, Any], rows: Mapping[str, int], item: Mapping[str, Any]) -> _Nodes:
    """As parsed; of a sentence that was not (too long, another language) every word below the root."""
    row = rows.get(sentence_key(item["text"]))
    if row is None:
        flat = flat_tree(item["tokens"])
        return _Nodes(item["tokens"], flat.parent, flat.start, flat.end, flat.noun_phrase)
    return _Nodes(*(sample[f"parse.{name}"][row] for name in ("words", "parent", "start", "end", "noun_phrase")))


def _caption(text: str, sentences: Sequence[_Nodes], words: Mapping[str, int]) -> Caption:
    several = len(sentences) != 1
    parent, kind, word = ([-1], [False], [0]) if several else ([], [], [])
    nodes: list[int] = []
    chain: list[int] = []
    spans: list[tuple[int, int]] = []
    phrases: list[str] = []
    for sentence in sentences:
        first, before = len(parent), len(chain)
        inner = set(sentence.parent)
        leaves = sorted((s, n) for n, s in enumerate(sentence.start) if n not in inner)
        ids = [_word(sentence.tokens[s] if s < sentence.end[n] else "", words) for s, n in leaves]
        chain += ids
        at = dict(zip((n for _, n in leaves), ids, strict=True))
        starts = [s for s, _ in leaves]
        for n, (above, start, end) in enumerate(zip(sentence.parent, sentence.start, sentence.end, strict=True)):
            parent.append(above + first if above >= 0 else 0 if several else -1)
            kind.append(sentence.noun_phrase[n])
            word.append(at.get(n, 0))
            if sentence.noun_phrase[n]:
                nodes.append(first + n)
                low, high = np.searchsorted(starts, (start, end)).tolist()
                spans.append((before + low, before + high))
                phrases.append(_joined(sentence.tokens[start:end]))
    tree = Tree(np.array(parent), np.array(kind, np.int64), np.array(word))
    return Caption(text, tree, tuple(chain), tuple(nodes), tuple(spans), tuple(phrases))


def _phrase(text: str) -> str:
    """A phrase as :class:`Caption` has it, from running text."""
    return _joined(tokens(text))


def _joined(words: Sequence[str]) -> str:
    return normalised(" ".join(words))


def _word(token: str, words: Mapping[str, int]) -> int:
    """As the fit has it, or its lower-case form; 0 for an unknown word."""
    return words.get(token) or words.get(token.lower(), 0)


def make_batch(
    samples: Sequence[Mapping[str, Any]], config: HMLSTMConfig, words: Mapping[str, int], *, judged: bool
) -> HMLSTMBatch:
    """One batch: each sample's chosen caption (``choice``), or all of them with what they are judged by."""
    pictures = [_picture(sample, config) for sample in samples]
    captions: list[list[Caption]] = []
    ids: list[int] = []
    for sample in samples:
        found = captions_of(sample, words, None if judged else sample["choice"])
        captions.append(list(found.values()))
        ids += [_id(f"{sample['key']} {n} {node}") for n, caption in found.items() for node in caption.nodes]
    flat = [caption for some in captions for caption in some]
    sizes = [len(caption.tree.parent) for caption in flat]
    starts = np.cumsum([0, *sizes[:-1]]).tolist() if flat else []
    plan = plan_trees([caption.tree for caption in flat])
    nodes = [start + node for start, caption in zip(starts, flat, strict=True) for node in caption.nodes]
    looked = [_judged(sample, p, config) for sample, p in zip(samples, pictures, strict=True)] if judged else []
    regions = [p.features[p.proposals] for p in pictures]
    most = max(map(len, regions))
    padded = np.zeros((len(samples), most, pictures[0].features.shape[1]), np.float32)
    for row, some in zip(padded, regions, strict=True):
        row[: len(some)] = some
    counts = np.array([len(some) for some in regions])
    asked = [pictures[n].features[list(some.rows)] for n, some in enumerate(looked)]
    chain = config.encoder == "chain"
    return HMLSTMBatch(
        image_Bf=torch.from_numpy(np.stack([p.image for p in pictures])),
        regions_BKf=torch.from_numpy(padded),
        region_mask_BK=torch.from_numpy(np.arange(most) < counts[:, None]),
        queries_Qf=torch.from_numpy(np.concatenate([np.zeros((0, padded.shape[2]), np.float32), *asked])),
        same_image_B=_int64([_id(sample["key"].split("/")[1].split("#")[0]) for sample in samples]),
        trees=None if chain else plan,
        sequences=_sequences(flat) if chain else None,
        phrase_place_P=plan.place_N[_int64(nodes)],
        caption_P=_int64([t for t, caption in enumerate(flat) for _ in caption.nodes]),
        image_T=_int64([b for b, some in enumerate(captions) for _ in some]),
        text_T=_int64([_id(normalised(caption.text)) for caption in flat]),
        text_P=_int64([_id(phrase) for caption in flat for phrase in caption.phrases]),
        phrase_id_P=_int64(ids),
        keys=tuple(sample["key"] for sample in samples),
        captions=tuple(caption.text for caption in flat),
        phrases=tuple(phrase for caption in flat for phrase in caption.phrases),
        judged=tuple(looked),
    )


@dataclass(frozen=True)
class _Picture:
    """``features`` of every stored box, ``boxes`` (xyxy) only when the picture is judged."""

    image: np.ndarray
    features: np.ndarray
    proposals: np.ndarray
    """which rows are candidates"""


def _picture(sample: Mapping[str, Any], config: HMLSTMConfig) -> _Picture:
    features = np.asarray(sample[config.region_feature], np.float32)
    if config.image_feature:
        image, proposals = np.asarray(sample[config.image_feature], np.float32), np.arange(len(features))
    else:
        kinds = sample[f"{config.region_stage}.kinds"]
        image, proposals = features[0], np.flatnonzero([kind == "proposal" for kind in kinds])
    if not config.image:
        image, features = np.zeros_like(image), np.zeros_like(features)
    return _Picture(image, features, proposals[: config.regions])


def _judged(sample: Mapping[str, Any], picture: _Picture, config: HMLSTMConfig) -> Judged:
    boxes = np.asarray(sample[f"{config.region_stage}.boxes"], np.float64).reshape(-1, 4)
    drawn, phrases = _voted(sample) if config.links == "votes" else _annotated(sample)
    rows: list[int] = []
    asked: list[int] = []
    first = 0 if config.image_feature else 1  # the whole picture stands for no box
    if len(drawn) and len(boxes) > first:
        overlap = iou(drawn, boxes[first:])
        asked = np.flatnonzero(overlap.max(1) >= _SAME_BOX).tolist()
        rows = (overlap.argmax(1) + first)[asked].tolist()
    return Judged(
        boxes=tuple(map(tuple, boxes[picture.proposals].tolist())),
        drawn=tuple(map(tuple, drawn.tolist())),
        phrases=phrases,
        asked=tuple(asked),
        rows=tuple(rows),
    )


Links = tuple[np.ndarray, tuple[tuple[str, ...], ...]]
"""Boxes that people drew (D, 4), and the phrases of each."""


def _voted(sample: Mapping[str, Any]) -> Links:
    """What annotators decided: ``pair_votes.regions``."""
    texts = {sentence_key(item["text"]): item["text"] for item in items_of(sample, "caption")}
    found: dict[tuple[float, ...], list[str]] = {}
    for link in sample["pair_votes.regions"] or ():
        if link["sentence"] in texts:
            phrase = texts[link["sentence"]][link["start"] : link["end"]]
            found.setdefault(tuple(link["box"]), []).append(_phrase(phrase))
    return np.array(list(found), np.float64).reshape(-1, 4), tuple(map(tuple, found.values()))


def _annotated(sample: Mapping[str, Any]) -> Links:
    """What the source brings: ``boxes`` and ``phrases`` (a list for each box) of the pair's ``extra``."""
    raw = json_object(sample["pairs.extra"])
    if "phrases" not in raw:
        return np.zeros((0, 4)), ()
    boxes, phrases = raw.get("boxes", []), raw["phrases"]
    if not (isinstance(boxes, list) and isinstance(phrases, list) and _are_boxes(boxes) and _are_lists(phrases)):
        raise UsageError(
            f"pair {sample['key']}: expected extra with boxes [x1, y1, x2, y2] and a list of phrases for each, found "
            f"boxes {boxes!r:.100} and phrases {phrases!r:.100}"
        )
    if len(boxes) != len(phrases):
        raise UsageError(
            f"pair {sample['key']}: extra has {len(boxes)} boxes and phrases for {len(phrases)}; "
            "expected a list of phrases for each box"
        )
    return np.asarray(boxes, np.float64).reshape(-1, 4), tuple(tuple(map(_phrase, some)) for some in phrases)


def _are_boxes(found: list[Any]) -> bool:
    return all(isinstance(b, list) and len(b) == 4 and all(type(v) in (int, float) for v in b) for b in found)


def _are_lists(found: list[Any]) -> bool:
    return all(isinstance(some, list) and all(isinstance(text, str) for text in some) for some in found)


def _sequences(captions: Sequence[Caption]) -> WordSequences:
    rows = [caption.words for caption in captions]
    rows += [caption.words[low:high] for caption in captions for low, high in caption.spans]
    padded = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for row, words in zip(padded, rows, strict=True):
        row[: len(words)] = words
    return WordSequences(torch.from_numpy(padded), _int64([len(row) for row in rows]))


def _id(text: str) -> int:
    """63 bits of a text's hash."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1


def _int64(values: Sequence[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)
