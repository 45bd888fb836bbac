"""Boxes and what lies between them: pure functions over many pictures at once, NumPy only, in float64.

Boxes are ``(x1, y1, x2, y2)`` in pixels, x2 and y2 exclusive, x to the right and y down. Arrays are padded:
``boxes`` of shape (N, K, 4), ``valid`` (N, K) says which of the K are real. What is computed between two boxes
does not depend on the padding or on the other boxes.

The predicate from box a to box b, the first that holds:

=============  ==================================================================================
``contains``   at least ``inside`` of b's area lies in a, and less than that of a's area in b
``inside``     the converse
``overlaps``   the centres are less than ``near`` apart on both axes; or the boxes are equal enough
               that each contains the other
``left of``    a's centre lies left of b's, and the axes' larger distance is the horizontal one
``right of``   the converse
``above``      a's centre lies above b's, and the axes' larger distance is the vertical one
``below``      the converse
=============  ==================================================================================

Distances of centres are in units of the two boxes' mean width (horizontally) or mean height (vertically); equal
distances count as horizontal. Every pair has exactly one predicate, and :data:`CONVERSE` gives that of (b, a).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "CONVERSE",
    "PREDICATES",
    "adjacency",
    "areas",
    "components",
    "intersections",
    "iou",
    "padded",
    "predicates",
    "suppressed",
]

PREDICATES = ("contains", "inside", "overlaps", "left of", "right of", "above", "below")
"""Names by the codes that :func:`predicates` gives."""
CONVERSE = {
    "contains": "inside", "inside": "contains", "overlaps": "overlaps",
    "left of": "right of", "right of": "left of", "above": "below", "below": "above",
}  # fmt: skip
"""The predicate from b to a, given that from a to b."""


def padded(boxes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of boxes (k_n, 4) as ``boxes`` (N, K, 4) and ``valid`` (N, K); K is the longest list's length."""
    most = max((len(b) for b in boxes), default=0)
    filled = np.zeros((len(boxes), most, 4), np.float64)
    valid = np.zeros((len(boxes), most), bool)
    for n, some in enumerate(boxes):
        filled[n, : len(some)] = np.asarray(some, np.float64).reshape(-1, 4)
        valid[n, : len(some)] = True
    return filled, valid


def areas(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) -> (...): width times height, 0 where a box has none."""
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Areas that boxes (..., A, 4) share with boxes (..., B, 4), of shape (..., A, B)."""
    low = np.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = np.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., A, 4) with boxes (..., B, 4); 0 where both have no area."""
    shared = intersections(a, b)
    union = areas(a)[..., :, None] + areas(b)[..., None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppressed(boxes: np.ndarray, threshold: float, most: int) -> np.ndarray:
    """Places of the first ``most`` boxes (K, 4), best first, whose IoU with none kept before is above the threshold."""
    kept: list[int] = []
    for n in range(len(boxes)):
        if len(kept) == most:
            break
        if not kept or iou(boxes[n : n + 1], boxes[kept]).max() <= threshold:
            kept.append(n)
    return np.array(kept, np.int64)


def adjacency(overlap: np.ndarray, valid: np.ndarray, threshold: float) -> np.ndarray:
    """Which boxes are related: IoU (N, K, K) strictly above the threshold, no box with itself, no padding."""
    related = (overlap > threshold) & valid[:, :, None] & valid[:, None, :]
    return related & ~np.eye(valid.shape[1], dtype=bool)


def components(related: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The connected component of each box, numbered by first member from 0; a single box is one; -1 at padding."""
    number, most = valid.shape
    labels = np.broadcast_to(np.arange(most), (number, most))
    while most:
        nearby = np.where(related, labels[:, None, :], most).min(axis=2)
        lower = np.minimum(labels, nearby)
        lower = np.take_along_axis(lower, lower, axis=1)  # a label is a member of the same component: jump there
        if np.array_equal(lower, labels):
            break
        labels = lower
    first = valid & (labels == np.arange(most))
    order = np.cumsum(first, axis=1) - 1
    return np.where(valid, np.take_along_axis(order, labels, axis=1), -1)


def predicates(boxes: np.ndarray, *, inside: float = 0.9, near: float = 0.25) -> np.ndarray:
    """Codes into :data:`PREDICATES` from each of the boxes (..., K, 4) to each, (..., K, K) int8."""
    shared, area = intersections(boxes, boxes), areas(boxes)
    holds = (shared >= inside * area[..., None, :]) & (area[..., None, :] > 0)  # row contains column
    held = np.swapaxes(holds, -1, -2)
    right, down = (_distance(boxes[..., n], boxes[..., n + 2]) for n in (0, 1))
    level = np.abs(right) >= np.abs(down)
    close = (np.abs(right) < near) & (np.abs(down) < near)
    found = np.where(level, np.where(right > 0, 3, 4), np.where(down > 0, 5, 6))
    found = np.where(close | (holds & held) | ((right == 0) & (down == 0)), 2, found)
    found = np.where(holds & ~held, 0, np.where(held & ~holds, 1, found))
    return found.astype(np.int8)


def _distance(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Signed distance from the row's centre to the column's, in mean lengths."""
    centre, length = (low + high) / 2, high - low
    apart = centre[..., None, :] - centre[..., :, None]
    mean = (length[..., None, :] + length[..., :, None]) / 2
    return np.divide(apart, mean, out=np.where(apart == 0, 0.0, np.copysign(np.inf, apart)), where=mean > 0)
