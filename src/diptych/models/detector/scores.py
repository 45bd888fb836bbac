"""How good a detector is on pictures whose objects are known: AP50 by class, accuracy of attributes.

Average precision as COCO computes it at IoU 0.5: within a class, detections of all pictures by falling score each
take the free object of their picture they overlap most; precision is interpolated at 101 recalls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.ops import box_iou

from diptych.exceptions import UsageError
from diptych.models.common.detectors import Detector, Found
from diptych.models.detector.examples import Example, Examples, pixels

__all__ = ["Scores", "average_precision", "score", "score_found"]


@dataclass(frozen=True)
class Scores:
    """``ap50`` by class name, of classes that occur; shares of 0 to 1."""

    ap50: dict[str, float]
    attributes: float | None
    """Share of right attributes among objects that were found (IoU at least 0.5, right class, score at least 0.55)
    and whose attribute is known; None where there is none.
    """
    found: float
    """Share of all objects that such a region found."""
    false: float
    """Such regions on no object, for each picture."""
    pictures: int

    @property
    def mean(self) -> float:
        """Mean AP50 over classes."""
        return float(np.mean(list(self.ap50.values())))


def score(detector: Detector, examples: Examples, said: Callable[[int, int], None] = lambda done, of: None) -> Scores:
    """Run the detector over all pictures, eight at a time; :class:`UsageError` names one that it cannot see."""
    if detector.names[1:] != examples.classes:
        raise UsageError(
            f"the detector's classes are {', '.join(detector.names[1:6])}, ...; those of {examples.source} are"
            f" {', '.join(examples.classes[:5])}, ..."
        )
    found: list[Found] = []
    for start in range(0, len(examples.items), 8):
        found += detector([pixels(e, detector.network.fits) for e in examples.items[start : start + 8]])
        said(len(found), len(examples.items))
    return score_found(found, examples, detector.attributes)


def score_found(found: Sequence[Found], examples: Examples, attributes: Sequence[str], least: float = 0.55) -> Scores:
    """Scores of regions that were found in these pictures, one :class:`Found` a picture."""
    matches = [_matches(f, e) for f, e in zip(found, examples.items, strict=True)]
    every = np.concatenate([f.scores for f in found])
    labels = np.concatenate([f.labels for f in found])
    hit = np.concatenate([m >= 0 for m in matches])
    truth = np.concatenate([e.labels for e in examples.items])
    ap = {
        name: average_precision(every[labels == n], hit[labels == n], int((truth == n).sum()))
        for n, name in enumerate(examples.classes, 1)
        if (truth == n).any()
    }
    told = []
    for f, m, e in zip(found, matches, examples.items, strict=True):
        if f.attributes is not None:
            for row in np.flatnonzero((m >= 0) & (f.scores >= least)):
                wanted = int(e.attributes[m[row]])
                if wanted >= 0:
                    told.append(attributes[int(f.attributes[row])] == examples.attributes[wanted])
    sure = every >= least
    return Scores(
        ap,
        float(np.mean(told)) if told else None,
        float((hit & sure).sum() / max(1, len(truth))),
        float((~hit & sure).sum() / max(1, len(found))),
        len(found),
    )


def _matches(found: Found, example: Example) -> np.ndarray:
    """For each region, best score first, the object of its class it takes, or -1."""
    taken = np.full(len(found.labels), -1)
    if not len(example.labels) or not len(found.labels):
        return taken
    overlap = box_iou(torch.from_numpy(found.boxes), torch.from_numpy(example.boxes)).numpy()
    overlap[found.labels[:, None] != example.labels[None]] = 0
    for row in np.argsort(-found.scores, kind="stable"):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= 0.5:
            taken[row] = best
            overlap[:, best] = 0
    return taken


def average_precision(scores: np.ndarray, hits: np.ndarray, objects: int) -> float:
    """Mean over recalls 0, 0.01, ..., 1 of the best precision at that recall or beyond."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(right / objects, np.linspace(0, 1, 101), side="left")
    return float(np.append(best, 0.0)[np.minimum(at, len(best))].mean())
