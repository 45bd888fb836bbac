"""Word vectors as Stanza's `pretrain` part."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from diptych import weights
from diptych.exceptions import UsageError

__all__ = ["glove", "pretrain"]

_WORD = re.compile(r"[a-z][a-z'’-]*|\d{1,4}|[^\w\s]+|n't|'\w{1,2}")
_PREFIX = 4
"""Rows before the words: padding, unknown, empty, root."""


def glove(wanted: Collection[str], most: int) -> tuple[list[str], np.ndarray]:
    """Words and vectors (N, 50) float32 of GloVe 6B: the ``wanted`` ones and the most frequent, ``most`` in all."""
    import pyarrow.parquet as pq

    words = pq.read_table(weights.path("glove_50d_words"))["index"].to_pylist()
    vectors = np.load(weights.path("glove_50d"), mmap_mode="r", allow_pickle=False)
    if vectors.shape != (len(words), 50):
        raise UsageError(f"GloVe: {len(words)} words, but vectors of shape {vectors.shape}")
    sought = {word.lower() for word in wanted}
    needed = [n for n, word in enumerate(words) if word in sought]
    rest = [n for n, word in enumerate(words[: 4 * most]) if word not in sought and _WORD.fullmatch(word)]
    rows = sorted({*needed, *rest[: max(0, most - len(needed))]})
    return [words[n] for n in rows], np.asarray(vectors[rows], np.float32)


def read_vector_file(path: Path, most: int) -> tuple[list[str], np.ndarray]:
    """Words and vectors of a GloVe text file, in its order, at most ``most``; :class:`UsageError` names a bad line."""
    found: list[str] = []
    rows: list[np.ndarray] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            word, *values = line.rstrip().split(" ")
            if number == 1 and len(values) == 1:
                continue  # word2vec's first line: count and size
            if len(found) == most:
                break
            try:
                row = np.array(values, np.float32)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: expected a word and numbers, found {line[:60]!r}") from error
            if rows and len(row) != len(rows[0]):
                raise UsageError(f"{path}, line {number}: expected {len(rows[0])} numbers, found {len(row)}")
            found.append(word)
            rows.append(row)
    if not rows:
        raise UsageError(f"{path} holds no word vectors")
    return found, np.stack(rows)


def pretrain(words: list[str], vectors: np.ndarray) -> dict[str, Any]:
    """What Stanza stores as pretrained vectors."""
    import torch
    from stanza.models.common.pretrain import PretrainedWordVocab

    table = torch.zeros(len(words) + _PREFIX, vectors.shape[1])
    table[_PREFIX:] = torch.from_numpy(vectors)
    return {"vocab": PretrainedWordVocab(words).state_dict(), "emb": table}
