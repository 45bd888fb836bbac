"""Small descriptions of a picture that survive recompression and resizing: perceptual hash, thumbnail, uniformity.

All arithmetic is on integers, so that every machine computes the same bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

__all__ = ["CHROMA_SIDE", "GREY_SIDE", "INSETS", "THUMBNAIL_BYTES", "phash", "thumbnail", "uniformity", "window_hashes"]

GREY_SIDE = 32
"""Side of a thumbnail's grey plane."""
CHROMA_SIDE = 8
"""Side of its two colour planes."""
THUMBNAIL_BYTES = GREY_SIDE**2 + 2 * CHROMA_SIDE**2
INSETS = (0.05, 0.075, 0.1)
"""Shares cut off each side of the windows that are hashed too."""


@cache
def _cosines(size: int, kept: int) -> np.ndarray:
    """The lowest ``kept`` rows of the DCT-II matrix in fixed point (2**14)."""
    k, n = np.arange(kept)[:, None], np.arange(size)[None]
    return np.rint(np.cos(np.pi * k * (2 * n + 1) / (2 * size)) * (1 << 14)).astype(np.int64)


def phash(image: Image.Image, inset: float = 0.0) -> str:
    """The 64-bit DCT hash of an RGB picture as 16 hex digits (as ImageHash's ``phash``, in integers).

    Grey, 32x32, two-dimensional DCT, the 8x8 lowest frequencies; a bit says whether one is above their median.
    ``inset`` is the share of the picture to leave out at each side.
    """
    w, h = image.size
    box = (w * inset, h * inset, w * (1 - inset), h * (1 - inset))
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS, box=box), np.int64)
    cosines = _cosines(32, 8)
    low = (cosines @ grey @ cosines.T).ravel()
    middle = np.sort(low)[31:33].sum()
    return f"{int.from_bytes(np.packbits(2 * low > middle).tobytes(), 'big'):016x}"


def window_hashes(image: Image.Image) -> list[str]:
    """Hashes of the picture's inner windows: what a copy cropped on all sides looks like as a whole."""
    grey = image.convert("L")
    return [phash(grey, inset) for inset in INSETS]


def thumbnail(image: Image.Image) -> bytes:
    """32x32 grey values, then 8x8 Cb and 8x8 Cr: what near duplicates are confirmed on."""
    small = image.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX).convert("YCbCr")
    grey, *colours = small.split()
    planes = [grey, *(c.resize((CHROMA_SIDE, CHROMA_SIDE), Image.Resampling.BOX) for c in colours)]
    return b"".join(p.tobytes() for p in planes)


def uniformity(image: Image.Image, tolerance: int = 8) -> float:
    """The share of a 64x64 reduction whose three channels all lie within ``tolerance`` of the median colour."""
    small = np.asarray(image.resize((64, 64), Image.Resampling.BOX), np.int16).reshape(-1, 3)
    near = (np.abs(small - np.sort(small, axis=0)[len(small) // 2]) <= tolerance).all(axis=1)
    return int(near.sum()) / len(small)
