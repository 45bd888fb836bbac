"""Whether two thumbnails show the same picture: correlation of grey on aligned pixels, and equal colours.

A picture cropped by a few per cent a side is a slightly enlarged view of the other; one thumbnail is
therefore compared with several enlargements of the other. All sums are of integers below 2**53, so that
every machine decides alike.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from diptych.stages.perceptual import CHROMA_SIDE, GREY_SIDE, THUMBNAIL_BYTES

__all__ = ["same_picture"]

_CROPS = (0.0, 0.02, 0.04)
"""Shares cut off each side that are tried."""
_LEAST_VARIANCE = 4 * GREY_SIDE**4
"""Below a standard deviation of two grey levels there is nothing to correlate."""


def same_picture(
    first: np.ndarray, second: np.ndarray, least_correlation: float, most_chroma: float, block: int = 4096
) -> np.ndarray:
    """For uint8 arrays of shape (n, THUMBNAIL_BYTES), which rows show the same picture.

    ``least_correlation`` is the square root of the explained share of grey variance at the best alignment;
    ``most_chroma`` bounds the mean absolute difference of the colour planes, in levels of 255.
    """
    found = [
        _decide(first[i : i + block], second[i : i + block], least_correlation, most_chroma)
        for i in range(0, len(first), block)
    ]
    return np.concatenate(found) if found else np.zeros(0, bool)


def _decide(first: np.ndarray, second: np.ndarray, least: float, most_chroma: float) -> np.ndarray:
    grey, side = GREY_SIDE**2, GREY_SIDE
    colour = np.abs(first[:, grey:THUMBNAIL_BYTES].astype(np.int64) - second[:, grey:THUMBNAIL_BYTES]).sum(1)
    a = first[:, :grey].astype(np.int64).reshape(-1, side, side)
    b = second[:, :grey].astype(np.int64).reshape(-1, side, side)
    alike = _alike(a, b, least)
    for crop in _CROPS[1:]:
        alike |= _alike(_enlarged(a, crop), b, least) | _alike(a, _enlarged(b, crop), least)
    return alike & (colour <= most_chroma * 2 * CHROMA_SIDE**2)


def _alike(a: np.ndarray, b: np.ndarray, least: float) -> np.ndarray:
    n = a[0].size if len(a) else 1
    x, y = a.reshape(len(a), -1), b.reshape(len(b), -1)
    sx, sy = x.sum(1), y.sum(1)
    cov = n * (x * y).sum(1) - sx * sy
    vx, vy = n * (x * x).sum(1) - sx * sx, n * (y * y).sum(1) - sy * sy
    flat = (vx < _LEAST_VARIANCE) | (vy < _LEAST_VARIANCE)
    strong = (cov > 0) & (cov.astype(np.float64) ** 2 >= least**2 * vx.astype(np.float64) * vy.astype(np.float64))
    near = np.abs(x - y).sum(1) <= 3 * n
    return np.where(flat, near, strong)


@cache
def _zoom(crop: float) -> np.ndarray:
    """Rows that sample [crop, 1 - crop] of 32 pixels linearly at 32 places, in 1/256."""
    places = (np.arange(GREY_SIDE) + 0.5) * (1 - 2 * crop) + crop * GREY_SIDE - 0.5
    low = np.clip(np.floor(places).astype(int), 0, GREY_SIDE - 2)
    weight = np.clip(np.rint((places - low) * 256).astype(np.int64), 0, 256)
    matrix = np.zeros((GREY_SIDE, GREY_SIDE), np.int64)
    rows = np.arange(GREY_SIDE)
    matrix[rows, low] = 256 - weight
    matrix[rows, low + 1] += weight
    return matrix


def _enlarged(planes: np.ndarray, crop: float) -> np.ndarray:
    zoom = _zoom(crop)
    return (zoom @ planes @ zoom.T + (1 << 15)) >> 16
