"""The image graph encoder of HCSCL (Eq 13-17): objects that overlap become scenes.

Shape suffixes: B documents, Q objects, Z scenes, P images, d width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.common.masking import masked_max, masked_softmax

__all__ = ["ImageGraph", "ReadoutMax"]

ReadoutMax = Literal["component", "image", "all"]
"""Whose maximum joins a scene's mean: its own objects', its image's, or every object's as Eq 17 prints."""


class ImageGraph(nn.Module):
    """Edge weights, node update, readout; batched with padding, no loop over graphs."""

    def __init__(self, width: int, readout_max: ReadoutMax) -> None:
        super().__init__()
        self.readout_max: ReadoutMax = readout_max
        self.source, self.target = nn.Linear(width, width), nn.Linear(width, width, bias=False)  # halves of w2
        self.score = nn.Linear(width, 1, bias=False)  # w1
        self.neighbour = nn.Linear(width, width, bias=False)  # w3

    def forward(self, v1_BQd: Tensor, iou_BQQ: Tensor, scene_of_BQ: Tensor, image_of_BQ: Tensor,
                image_of_BZ: Tensor) -> Tensor:  # fmt: skip
        """v2 (B, Z, d): mean and maximum over each scene's updated objects; zeros at padded places."""
        nodes = F.relu(v1_BQd + self.edges(v1_BQd, iou_BQQ) @ self.neighbour(v1_BQd))  # Eq 15
        return self.readout(nodes, scene_of_BQ, image_of_BQ, image_of_BZ)

    def edges(self, v1_BQd: Tensor, iou_BQQ: Tensor) -> Tensor:
        """s_edge (B, Q, Q): over the neighbours of each object, not symmetric; zeros where it has none (Eq 13-14)."""
        joined = self.source(v1_BQd)[:, :, None] + self.target(v1_BQd)[:, None]
        feature_BQQ = self.score(F.leaky_relu(joined, 0.2))[..., 0]
        return masked_softmax(iou_BQQ * feature_BQQ, iou_BQQ > 0)

    def readout(self, nodes_BQd: Tensor, scene_of_BQ: Tensor, image_of_BQ: Tensor, image_of_BZ: Tensor) -> Tensor:
        """Eq 17 over a component."""
        z, d = image_of_BZ.shape[1], nodes_BQd.shape[2]
        place = torch.where(scene_of_BQ < 0, z, scene_of_BQ)[..., None]  # padding is collected behind the scenes
        empty = nodes_BQd.new_zeros(len(nodes_BQd), z + 1, d)
        total = empty.scatter_add(1, place.expand(-1, -1, d), nodes_BQd)[:, :z]
        count = empty[..., :1].scatter_add(1, place, torch.ones_like(nodes_BQd[..., :1]))[:, :z]
        if self.readout_max == "component":
            largest = empty.scatter_reduce(1, place.expand(-1, -1, d), nodes_BQd, "amax", include_self=False)[:, :z]
        elif self.readout_max == "image":
            same_BZQ = (image_of_BZ[:, :, None] == image_of_BQ[:, None]) & (image_of_BQ >= 0)[:, None]
            largest = _max_by(nodes_BQd, same_BZQ)
        else:
            largest = masked_max(nodes_BQd, image_of_BQ >= 0)[:, None].expand(-1, z, -1)
        return (total / count.clamp_min(1) + largest) * (image_of_BZ >= 0)[..., None]


def _max_by(nodes_BQd: Tensor, member_BZQ: Tensor) -> Tensor:
    """(B, Z, d): the largest value over each row's members."""
    (b, z, q), d = member_BZQ.shape, nodes_BQd.shape[2]
    repeated = nodes_BQd[:, None].expand(-1, z, -1, -1).reshape(b * z, q, d)
    return masked_max(repeated, member_BZQ.reshape(b * z, q)).view(b, z, d)
