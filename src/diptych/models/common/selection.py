"""Which of a detector's (proposal, class) pairs become regions.

Non-maximum suppression runs within each class, over pairs in order of score. It is computed over a prefix of that
order, as long as needed: a pair never suppresses a better one, so the prefix's survivors are those of all pairs. It
takes the float32 arithmetic of torchvision's ``batched_nms`` on a processor, whatever the device and the prefix.

All of it is NumPy's but the suppression itself: a small operator of torch costs more than its arithmetic, and each
gives up the interpreter's lock, for which a build's decoding threads wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

__all__ = ["Chosen", "Mode", "Selection", "select", "select_there"]

Mode = Literal["threshold", "fixed", "between"]
_PREFIX = 512
_SHORTLIST = 4000
"""Pairs that leave a device for a picture, unless they turn out to be too few."""
_OFFSETS = 1000
"""Up to so many pairs torchvision keeps classes apart by moving their boxes, else one by one; digits depend on it."""
_SMALLEST = 1e-2


@dataclass(frozen=True)
class Selection:
    """How many regions a picture gives, best first.

    ``threshold``: all whose score is strictly above it, at most ``most``. ``fixed``: the best ``count`` whatever their
    scores. ``between``: those above the threshold, but at least ``least`` and at most ``most`` (bottom-up attention).
    ``once`` keeps of one proposal only the best class that suppression left it, so that no feature occurs twice: not
    always its best one, which a better box of that class may have suppressed.
    """

    mode: Mode = "threshold"
    threshold: float = 0.55
    count: int = 36
    least: int = 10
    most: int = 100
    nms: float = 0.5
    once: bool = True

    @property
    def limit(self) -> int:
        """The largest number of regions."""
        return self.count if self.mode == "fixed" else self.most


@dataclass(frozen=True)
class Chosen:
    """Regions by falling score: (K,) rows of the proposals and classes, scores, and boxes (K, 4)."""

    rows: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


def select(boxes_pc4: np.ndarray, scores_pc: np.ndarray, how: Selection) -> Chosen:
    """The regions of one picture.

    ``boxes_pc4`` are the boxes of each proposal for each class (or one for all), clipped to the picture; neither has
    the background. Both float32.
    """
    scores, floor, classes = scores_pc.reshape(-1), _floor(how), scores_pc.shape[1]
    pairs = np.flatnonzero(scores > floor)
    boxes = boxes_pc4[pairs // classes, pairs % classes if boxes_pc4.shape[1] > 1 else 0]
    return _select(pairs, boxes, scores[pairs], classes, how)[0]


def select_there(boxes_pc4: Tensor, scores_pc: Tensor, how: Selection) -> Chosen:
    """The same of tensors on a device, of which only the best pairs leave it."""
    scores, classes = scores_pc.flatten(), scores_pc.shape[1]
    best = scores.sort(descending=True, stable=True)[1][:_SHORTLIST]
    boxes = boxes_pc4[best // classes, best % classes if boxes_pc4.shape[1] > 1 else 0].cpu().numpy()
    pairs, values = best.cpu().numpy(), scores[best].cpu().numpy()
    above = values > _floor(how)
    found, enough = _select(pairs[above], boxes[above], values[above], classes, how)
    if enough or len(best) == len(scores) or not above.all():
        return found
    return select(boxes_pc4.cpu().numpy(), scores_pc.cpu().numpy(), how)


def _floor(how: Selection) -> float:
    return how.threshold if how.mode == "threshold" else 0.0


def _select(
    pairs: np.ndarray, boxes: np.ndarray, scores: np.ndarray, classes: int, how: Selection
) -> tuple[Chosen, bool]:
    """Regions of these pairs, numbered through proposals and their classes; and whether they are all that may be."""
    large = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= _SMALLEST).all(axis=1))
    order = large[np.argsort(-scores[large], kind="stable")]
    pairs, boxes, scores = pairs[order], boxes[order], scores[order]
    length = _PREFIX
    while True:
        kept = _apart(boxes, scores, pairs % classes, how.nms, length)
        if how.once:
            kept = kept[np.sort(np.unique(pairs[kept] // classes, return_index=True)[1])]
        if len(kept) >= how.limit or length >= len(pairs):
            break
        length *= 4
    number = how.limit
    if how.mode == "between":
        number = min(max(int((scores[kept] > how.threshold).sum()), how.least), how.most)
    enough, kept = len(kept) >= how.limit, kept[:number]
    return Chosen(pairs[kept] // classes, pairs[kept] % classes, scores[kept], boxes[kept]), enough


def _apart(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, most: float, length: int) -> np.ndarray:
    """Which of the first ``length`` boxes no better one of their class overlaps by more than ``most``."""
    some = scores[:length]
    if len(boxes) <= _OFFSETS:
        apart = boxes + (classes.astype(np.float32) * (boxes.max(initial=0) + np.float32(1)))[:, None]
        return np.sort(_nms(apart[:length], some, most))
    each = [np.flatnonzero(classes[:length] == c) for c in np.unique(classes[:length])]
    return np.sort(np.concatenate([rows[_nms(boxes[rows], some[rows], most)] for rows in each]))


def _nms(boxes: np.ndarray, scores: np.ndarray, most: float) -> np.ndarray:
    return nms(torch.from_numpy(boxes), torch.from_numpy(scores), most).numpy()
