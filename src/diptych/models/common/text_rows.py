"""A sample's sentences and their contextual word vectors, as the stages ``sentences`` and ``bert`` give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from diptych.naming import sentence_key

__all__ = ["TextField", "contextual_words", "items_of", "vectors_of"]

TextField = Literal["title", "text", "summary", "caption"]
Item = Mapping[str, Any]


def items_of(sample: Mapping[str, Any], field: TextField) -> list[Item]:
    """The sentences of one field, in order; of a pair's ``caption`` those of its own (``pairs.caption`` is read)."""
    items: Sequence[Item] = sample["sentences.items"] or ()
    found = [item for item in items if item["field"] == field]
    if field != "caption":
        return found
    caption = sample["pairs.caption"] or ""
    pairs: dict[int, list[Item]] = {}
    for item in found:
        if caption[item["start"] : item["end"]] == item["text"]:
            pairs.setdefault(item["paragraph"], []).append(item)
    # another pair's caption may begin alike: the one that is there as a whole; of equal captions, the first's
    return max(pairs.values(), key=lambda items: sum(len(item["text"]) for item in items), default=[])


def vectors_of(sample: Mapping[str, Any], item: Item) -> tuple[list[str], np.ndarray]:
    """The words of one sentence and their vectors, float32 (words, size), from ``bert.key/words/tokens``."""
    places = {key: n for n, key in enumerate(sample["bert.key"])}
    place = places.get(sentence_key(item["text"]))
    if place is None:
        return [], np.zeros((0, 0), np.float32)
    return list(sample["bert.words"][place]), np.asarray(sample["bert.tokens"][place], np.float32)


def contextual_words(sample: Mapping[str, Any], items: Sequence[Item]) -> tuple[list[str], np.ndarray]:
    """The same over several sentences, joined; a sentence without a row of ``bert`` is left out."""
    parts = [part for part in (vectors_of(sample, item) for item in items) if part[0]]
    if not parts:
        return [], np.zeros((0, 0), np.float32)
    return [word for words, _ in parts for word in words], np.concatenate([vectors for _, vectors in parts])
