"""Whether two thumbnails show the same picture: correlation of grey on aligned pixels, and equal colours.

A picture cropped by a few per cent a side is a slightly enlarged view of the other; one thumbnail is
therefore compared with several enlargements of the other (:func:`same_picture`), or, when a window's hash
proposed the pair, with the enlargement that fits best (:func:`crop_of`). Of a picture and its copy without colour the
colours cannot agree: there grey has to correlate more. All sums are of integers below 2**53,
so that every machine decides alike.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from diptych.stages.perceptual import CHROMA_SIDE, GREY_SIDE, THUMBNAIL_BYTES

__all__ = ["crop_of", "same_picture"]

_CROPS = (0.0, 0.02, 0.04)
"""Shares cut off each side that are tried."""
_COLOURLESS = 2
"""Levels around 128 within which all colour of a grey picture stays."""
_LEAST_WITHOUT_COLOUR = 0.95
"""Least correlation of grey when one of the two has no colour."""
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
    colour_free = _colourless(first) ^ _colourless(second)
    grey, side = GREY_SIDE**2, GREY_SIDE
    colour = np.abs(first[:, grey:THUMBNAIL_BYTES].astype(np.int64) - second[:, grey:THUMBNAIL_BYTES]).sum(1)
    a = first[:, :grey].astype(np.int64).reshape(-1, side, side)
    b = second[:, :grey].astype(np.int64).reshape(-1, side, side)
    needed = np.where(colour_free, max(least, _LEAST_WITHOUT_COLOUR), least)
    alike = _alike(a, b, needed)
    for crop in _CROPS[1:]:
        alike |= _alike(_enlarged(a, crop), b, needed) | _alike(a, _enlarged(b, crop), needed)
    return alike & (colour_free | (colour <= most_chroma * 2 * CHROMA_SIDE**2))


def _colourless(thumbnails: np.ndarray) -> np.ndarray:
    """Which of (n, THUMBNAIL_BYTES) have no colour anywhere."""
    colour = thumbnails[:, GREY_SIDE**2 : THUMBNAIL_BYTES].astype(np.int16)
    return np.abs(colour - 128).max(axis=1, initial=0) <= _COLOURLESS


def _alike(a: np.ndarray, b: np.ndarray, least: np.ndarray) -> np.ndarray:
    n = a[0].size if len(a) else 1
    x, y = a.reshape(len(a), -1), b.reshape(len(b), -1)
    sx, sy = x.sum(1), y.sum(1)
    cov = n * (x * y).sum(1) - sx * sy
    vx, vy = n * (x * x).sum(1) - sx * sx, n * (y * y).sum(1) - sy * sy
    flat = (vx < _LEAST_VARIANCE) | (vy < _LEAST_VARIANCE)
    strong = (cov > 0) & (cov.astype(np.float64) ** 2 >= least**2 * vx.astype(np.float64) * vy.astype(np.float64))
    near = np.abs(x - y).sum(1) <= 3 * n
    return np.where(flat, near, strong)


_EDGES = tuple(n / 50 for n in range(7))
"""Shares tried off each side when the best window is searched: 0 to 12 %."""
_WORTH_SEARCHING = 0.4


def crop_of(whole: np.ndarray, part: np.ndarray, least_correlation: float, most_chroma: float) -> np.ndarray:
    """For uint8 arrays of shape (n, THUMBNAIL_BYTES), which rows of ``part`` show a window of ``whole``.

    The window is searched from 7 % off each side, columns and rows in turn, twice.
    """
    rows = zip(whole, part, strict=True)
    return np.array([_is_crop(a, b, least_correlation, most_chroma) for a, b in rows], bool)


def _is_crop(whole: np.ndarray, part: np.ndarray, least: float, most_chroma: float) -> bool:
    grey, side = GREY_SIDE**2, GREY_SIDE
    a, b = (x[:grey].astype(np.float64).reshape(side, side) for x in (whole, part))
    places = [(left, right) for left in _EDGES for right in _EDGES]
    rows = columns = places.index((0.08, 0.08))
    windows = _windows(side)
    colour_free = bool(_colourless(whole[None])[0] ^ _colourless(part[None])[0])
    score = 0.0
    for turn in range(2):
        across = _scores((windows[rows] @ a) @ windows.transpose(0, 2, 1), b)
        columns = int(across.argmax())
        if turn == 0 and across[columns] < _WORTH_SEARCHING**2:
            return False
        down = _scores(windows @ (a @ windows[columns].T), b)
        rows = int(down.argmax())
        score = float(down[rows])
    if score < (max(least, _LEAST_WITHOUT_COLOUR) if colour_free else least) ** 2:
        return False
    if colour_free:
        return True
    size, zoom = CHROMA_SIDE, _windows(CHROMA_SIDE)
    difference = 0.0
    for n in range(2):
        planes = (x[grey + n * size**2 : grey + (n + 1) * size**2].astype(np.float64) for x in (whole, part))
        first, second = (p.reshape(size, size) for p in planes)
        difference += float(np.abs(np.rint(zoom[rows] @ first @ zoom[columns].T / 65536) - second).sum())
    return difference <= most_chroma * 2 * size**2


def _scores(views: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Signed squared correlation of each view (in 1/65536) with ``part``."""
    n = part.size
    x, y = np.rint(views.reshape(len(views), -1) / 4096), part.ravel()
    sx, sy = x.sum(1), y.sum()
    cov = n * (x @ y) - sx * sy
    spread = (n * (x * x).sum(1) - sx * sx) * (n * (y @ y) - sy * sy)
    return np.where(cov > 0, cov * cov / np.maximum(spread, 1.0), 0.0)


@cache
def _windows(side: int) -> np.ndarray:
    """Resampling matrices (49, side, side), in 1/256, one for each pair of shares off the two ends."""
    return np.stack([_matrix(side, left, right) for left in _EDGES for right in _EDGES]).astype(np.float64)


@cache
def _zoom(crop: float) -> np.ndarray:
    return _matrix(GREY_SIDE, crop, crop)


def _matrix(side: int, left: float, right: float) -> np.ndarray:
    """Rows that sample [left, 1 - right] of ``side`` pixels linearly at as many places, in 1/256."""
    places = (np.arange(side) + 0.5) * (1 - left - right) + left * side - 0.5
    low = np.clip(np.floor(places).astype(int), 0, side - 2)
    weight = np.clip(np.rint((places - low) * 256).astype(np.int64), 0, 256)
    matrix = np.zeros((side, side), np.int64)
    rows = np.arange(side)
    matrix[rows, low] = 256 - weight
    matrix[rows, low + 1] += weight
    return matrix


def _enlarged(planes: np.ndarray, crop: float) -> np.ndarray:
    zoom = _zoom(crop)
    return (zoom @ planes @ zoom.T + (1 << 15)) >> 16
