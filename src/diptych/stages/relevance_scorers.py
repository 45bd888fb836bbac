"""How much one text says what another says: scores in [0, 1] for relevance and for choosing captions.

``ngrams``: cosine of character n-gram counts; any language, no weights, the same on every machine.
``minilm``: cosine of sentence embeddings by MiniLM-L6 (English); needs transformers and the registered weights.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.exceptions import MissingExtra

__all__ = ["Minilm", "Ngrams", "Scorer", "ngram_cosine"]


class Scorer(Protocol):
    """Texts to comparable things, and a score for two of them."""

    def scores(self, lines: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Scores (lines, references), float64; a text without a letter or digit scores 0."""
        ...


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
        folded = unicodedata.normalize("NFKC", text).casefold()
        words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded).split()
        found: Counter[str] = Counter()
        for word in words:
            padded = f" {word} "
            for size in self.sizes:
                found.update(padded[i : i + size] for i in range(len(padded) - size + 1))
        return found

    def scores(self, lines: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Cosines of the counts."""
        left, right = [self.counts(t) for t in lines], [self.counts(t) for t in references]
        made = np.array([[ngram_cosine(a, b) for b in right] for a in left], np.float64)
        return made.reshape(len(left), len(right))


class Minilm:
    """MiniLM-L6 as sentence encoder: mean of the token vectors, at most 256 word pieces; negative cosines count 0."""

    MAX_PIECES = 256

    def __init__(self, files: Mapping[str, Path], device: str) -> None:
        """``files``: ``minilm`` (safetensors), ``minilm_config`` and ``minilm_tokenizer``."""
        if find_spec("transformers") is None:
            raise MissingExtra("transformers", "bert")
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        self._tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(files["minilm_tokenizer"]))
        config = BertConfig.from_json_file(str(files["minilm_config"]))
        self._model: Any = BertModel(config, add_pooling_layer=False).eval()
        state = load_file(str(files["minilm"]))
        self._model.load_state_dict({k: v for k, v in state.items() if not k.startswith("pooler.")}, strict=False)
        self._model.to(device)
        self._device = device
        self._known: dict[str, np.ndarray] = {}

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors (texts, 384); each text alone in the network, so that no padding enters."""
        import torch

        for text in dict.fromkeys(texts):
            if text in self._known:
                continue
            pieces = self._tokenizer(text, truncation=True, max_length=self.MAX_PIECES)["input_ids"]
            ids = torch.tensor([pieces], device=self._device)
            with torch.inference_mode():
                mean = self._model(input_ids=ids).last_hidden_state[0].float().mean(0)
            vector = mean.cpu().numpy().astype(np.float64)
            if len(self._known) > 4096:
                self._known.clear()
            self._known[text] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return np.stack([self._known[t] for t in texts]) if texts else np.zeros((0, 384))

    def scores(self, lines: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Cosines of the embeddings."""
        empty = np.array([[not any(c.isalnum() for c in t)] for t in lines], bool).reshape(len(lines), 1)
        blank = np.array([not any(c.isalnum() for c in t) for t in references], bool)
        found = np.clip(self.vectors(lines) @ self.vectors(references).T, 0, 1)
        return np.where(empty | blank, 0.0, found)
