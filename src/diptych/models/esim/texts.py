"""Texts as ESIM reads them: ids of characters, or vectors of a frozen encoder's pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from diptych.models.common.text_encoder import TextEncoder, load_encoder
from diptych.models.esim.model import EsimConfig, PairBatch
from diptych.stages.language import normalised

__all__ = ["TextReader", "alphabet_of", "folded"]

PADDING, UNKNOWN = 0, 1
_KEPT = 20_000


def folded(text: str) -> str:
    """Lower case, compatible forms (full-width letters as plain ones), no blanks."""
    return "".join(normalised("NFKC", text).casefold().split())


def alphabet_of(texts: Iterable[str], least: int = 2) -> str:
    """The characters that occur ``least`` times, the most frequent first, equal ones by code point."""
    counts = Counter(c for text in texts for c in folded(text))
    return "".join(c for c, n in sorted(counts.items(), key=lambda i: (-i[1], i[0])) if n >= least)


class TextReader:
    """Makes batches on the CPU; with an encoder, each distinct text is encoded once and its vectors are kept."""

    def __init__(self, config: EsimConfig, alphabet: str, device: str = "cpu") -> None:
        self._longest, self.device = config.longest, device
        self._ids = {c: n for n, c in enumerate(alphabet, UNKNOWN + 1)}
        self._encoder: TextEncoder | None = None
        if config.embedding != "characters":
            self._encoder = load_encoder(config.embedding, device=device)
        self._vectors: dict[str, np.ndarray] = {}

    @property
    def characters(self) -> int:
        """How many ids there are; 0 with an encoder."""
        return len(self._ids) + UNKNOWN + 1 if self._encoder is None else 0

    @property
    def inputs(self) -> int:
        """Length of an encoder's vectors; 0 with characters."""
        return self._encoder.size if self._encoder else 0

    def batch(self, first: Sequence[str], second: Sequence[str], same: Sequence[bool] | None = None) -> PairBatch:
        """Pairs as tensors; without ``same`` every label is 0."""
        self._encode([*first, *second])
        labels = torch.tensor([int(s) for s in same] if same is not None else [0] * len(first))
        return PairBatch(*self._padded(first), *self._padded(second), labels)

    def _padded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [self._row(text) for text in texts]
        lengths = [len(row) for row in rows]
        shape = (len(rows), max(1, *lengths)) if rows else (0, 1)
        if self._encoder is None:
            padded = np.full(shape, PADDING, np.int64)
        else:
            padded = np.zeros((*shape, self._encoder.size), np.float32)
        for place, row in enumerate(rows):
            padded[place, : len(row)] = row
        return torch.from_numpy(padded), torch.tensor(lengths)

    def _row(self, text: str) -> np.ndarray:
        if self._encoder is None:
            return np.array([self._ids.get(c, UNKNOWN) for c in folded(text)[: self._longest]], np.int64)
        return self._vectors[text][: self._longest]

    def _encode(self, texts: Sequence[str]) -> None:
        if self._encoder is None:
            return
        if len(self._vectors) > _KEPT:
            self._vectors.clear()
        new = [t for t in dict.fromkeys(texts) if t not in self._vectors]
        if new:
            found = self._encoder.pieces(new)
            self._vectors |= {t: v[: self._longest].astype(np.float16) for t, v in zip(new, found, strict=True)}
