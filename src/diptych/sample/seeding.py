"""Randomness of the sample site: every generator is seeded from a hash of what it is for, never from global state."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def _digest(seed: int, purpose: tuple[object, ...]) -> bytes:
    text = "\x1f".join(["diptych-sample-1", str(seed), *map(str, purpose)])
    return hashlib.sha256(text.encode()).digest()


def rng(seed: int, *purpose: object) -> random.Random:
    """Return the generator for one purpose, e.g. `rng(seed, index, "body")`; the same arguments give the same
    numbers.
    """
    return random.Random(int.from_bytes(_digest(seed, purpose)[:8], "big"))


def array_rng(seed: int, *purpose: object) -> np.random.Generator:
    """Return the NumPy generator for one purpose (textures and noise)."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(seed, purpose)[:16], "big")))


def token(seed: int, *purpose: object) -> str:
    """Return eight hexadecimal digits that look like a content system's file names."""
    return _digest(seed, purpose)[:4].hex()


def permuted(seed: int, block: int, size: int, purpose: str) -> list[int]:
    """Return a permutation of range(size) that belongs to one block of documents."""
    order = list(range(size))
    rng(seed, purpose, block).shuffle(order)
    return order
