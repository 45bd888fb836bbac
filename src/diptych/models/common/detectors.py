"""Faster R-CNN of torchvision as a source of regions with the features they were classified by.

The networks, their preprocessing and the decoding of boxes are torchvision's; three things differ. Pictures are
batched only with others of the same padded size, because padding changes what lies beside it. The scales of
RoIAlign are those of the pyramid: torchvision guesses them from the first picture it sees, wrongly for narrow ones.
And each region keeps its proposal's feature after the box head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d, clip_boxes_to_image
from torchvision.ops.poolers import LevelMapper

from diptych.models.common.classifiers import draw
from diptych.models.common.selection import Selection, select

__all__ = ["CATEGORIES", "Detector", "Found", "Name", "build_detector"]

Name = Literal["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"]
CATEGORIES: tuple[str, ...] = tuple(
    torchvision.models.get_model_weights("fasterrcnn_resnet50_fpn")["COCO_V1"].meta["categories"]
)
"""Names of COCO's classes by torchvision's labels; 0 is the background, some numbers are not in use."""


@dataclass(frozen=True)
class Found:
    """Regions of one picture, best first: boxes (K, 4) xyxy in its pixels, labels, scores, features (K, C)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    features: np.ndarray
    finite: bool
    """False when the network gave NaN or infinity anywhere; the regions are then worth nothing."""


def build_detector(
    name: Name, weights: Path | int, *, proposals: int = 1000, min_side: int = 800, max_side: int = 1333
) -> FasterRCNN:
    """The network in eval mode on the CPU, from a state-dict file (its number of classes too) or from a seed."""
    state = None if isinstance(weights, int) else torch.load(weights, map_location="cpu", weights_only=True)
    classes = len(CATEGORIES) if state is None else len(state["roi_heads.box_predictor.cls_score.bias"])
    settings = {
        "rpn_pre_nms_top_n_test": max(1000, proposals),
        "rpn_post_nms_top_n_test": proposals,
        "min_size": min_side,
        "max_size": max_side,
    }
    if name == "fasterrcnn_resnet50_fpn":
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d, trainable_layers=3
        )
        network = FasterRCNN(backbone, classes, **settings)
        for module in network.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0  # the published weights were trained with it
    else:
        network = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=classes, **settings
        )
        assert isinstance(network, FasterRCNN)
    if state is None:
        assert isinstance(weights, int)
        _draw(network, weights)
    else:
        network.load_state_dict(state)
    pool: Any = network.roi_heads.box_roi_pool
    pool.scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    pool.map_levels = LevelMapper(2, 5)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _draw(network: FasterRCNN, seed: int) -> None:
    """Random weights under which activations keep their size and boxes stay near their anchors."""
    draw(network, seed)
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.constant_(module.bn3.weight, 0.25)  # type: ignore[arg-type]
    first: Any = network.rpn.head
    second: Any = network.roi_heads.box_predictor
    for layer in (first.cls_logits, first.bbox_pred, second.bbox_pred):
        layer.weight.mul_(0.1)


class Detector:
    """Finds regions in pictures with a torchvision Faster R-CNN."""

    def __init__(self, network: FasterRCNN, selection: Selection, device: str = "cpu") -> None:
        self.network = network.to(device)
        self.selection = selection
        self.device = device
        self._heads: Any = network.roi_heads  # torch types every submodule as Tensor | Module
        self._transform: Any = network.transform
        self.classes = int(self._heads.box_predictor.cls_score.out_features)

    def fits(self, width: int, height: int) -> bool:
        """Whether a picture still has a pixel on its shorter side when resized for the network."""
        short, long = sorted((width, height))
        transform = self._transform
        return math.floor(short * min(transform.min_size[-1] / short, transform.max_size / long)) >= 1

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[np.ndarray]) -> list[Found]:
        """Regions of each uint8 picture (H, W, 3), in their order; no batch mixes padded sizes."""
        ready = [self._prepared(p) for p in pictures]
        groups: dict[tuple[int, ...], list[int]] = {}
        for n, made in enumerate(ready):
            groups.setdefault(tuple(made.tensors.shape), []).append(n)
        found: dict[int, Found] = {}
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for rows in groups.values():
                images = ImageList(torch.cat([ready[n].tensors for n in rows]), [ready[n].image_sizes[0] for n in rows])
                sizes = [(pictures[n].shape[0], pictures[n].shape[1]) for n in rows]
                found |= dict(zip(rows, self._group(images, sizes), strict=True))
        return [found[n] for n in range(len(pictures))]

    def _prepared(self, picture: np.ndarray) -> ImageList:
        pixels = torch.from_numpy(np.array(picture)).to(self.device).permute(2, 0, 1).contiguous()
        return self._transform([pixels.to(torch.float32).div(255)])[0]

    def _group(self, images: ImageList, sizes: list[tuple[int, int]]) -> list[Found]:
        heads = self._heads
        maps = self.network.backbone(images.tensors)
        proposals, _ = self.network.rpn(images, maps)
        features = heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes))
        logits, deltas = heads.box_predictor(features)
        boxes = heads.box_coder.decode(deltas, proposals)
        counts = [len(p) for p in proposals]
        parts = zip(
            boxes.split(counts), logits.softmax(-1).split(counts), features.split(counts), images.image_sizes, sizes,
            strict=True,
        )  # fmt: skip
        return [self._select(*part) for part in parts]

    def _select(
        self, boxes: Tensor, scores: Tensor, features: Tensor, size: tuple[int, int], original: tuple[int, int]
    ) -> Found:
        finite = bool(torch.isfinite(scores).all() & torch.isfinite(features).all() & torch.isfinite(boxes).all())
        inside = clip_boxes_to_image(boxes, size)
        rows, classes = select(inside[:, 1:], scores[:, 1:], self.selection)
        classes = classes + 1
        ratio = [torch.tensor(o, dtype=torch.float32) / s for o, s in zip(original, size, strict=True)]
        scale = torch.stack([ratio[1], ratio[0], ratio[1], ratio[0]]).to(boxes.device)
        return Found(
            (inside[rows, classes] * scale).cpu().numpy(),
            classes.cpu().numpy(),
            scores[rows, classes].cpu().numpy(),
            features[rows].cpu().numpy(),
            finite,
        )
