"""How much one text says what another says: scores in [0, 1] for relevance and for choosing captions.

``ngrams``: cosine of character n-gram counts; any language, no weights, the same on every machine.
``minilm``: cosine of sentence embeddings by MiniLM-L6 (English); needs transformers and the registered weights.
``esim``: the probability that both say the same, by a checkpoint that was trained on pairs (``models/esim``).
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diptych.stages.language import normalised

if TYPE_CHECKING:
    from diptych.models.common.text_encoder import TextEncoder

__all__ = ["Cosine", "Ngrams", "Scorer", "TextPairs", "ngram_cosine", "says_something"]

TextPairs = Sequence[tuple[str, str]]


class Scorer(Protocol):
    """Scores pairs of texts; the more at once, the faster."""

    def scores(self, pairs: TextPairs) -> np.ndarray:
        """float64 (pairs,) in [0, 1]; a pair with a text without a letter or digit scores 0."""
        ...


def says_something(text: str) -> bool:
    """Whether a text has a letter or digit."""
    return any(c.isalnum() for c in text)


def ngram_cosine(first: Counter[str], second: Counter[str]) -> float:
    """Cosine of two counts; 0 when one is empty. Whole numbers until the one division."""
    if len(first) > len(second):
        first, second = second, first
    dot = sum(n * second[gram] for gram, n in first.items())
    squares = sum(n * n for n in first.values()) * sum(n * n for n in second.values())
    return dot / math.sqrt(squares) if squares else 0.0


class Ngrams:
    """Character n-grams of lower-cased words (letters, marks and digits), each word between spaces."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes

    def counts(self, text: str) -> Counter[str]:
        """The n-grams of a text and how often each occurs."""
        folded = normalised("NFKC", text).casefold()
        words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split()
        found: Counter[str] = Counter()
        for word in words:
            padded = f" {word} "
            for size in self.sizes:
                found.update(padded[i : i + size] for i in range(len(padded) - size + 1))
        return found

    def scores(self, pairs: TextPairs) -> np.ndarray:
        """Cosines of the counts."""
        counts = {text: self.counts(text) for text in dict.fromkeys(t for pair in pairs for t in pair)}
        return np.array([ngram_cosine(counts[a], counts[b]) for a, b in pairs], np.float64)


class Cosine:
    """Sentence vectors of an encoder; negative cosines count 0."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def scores(self, pairs: TextPairs) -> np.ndarray:
        """Each distinct text is encoded once."""
        places = {text: n for n, text in enumerate(dict.fromkeys(t for pair in pairs for t in pair))}
        vectors = self._encoder.sentences(list(places)).astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        told = {text: says_something(text) for text in places}
        found = [float(vectors[places[a]] @ vectors[places[b]]) if told[a] and told[b] else 0.0 for a, b in pairs]
        return np.clip(np.array(found, np.float64), 0, 1)
