"""Which documents are Chinese: three of every ten, at places that the seed decides."""

from __future__ import annotations

from diptych.sample.seeding import permuted

CHINESE_OF_TEN = 3


def language_place(seed: int, index: int) -> int:
    """Return a document's place in its ten: below CHINESE_OF_TEN it is Chinese, from there on English."""
    block, place = divmod(index, 10)
    return permuted(seed, block, 10, "languages")[place]
