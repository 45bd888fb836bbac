"""Which of a detector's (proposal, class) pairs become regions.

Non-maximum suppression runs within each class, over pairs in order of score. It is computed over a prefix of that
order, as long as needed: a pair never suppresses a better one, so the prefix's survivors are those of all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import batched_nms, remove_small_boxes

__all__ = ["Mode", "Selection", "select"]

Mode = Literal["threshold", "fixed", "between"]
_PREFIX = 4000


@dataclass(frozen=True)
class Selection:
    """How many regions a picture gives, best first.

    ``threshold``: all whose score is strictly above it, at most ``most``. ``fixed``: the best ``count`` whatever their
    scores. ``between``: those above the threshold, but at least ``least`` and at most ``most`` (bottom-up attention).
    ``once`` keeps of one proposal only its best class, so that no feature occurs twice.
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


def select(boxes_pc4: Tensor, scores_pc: Tensor, how: Selection) -> tuple[Tensor, Tensor]:
    """Indices of proposals and of classes of the chosen pairs, by falling score; on the device of the scores.

    ``boxes_pc4`` are the boxes of each proposal for each class (or one for all), clipped to the picture; neither has
    the background.
    """
    classes = scores_pc.shape[1]
    scores, boxes = scores_pc.flatten(), boxes_pc4.expand(-1, classes, 4).reshape(-1, 4)
    floor = how.threshold if how.mode == "threshold" else 0.0
    order = torch.where(scores > floor)[0]
    order = order[remove_small_boxes(boxes[order], min_size=1e-2)]
    order = order[scores[order].sort(descending=True, stable=True)[1]]
    length = _PREFIX
    while True:
        part = order[:length]
        kept = part[batched_nms(boxes[part], scores[part], part % classes, how.nms).sort()[0]]
        if how.once:
            kept = _first_of_each(kept, kept // classes)
        if len(kept) >= how.limit or length >= len(order):
            break
        length *= 4
    number = how.limit
    if how.mode == "between":
        number = min(max(int((scores[kept] > how.threshold).sum()), how.least), how.most)
    kept = kept[:number]
    return kept // classes, kept % classes


def _first_of_each(values: Tensor, groups: Tensor) -> Tensor:
    """Those values that come first in their group."""
    order = groups.sort(stable=True)[1]
    in_order = groups[order]
    first = torch.ones_like(in_order, dtype=torch.bool)
    first[1:] = in_order[1:] != in_order[:-1]
    return values[order[first].sort()[0]]
