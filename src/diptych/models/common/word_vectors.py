"""Word vectors of a version: the fits ``word2vec`` and ``vectors``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from diptych.exceptions import UsageError

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["VectorFit", "word_vectors"]

VectorFit = Literal["vectors", "word2vec"]


def word_vectors(version: Version, fit: VectorFit, size: int) -> tuple[list[str], np.ndarray]:
    """Words, and their vectors as float32 (words, size); words that the fit knows without a vector are left out.

    :class:`UsageError` when the fit's vectors have another size.
    """
    table = version.table(fit)
    rows = [
        (w, v) for w, v in zip(table["word"].to_pylist(), table["vector"].to_pylist(), strict=True) if v is not None
    ]
    sizes = sorted({len(v) for _, v in rows})
    if sizes and sizes != [size]:
        raise UsageError(
            f"{fit} of {version!r} has vectors of {', '.join(map(str, sizes))} numbers, the model is set to "
            f"word: {size}; set word, or give {fit} vectors of that size in the recipe"
        )
    return [w for w, _ in rows], np.array([v for _, v in rows], np.float32).reshape(len(rows), size)
