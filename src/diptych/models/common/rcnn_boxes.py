"""Anchors, box coding and proposals as detectron2 has them: continuous coordinates, no pixel added anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

__all__ = ["anchors", "decode", "inside", "levels", "propose"]

_LARGEST = math.log(1000.0 / 16)
"""Bound of the predicted logarithms of width and height ratios."""


def anchors(maps: Sequence[Tensor], strides: Sequence[int], sizes: Sequence[Sequence[float]]) -> list[Tensor]:
    """Of each map (N, C, h, w) the anchors (h * w * A, 4): at each place each size with height/width 1/2, 1 and 2."""
    found = []
    for made, stride, some in zip(maps, strides, sizes, strict=True):
        cells = []
        for size in some:
            for ratio in (0.5, 1.0, 2.0):
                wide = math.sqrt(size**2.0 / ratio)
                high = ratio * wide
                cells.append([-wide / 2.0, -high / 2.0, wide / 2.0, high / 2.0])
        rows, columns = (torch.arange(n, dtype=torch.float32, device=made.device) * stride for n in made.shape[-2:])
        down, right = torch.meshgrid(rows, columns, indexing="ij")
        places = torch.stack([right, down, right, down], dim=-1).reshape(-1, 1, 4)
        found.append((places + torch.tensor(cells, device=made.device)).reshape(-1, 4))
    return found


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """(P, 4 * C) predicted offsets of boxes (P, 4), in float32 -> (P, C, 4)."""
    deltas = deltas.float()
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size
    wide, high = size[:, :1], size[:, 1:]
    across = deltas[:, 0::4] / weights[0] * wide + centre[:, :1]
    down = deltas[:, 1::4] / weights[1] * high + centre[:, 1:]
    wide = torch.exp((deltas[:, 2::4] / weights[2]).clamp(max=_LARGEST)) * wide
    high = torch.exp((deltas[:, 3::4] / weights[3]).clamp(max=_LARGEST)) * high
    return torch.stack([across - 0.5 * wide, down - 0.5 * high, across + 0.5 * wide, down + 0.5 * high], dim=-1)


def inside(boxes: Tensor, counts: Sequence[int], sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Boxes (P, C, 4) clipped to their pictures of (h, w), of which the first has ``counts[0]`` rows, and so on."""
    ends = np.repeat(np.array([(w, h, w, h) for h, w in sizes], np.float32), counts, axis=0)
    return boxes.clamp(min=0).minimum(torch.from_numpy(ends).to(boxes.device)[:, None])


def propose(
    boxes: Sequence[Tensor], logits: Sequence[Tensor], size: tuple[int, int], before: int, after: int
) -> Tensor:
    """The ``after`` best boxes (P, 4) of one picture: per level the ``before`` best, clipped, without area none, NMS.

    ``boxes`` and ``logits`` are one tensor a level, (n, 4) and (n,).
    """
    best = [given.topk(min(before, len(given))) for given in logits]
    scores = torch.cat([b.values for b in best])
    places = torch.cat([some[b.indices] for some, b in zip(boxes, best, strict=True)])
    level = torch.cat([torch.full_like(b.indices, n) for n, b in enumerate(best)])
    usable = torch.isfinite(places).all(dim=1) & torch.isfinite(scores)
    clipped = clip_boxes_to_image(places, size)
    usable &= (clipped[:, 2] - clipped[:, 0] > 0) & (clipped[:, 3] - clipped[:, 1] > 0)
    clipped, scores, level = clipped[usable], scores[usable], level[usable]
    return clipped[batched_nms(clipped, scores, level, 0.7)[:after]]


def levels(boxes: Tensor) -> Tensor:
    """The pyramid's map (0 to 3, strides 4 to 32) on which each box is pooled: 224 pixels belong to stride 16."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    return torch.floor(4 + torch.log2(sides / 224 + 1e-8)).clamp(2, 5).to(torch.int64) - 2
