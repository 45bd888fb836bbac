"""Boxes against annotated ones: recall of proposals, and average precision as COCO defines it.

COCO's protocol (Lin et al. 2014, pycocotools 2.0): per class and IoU threshold, detections of all pictures by falling
score each take the free annotated box of the same class with the highest IoU, if it reaches the threshold; precision
is made non-increasing and read at 101 recalls; classes without annotated boxes do not count; at most 100 detections of
a class a picture. A detection that takes no box but lies in a crowd of its class counts neither as right nor as wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from diptych.geometry import areas, intersections, iou

__all__ = ["Boxes", "Precision", "Recall", "average_precision", "proposal_recall"]

THRESHOLDS = tuple(round(0.5 + 0.05 * n, 2) for n in range(10))
"""COCO's IoU thresholds."""
_RECALLS = np.linspace(0, 1, 101)
_PER_CLASS = 100


@dataclass(frozen=True)
class Boxes:
    """One picture's boxes (K, 4) xyxy; class names and scores are there where precision is asked for.

    ``crowds`` (M, 4) are annotated boxes around many objects of the class ``crowd_names``.
    """

    boxes: np.ndarray
    names: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    crowds: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    crowd_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recall:
    """Share of the annotated boxes that one of the first ``count`` boxes of their picture covers."""

    count: int
    threshold: float
    recall: float
    annotated: int


@dataclass(frozen=True)
class Precision:
    """Average precision over classes: mean over COCO's thresholds, at IoU 0.5 and 0.75; classes with annotations."""

    ap: float
    ap50: float
    ap75: float
    classes: int
    annotated: int


def proposal_recall(
    found: Sequence[Boxes], annotated: Sequence[Boxes], counts: Sequence[int], threshold: float = 0.5
) -> list[Recall]:
    """Recall of the first so many boxes of each picture; a box may cover several annotated ones."""
    best: list[np.ndarray] = []  # of each picture (len(counts), annotated): the highest IoU among the first boxes
    for given, true in zip(found, annotated, strict=True):
        overlap = iou(true.boxes.reshape(-1, 4), given.boxes.reshape(-1, 4))
        best.append(np.stack([overlap[:, :count].max(axis=1, initial=0.0) for count in counts]))
    together = np.concatenate(best, axis=1) if best else np.zeros((len(counts), 0))
    total = together.shape[1]
    shares = (together >= threshold).sum(axis=1) / total if total else np.zeros(len(counts))
    return [Recall(n, threshold, float(share), total) for n, share in zip(counts, shares, strict=True)]


@dataclass
class _Class:
    """Annotated boxes and crowds of a class by picture, and its detections: score, picture, box."""

    truth: dict[int, np.ndarray] = field(default_factory=dict)
    crowds: dict[int, np.ndarray] = field(default_factory=dict)
    said: list[tuple[float, int, np.ndarray]] = field(default_factory=list)


def average_precision(found: Sequence[Boxes], annotated: Sequence[Boxes]) -> Precision:
    """Of detections, with scores and names, against annotated boxes with names; one :class:`Boxes` a picture each."""
    classes: dict[str, _Class] = defaultdict(_Class)
    for picture, (given, true) in enumerate(zip(found, annotated, strict=True)):
        for name in set(true.names):
            classes[name].truth[picture] = true.boxes[[other == name for other in true.names]]
        for name in set(true.crowd_names):
            classes[name].crowds[picture] = true.crowds[[other == name for other in true.crowd_names]]
        kept: dict[str, int] = defaultdict(int)
        for n in sorted(range(len(given.scores)), key=lambda n: -given.scores[n]):
            kept[given.names[n]] += 1
            if kept[given.names[n]] <= _PER_CLASS:
                classes[given.names[n]].said.append((given.scores[n], picture, given.boxes[n]))
    asked = [classes[name] for name in sorted(classes) if classes[name].truth]
    if not asked:
        return Precision(0.0, 0.0, 0.0, 0, 0)
    table = np.array([[_one(each, threshold) for threshold in THRESHOLDS] for each in asked])
    number = sum(len(boxes) for each in asked for boxes in each.truth.values())
    return Precision(float(table.mean()), float(table[:, 0].mean()), float(table[:, 5].mean()), len(table), number)


def _one(asked: _Class, threshold: float) -> float:
    """Average precision of one class at one threshold."""
    taken = {picture: np.zeros(len(boxes), bool) for picture, boxes in asked.truth.items()}
    right: list[bool] = []
    for _, picture, box in sorted(asked.said, key=lambda d: -d[0]):
        if picture in taken:
            overlap = np.where(taken[picture], -1.0, iou(box[None], asked.truth[picture])[0])
            best = int(overlap.argmax())
            if overlap[best] >= threshold:
                taken[picture][best] = True
                right.append(True)
                continue
        if picture not in asked.crowds or not _within(box, asked.crowds[picture], threshold):
            right.append(False)
    total = sum(len(boxes) for boxes in asked.truth.values())
    hits = np.cumsum(right)
    precision = np.maximum.accumulate((hits / np.arange(1, len(right) + 1))[::-1])[::-1]
    places = np.searchsorted(hits / total, _RECALLS, side="left")
    return float(np.append(precision, 0.0)[places].mean())  # recalls that are not reached have precision 0


def _within(box: np.ndarray, crowds: np.ndarray, threshold: float) -> bool:
    """Whether so large a share of the box lies in one of the crowds."""
    shared = intersections(box[None], crowds)[0]
    return bool((shared >= threshold * max(float(areas(box)), 1e-9)).any())
