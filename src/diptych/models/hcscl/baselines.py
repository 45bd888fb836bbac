"""Cheap summarizers to compare HCSCL with: the lead, TextRank, chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from diptych.models.common.text_rows import items_of
from diptych.models.hcscl.data import candidates_of
from diptych.training.task import Line, Sample, Task

__all__ = ["lead", "line", "random_sentence", "text_rank"]


def line(sample: Mapping[str, Any], predicted: str, scores: Sequence[float]) -> Line:
    """One line of predictions; without ``scores`` no image is chosen."""
    found = candidates_of(sample)
    return {
        "id": sample["key"],
        "predicted": predicted,
        "gold": sample["documents.summary"] or "",
        "images": list(found.images),
        "image_scores": list(scores),
        "choice": found.choice if found.choice >= 0 else None,
    }


def lead(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> list[Line]:
    """The article's first sentence; of the images each as likely as the others."""
    return [line(s, next((i["text"] for i in items_of(s, "text")), ""), _ties(s)) for s in samples]


def random_sentence(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> list[Line]:
    """Any sentence, any image."""
    draw = np.random.default_rng(seed)
    found = []
    for sample in samples:
        items = items_of(sample, "text")
        text = items[draw.integers(len(items))]["text"] if items else ""
        found.append(line(sample, text, draw.random(len(candidates_of(sample).images)).tolist()))
    return found


def text_rank(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> list[Line]:
    """The most central sentence (Mihalcea and Tarau 2004): PageRank over shared words per logarithm of the lengths."""
    found = []
    for sample in samples:
        items = items_of(sample, "text")
        best = int(np.argmax(_centrality([[t.lower() for t in i["tokens"]] for i in items]))) if items else 0
        found.append(line(sample, items[best]["text"] if items else "", _ties(sample)))
    return found


def _centrality(sentences: Sequence[Sequence[str]], damping: float = 0.85, steps: int = 50) -> np.ndarray:
    n = len(sentences)
    weights = np.zeros((n, n))
    for i, a in enumerate(sentences):
        for j, b in enumerate(sentences):
            if i != j and len(a) > 1 and len(b) > 1:
                weights[i, j] = len(set(a) & set(b)) / (np.log(len(a)) + np.log(len(b)))
    totals = weights.sum(1, keepdims=True)
    moves = np.divide(weights, totals, out=np.full_like(weights, 1 / n), where=totals > 0)
    rank = np.full(n, 1 / n)
    for _ in range(steps):
        rank = (1 - damping) / n + damping * rank @ moves
    return rank


def _ties(sample: Mapping[str, Any]) -> list[float]:
    return [0.0] * len(candidates_of(sample).images)
