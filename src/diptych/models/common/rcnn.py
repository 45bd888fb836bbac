"""Faster R-CNN in detectron2's layout on torchvision's operators: C4 and FPN, with and without attribute head.

The numbers are detectron2's (tests/unit/stages/test_detectron2.py): its preprocessing (the picture in BGR, resized by
Pillow as bytes, the mean taken off), anchors, box coding, suppression, RoIAlign. C4 pools 14x14 of the map at 1/16 and
runs res5 over each proposal; its feature is the mean of the result. FPN pools 7x7 of one of four maps; its feature is
what leaves the second of two layers. Attributes: Anderson et al. (2018), section 3.1, from the feature and an
embedding of the best class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align, roi_pool

from diptych.models.common.detectors import Input, Scored, finite_pictures
from diptych.models.common.rcnn_boxes import anchors, decode, inside, levels, propose
from diptych.models.common.rcnn_trunk import BLOCKS, Pyramid, Trunk, stage

__all__ = ["Rcnn", "RcnnSpec"]

_STRIDES = (4, 8, 16, 32, 64)
_TOGETHER = 128
"""Proposals that res5 sees at once: 400 MB; the 1,000 of eight pictures would be 25 GB."""


@dataclass(frozen=True)
class RcnnSpec:
    """A Faster R-CNN as detectron2's configurations describe it; the defaults are its model zoo's."""

    depth: int
    fpn: bool
    classes: int = 80
    attributes: Literal["", "predictor", "apart"] = ""
    """Where the attribute head's weights lie: in the box predictor (converted from Caffe), or apart (trained there)."""
    attribute_classes: int = 0
    mean: tuple[float, float, float] = (103.530, 116.280, 123.675)
    """Of blue, green and red."""
    anchor_sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    """At C4 all at one map, at FPN one a map."""
    hidden: int = 0
    """Channels of the proposal head; 0: as many as its input."""
    pool: Literal["align", "max"] = "align"
    samples: int = 0
    """Points a side in each cell of RoIAlign; 0: as many as there are pixels."""
    caffe_pool: bool = False
    dilated: bool = False


class AttributeHead(nn.Module):
    """Features (P, F) and class logits (P, C + 1), background last -> logits (P, A) of the attributes."""

    def __init__(self, features: int, spec: RcnnSpec) -> None:
        super().__init__()
        self.obj_embed = nn.Embedding(spec.classes + 1, 256)
        self.fc = nn.Sequential(nn.Linear(features + 256, 512), nn.ReLU())
        self.attr_score = nn.Linear(512, spec.attribute_classes)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        embedded = self.obj_embed(logits.argmax(dim=-1))
        return self.attr_score(self.fc(torch.cat([features, embedded], dim=1)))


class BoxPredictor(nn.Module):
    """Class logits (P, C + 1), background last, offsets (P, 4 C), and logits of attributes if they are made here."""

    def __init__(self, features: int, spec: RcnnSpec) -> None:
        super().__init__()
        self.cls_score = nn.Linear(features, spec.classes + 1)
        self.bbox_pred = nn.Linear(features, 4 * spec.classes)
        self.here = spec.attributes == "predictor"
        if self.here:
            self.cls_embedding = nn.Embedding(spec.classes + 1, features // 8)
            self.fc_attr = nn.Linear(features + features // 8, features // 4)
            self.attr_score = nn.Linear(features // 4, spec.attribute_classes + 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(features), self.bbox_pred(features)

    def attribute_logits(self, features: Tensor, logits: Tensor) -> Tensor:
        """(P, A): the last of the layer's outputs, "none", is left out."""
        both = torch.cat([features, self.cls_embedding(logits.argmax(dim=-1))], dim=1)
        return self.attr_score(functional.relu(self.fc_attr(both)))[:, :-1]


class Rcnn(nn.Module):
    """A network of :mod:`~diptych.models.common.detectors` with detectron2's names of weights."""

    def __init__(self, spec: RcnnSpec, *, min_side: int, max_side: int, proposals: int) -> None:
        super().__init__()
        self.spec, self.min_side, self.max_side, self.proposals = spec, min_side, max_side, proposals
        wide = 256 if spec.fpn else 1024
        self.features = 1024 if spec.fpn else 2048
        self.backbone = Pyramid(spec.depth) if spec.fpn else Trunk(spec.depth, caffe_pool=spec.caffe_pool)
        hidden = spec.hidden or wide
        count = 3 if spec.fpn else 3 * len(spec.anchor_sizes)
        head = {
            "conv": nn.Conv2d(wide, hidden, 3, padding=1),
            "objectness_logits": nn.Conv2d(hidden, count, 1),
            "anchor_deltas": nn.Conv2d(hidden, 4 * count, 1),
        }
        self.proposal_generator = nn.ModuleDict({"rpn_head": nn.ModuleDict(head)})
        heads: dict[str, nn.Module] = {"box_predictor": BoxPredictor(self.features, spec)}
        if spec.fpn:
            heads["box_head"] = nn.ModuleDict({"fc1": nn.Linear(256 * 7 * 7, 1024), "fc2": nn.Linear(1024, 1024)})
        else:
            heads["res5"] = stage(5, BLOCKS[spec.depth][3], dilated=spec.dilated)
        if spec.attributes == "apart":
            heads["attribute_predictor"] = AttributeHead(self.features, spec)
        self.roi_heads = nn.ModuleDict(heads)

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Height and width of the network's input for a picture."""
        scale = self.min_side * 1.0 / min(height, width)
        high, wide = (self.min_side * 1.0, scale * width) if height < width else (scale * height, self.min_side * 1.0)
        if max(high, wide) > self.max_side:
            scale = self.max_side * 1.0 / max(high, wide)
            high, wide = high * scale, wide * scale
        return int(high + 0.5), int(wide + 0.5)

    def fits(self, width: int, height: int) -> bool:
        """Whether a pixel is left on the shorter side, or the three that Caffe's pool needs."""
        return min(self.input_size(width, height)) >= (3 if self.spec.caffe_pool else 1)

    def prepare(self, picture: np.ndarray) -> Input:
        """BGR without its mean; for FPN padded with zeros to multiples of 32."""
        high, wide = self.input_size(picture.shape[1], picture.shape[0])
        resized = Image.fromarray(picture).resize((wide, high), Image.Resampling.BILINEAR)
        bgr = np.ascontiguousarray(np.asarray(resized)[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32)
        pixels = torch.from_numpy(bgr) - torch.tensor(self.spec.mean).reshape(3, 1, 1)
        if self.spec.fpn:
            pixels = functional.pad(pixels, (0, -wide % 32, 0, -high % 32))
        return Input(pixels, (high, wide))

    def score(self, images_nchw: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Scored]:
        """Each proposal's boxes for each class, in float32."""
        maps = self.backbone(images_nchw)
        proposals = self._propose(maps, sizes)
        features = self._pooled(maps, proposals)
        predictor: Any = self.roi_heads["box_predictor"]
        logits, deltas = predictor(features)
        attributes = None
        if predictor.here:
            attributes = predictor.attribute_logits(features, logits)
        elif self.spec.attributes:
            attributes = self.roi_heads["attribute_predictor"](features, logits)
        counts = [len(p) for p in proposals]
        boxes = inside(decode(deltas, torch.cat(proposals), (10.0, 10.0, 5.0, 5.0)), counts, sizes)
        given = [t.float().split(counts) for t in (boxes, logits.float().softmax(-1)[:, :-1], features)]
        shares = [None] * len(counts) if attributes is None else attributes.float().softmax(-1).split(counts)
        return [Scored(*parts) for parts in zip(*given, shares, finite_pictures(maps), strict=True)]

    def _propose(self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        head: Any = self.proposal_generator["rpn_head"]
        fpn, most = self.spec.fpn, self.spec.anchor_sizes
        places = anchors(maps, _STRIDES if fpn else (16,), [(s,) for s in most] if fpn else [most])
        boxes, logits = [], []
        for made, some in zip(maps, places, strict=True):
            hidden = functional.relu(head.conv(made))
            objectness = head.objectness_logits(hidden)  # (N, A, h, w)
            deltas = head.anchor_deltas(hidden)  # (N, 4 A, h, w)
            number, count, high, wide = objectness.shape
            logits.append(objectness.float().permute(0, 2, 3, 1).flatten(1))
            offsets = deltas.view(number, count, 4, high, wide).permute(0, 3, 4, 1, 2).reshape(-1, 4)
            decoded = decode(offsets, some.repeat(number, 1), (1.0, 1.0, 1.0, 1.0))
            boxes.append(decoded.view(number, -1, 4))
        before = max(1000 if fpn else 6000, self.proposals)
        return [
            propose([b[n] for b in boxes], [g[n] for g in logits], size, before, self.proposals)
            for n, size in enumerate(sizes)
        ]

    def _pooled(self, maps: Sequence[Tensor], proposals: list[Tensor]) -> Tensor:
        """(P, F) features of the proposals of all pictures."""
        picture = torch.cat([torch.full_like(p[:, :1], n) for n, p in enumerate(proposals)])
        rois = torch.cat([picture, torch.cat(proposals)], dim=1)
        maps = [m.float() for m in maps]  # in 16 bits a coordinate would be off by pixels
        if not self.spec.fpn:
            head = self.roi_heads["res5"]
            some = [head(self._pool(maps[0], part, 14, 1 / 16)).mean(dim=[2, 3]) for part in rois.split(_TOGETHER)]
            return torch.cat(some)
        where = levels(rois[:, 1:])
        cells = torch.zeros(len(rois), 256, 7, 7, device=rois.device)
        for n in range(4):
            chosen = torch.where(where == n)[0]
            cells[chosen] = self._pool(maps[n], rois[chosen], 7, 1 / _STRIDES[n])
        fully: Any = self.roi_heads["box_head"]
        return functional.relu(fully.fc2(functional.relu(fully.fc1(cells.flatten(1)))))

    def _pool(self, made: Tensor, rois: Tensor, side: int, scale: float) -> Tensor:
        if self.spec.pool == "max":
            return roi_pool(made, rois, side, scale)
        return roi_align(made, rois, side, scale, self.spec.samples, aligned=True)
