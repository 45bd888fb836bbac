"""MinHash signatures of texts (Broder 1997): the share of equal places estimates how many word triples two texts share.

All arithmetic is on integers, so that every machine computes the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["PLACES", "SHINGLE", "signature"]

PLACES = 125
"""Values of a signature: 25 bands of 5 in the index; the estimate's standard deviation is at most .045."""
SHINGLE = 3
"""Words that follow each other and are hashed together."""


def _coefficients() -> np.ndarray:
    digests = b"".join(hashlib.sha256(f"diptych minhash {n}".encode()).digest()[:16] for n in range(PLACES))
    numbers = np.frombuffer(digests, "<u8").reshape(PLACES, 2).copy()
    numbers[:, 0] |= np.uint64(1)
    return numbers


_MULTIPLY, _ADD = _coefficients().T


def signature(words: Sequence[str]) -> bytes:
    """``PLACES`` little-endian uint32 for the set of word triples; a text of fewer words is one of its own."""
    count = max(1, len(words) - SHINGLE + 1)
    shingles = {"\0".join(words[n : n + SHINGLE]) for n in range(count)}
    joined = b"".join(hashlib.blake2b(s.encode("utf-8", "replace"), digest_size=8).digest() for s in sorted(shingles))
    hashes = np.frombuffer(joined, "<u8")
    lowest = np.full(PLACES, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(hashes), 4096):
        block = hashes[start : start + 4096, None] * _MULTIPLY + _ADD
        lowest = np.minimum(lowest, block.min(0))
    return (lowest >> np.uint64(32)).astype("<u4").tobytes()
