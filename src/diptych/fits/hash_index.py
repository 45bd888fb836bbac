"""All pairs of 64-bit hashes within a Hamming distance, at a cost near linear in their number.

Multi-index hashing (Norouzi, Punjani, Fleet, CVPR 2012): the bits are cut into three bands; when two hashes
differ in at most eight bits, one band differs in at most two. For each band and each of the 232 masks of at
most two bits, the hashes whose band equals the masked band of another are compared in full. Ten million
random hashes share a band value with about five others, so that a mask costs a few gathers over the array.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

__all__ = ["BRUTE_FORCE_BELOW", "near_pairs"]

BRUTE_FORCE_BELOW = 4096
_BANDS = ((0, 21), (21, 21), (42, 22))
_BLOCK = 1 << 22


def near_pairs(hashes: np.ndarray, distance: int, *, brute_below: int = BRUTE_FORCE_BELOW) -> tuple[np.ndarray, ...]:
    """Rows i < j with Hamming distance <= ``distance`` (at most 8), sorted, and the distances.

    ``hashes`` is uint64 and its values should be distinct: equal ones are found too, at quadratic cost.
    """
    if not 0 <= distance <= 8:
        raise ValueError(f"distance must be 0..8, found {distance}")
    if len(hashes) < brute_below:
        first, second = _brute(hashes, distance)
    else:
        parts = [_band(hashes, distance, shift, width) for shift, width in _BANDS]
        codes = np.unique(np.concatenate([i * len(hashes) + j for i, j in parts]))
        first, second = codes // len(hashes), codes % len(hashes)
    return first, second, np.bitwise_count(hashes[first] ^ hashes[second]).astype(np.int64)


def _brute(hashes: np.ndarray, distance: int) -> tuple[np.ndarray, np.ndarray]:
    rows = max(1, _BLOCK // max(1, len(hashes)))
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(hashes), rows):
        near = np.bitwise_count(hashes[start : start + rows, None] ^ hashes[None]) <= distance
        i, j = np.nonzero(near)
        i = i + start
        found.append((i[i < j], j[i < j]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _band(hashes: np.ndarray, distance: int, shift: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose band differs in at most ``distance // 3`` bits and which are near in full."""
    values = ((hashes >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)
    order = np.argsort(values, kind="stable")
    ranked, full = values[order], hashes[order]
    offsets = np.zeros((1 << width) + 1, np.int64)
    np.cumsum(np.bincount(ranked, minlength=1 << width), out=offsets[1:])
    masks = [0] + [
        sum(1 << b for b in bits) for n in range(1, distance // 3 + 1) for bits in combinations(range(width), n)
    ]
    found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for mask in masks:
        other = ranked ^ mask
        if mask == 0:
            begin, end = np.arange(1, len(ranked) + 1), offsets[ranked + 1]
            source = np.arange(len(ranked))
        else:
            source = np.nonzero(ranked < other)[0]  # each pair of band values once
            begin, end = offsets[other[source]], offsets[other[source] + 1]
        some = end > begin
        found += _near(full, order, source[some], begin[some], end[some], distance)
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _near(
    full: np.ndarray, order: np.ndarray, source: np.ndarray, begin: np.ndarray, end: np.ndarray, distance: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each source row and its range of ranked rows, the pairs that are near, in blocks of bounded memory."""
    counts = end - begin
    total = np.cumsum(counts)
    found = []
    start = 0
    while start < len(source):
        base = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, base + _BLOCK, side="right")))
        n = counts[start:stop]
        left = np.repeat(source[start:stop], n)
        right = np.arange(int(n.sum())) - np.repeat(total[start:stop] - n - base, n) + np.repeat(begin[start:stop], n)
        near = np.bitwise_count(full[left] ^ full[right]) <= distance
        a, b = order[left[near]], order[right[near]]
        found.append((np.minimum(a, b), np.maximum(a, b)))
        start = stop
    return found
