"""The batch that MM-MKP reads, and the ids of its special tokens.

Sizes: B (post, picture[, keyphrase]) triples, N source tokens, R regions, J words of a keyphrase and its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from diptych.models.common.batches import moved

__all__ = ["BOS", "EOS", "PAD", "SEG", "SPECIAL", "UNK", "MkpBatch", "Source", "make_batch", "source_of"]

PAD, BOS, EOS, UNK, SEG = range(5)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>", "<seg>")
"""The first words of the vocabulary; none is ever emitted (but the end) or copied."""


@dataclass(frozen=True)
class Source:
    """One input text: post <seg> OCR text <seg> visual entities."""

    ids: tuple[int, ...]
    """in the vocabulary"""
    copies: tuple[int, ...]
    """the same, where a word outside the vocabulary has an id of its own behind it (V, V + 1, ...)"""
    types: tuple[int, ...]
    """0 post, 1 OCR, 2 entities; a delimiter belongs to what follows"""
    extra: tuple[str, ...]
    """the words that have ids of their own"""


def source_of(parts: Sequence[Sequence[str]], vocabulary: Mapping[str, int], extra: int) -> Source:
    """The source of the three texts' words; at most ``extra`` words get copy ids, the others stay <unk>."""
    ids: list[int] = []
    copies: list[int] = []
    types: list[int] = []
    words: dict[str, int] = {}
    for kind, part in enumerate(parts):
        if kind:
            ids.append(SEG)
            copies.append(SEG)
            types.append(kind)
        for word in part:
            found = vocabulary.get(word, UNK)
            if found == UNK and word not in words and len(words) < extra:
                words[word] = len(vocabulary) + len(words)
            ids.append(found)
            copies.append(words.get(word, UNK) if found == UNK else found)
            types.append(kind)
    return Source(tuple(ids), tuple(copies), tuple(types), tuple(words))


@dataclass(frozen=True)
class MkpBatch:
    """What one step reads; the target fields are None in inference."""

    source_BN: Tensor
    copies_BN: Tensor
    types_BN: Tensor
    lengths_B: Tensor
    """int64, on the CPU, >= 2: both delimiters are always there"""
    grid_BRc: Tensor
    """float32, region features; zeros with has_image_B False where the post has no picture"""
    has_image_B: Tensor
    extra: int
    """copy ids in use: the largest number of any row"""
    inputs_BJ: Tensor | None = None
    """<bos> and the keyphrase's words, as fed to the decoder (copied words as <unk>)"""
    outputs_BJ: Tensor | None = None
    """the words (copy ids where the source has them) and <eos>; PAD behind"""
    keyphrase_lengths_B: Tensor | None = None
    """int64, on the CPU: words, without the end"""
    classes_B: Tensor | None = None
    """int64; 0 is <unk>, a keyphrase that is no class"""
    matches_B: Tensor | None = None
    """int64: 1 the image adds to the text, 0 not, -1 unlabelled"""
    keys: tuple[str, ...] = ()
    extra_words: tuple[tuple[str, ...], ...] = ()
    gold: tuple[tuple[str, ...], ...] = ()
    """every keyphrase of each post, where posts are scored"""
    present_in: tuple[str, ...] = ()
    """the text that decides which of them are present"""

    def to(self, device: torch.device | str) -> Self:
        """The same batch there; lengths stay where packing wants them."""
        return moved(self, device, stays=("lengths_B", "keyphrase_lengths_B"))

    def __len__(self) -> int:
        return len(self.lengths_B)


def make_batch(
    sources: Sequence[Source],
    grids: Sequence[np.ndarray | None],
    grid_shape: tuple[int, int],
    *,
    keyphrases: Sequence[Sequence[str]] | None = None,
    vocabulary: Mapping[str, int] | None = None,
    classes: Sequence[int] | None = None,
    matches: Sequence[int] | None = None,
    keys: Sequence[str] = (),
) -> MkpBatch:
    """Pad the rows; ``keyphrases`` are the targets' words, with the ``vocabulary`` that gives their ids."""
    count = len(sources)
    grid = np.zeros((count, *grid_shape), np.float32)
    for row, found in enumerate(grids):
        if found is not None:
            grid[row] = found
    inputs = outputs = lengths = None
    if keyphrases is not None:
        assert vocabulary is not None
        said = []
        for source, words in zip(sources, keyphrases, strict=True):
            own = {word: len(vocabulary) + n for n, word in enumerate(source.extra)}
            said.append([*(vocabulary.get(word, own.get(word, UNK)) for word in words), EOS])
        inputs = _pad([[BOS, *(vocabulary.get(word, UNK) for word in words)] for words in keyphrases])
        outputs, lengths = _pad(said), torch.tensor([len(words) for words in keyphrases])
    return MkpBatch(
        source_BN=_pad([s.ids for s in sources]),
        copies_BN=_pad([s.copies for s in sources]),
        types_BN=_pad([s.types for s in sources]),
        lengths_B=torch.tensor([len(s.ids) for s in sources]),
        grid_BRc=torch.from_numpy(grid),
        has_image_B=torch.tensor([g is not None for g in grids]),
        extra=max((len(s.extra) for s in sources), default=0),
        keys=tuple(keys),
        extra_words=tuple(s.extra for s in sources),
        inputs_BJ=inputs,
        outputs_BJ=outputs,
        keyphrase_lengths_B=lengths,
        classes_B=None if classes is None else torch.tensor(classes),
        matches_B=None if matches is None else torch.tensor(matches),
    )


def _pad(rows: Sequence[Sequence[int]]) -> Tensor:
    padded = np.full((len(rows), max(map(len, rows), default=0)), PAD, np.int64)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded)
