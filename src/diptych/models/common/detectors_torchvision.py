"""Faster R-CNN of torchvision as a network of :mod:`~diptych.models.common.detectors`.

Networks, preprocessing and decoding of boxes are torchvision's; two things differ. The scales of RoIAlign are those
of the pyramid: torchvision guesses them from the first picture it sees, wrongly for narrow ones. And each proposal
keeps its feature after the box head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.poolers import LevelMapper

from diptych.models.common.alone import alone
from diptych.models.common.classifiers import draw
from diptych.models.common.detector_file import read_detector
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Input, Loaded, Scored, finite_pictures
from diptych.models.common.rcnn_boxes import inside
from diptych.models.common.state_file import fill_network, size_of

__all__ = ["CATEGORIES", "Name", "TorchvisionNetwork", "build", "load_v1", "load_v2"]

Name = Literal["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"]
CATEGORIES: tuple[str, ...] = tuple(
    torchvision.models.get_model_weights("fasterrcnn_resnet50_fpn")["COCO_V1"].meta["categories"]
)
"""Names of COCO's classes by torchvision's labels; 0 is the background, some numbers are not in use."""


class TorchvisionNetwork(nn.Module):
    """Any ``FasterRCNN``, and beside it an attribute head: features (P, F) and logits (P, C+1) -> logits (P, A)."""

    def __init__(self, network: FasterRCNN, attribute_head: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.attribute_head = attribute_head

    def fits(self, width: int, height: int) -> bool:
        """Whether a pixel is left on the shorter side."""
        short, long = sorted((width, height))
        transform: Any = self.network.transform  # torch types every submodule as Tensor | Module
        return math.floor(short * min(transform.min_size[-1] / short, transform.max_size / long)) >= 1

    def prepare(self, picture: np.ndarray) -> Input:
        """Normalised, resized and padded as ``GeneralizedRCNNTransform`` does it, in fewer passes over the pixels.

        torch's resizing depends on the number of threads.
        """
        transform: Any = self.network.transform
        high, wide = picture.shape[:2]
        scale = min(transform.min_size[-1] / min(high, wide), transform.max_size / max(high, wide))

        def made() -> Input:
            pixels = np.array(picture.transpose(2, 0, 1)[None], dtype=np.float32, order="C")
            pixels /= 255
            pixels -= np.array(transform.image_mean, np.float32).reshape(3, 1, 1)
            pixels /= np.array(transform.image_std, np.float32).reshape(3, 1, 1)
            found = functional.interpolate(
                torch.from_numpy(pixels), scale_factor=scale, mode="bilinear", recompute_scale_factor=True,
                align_corners=False,
            )  # fmt: skip
            high, wide = found.shape[2:]
            step = transform.size_divisible
            return Input(functional.pad(found, (0, -wide % step, 0, -high % step))[0], (high, wide))

        return alone(made)

    def score(self, images_nchw: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Scored]:
        """Boxes of each proposal for each class, decoded in float32."""
        heads: Any = self.network.roi_heads
        images = ImageList(images_nchw, list(sizes))
        maps = self.network.backbone(images_nchw)
        proposals, _ = self.network.rpn(images, maps)
        proposals = [p.float() for p in proposals]
        features = heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes))
        logits, deltas = heads.box_predictor(features)
        said = None if self.attribute_head is None else self.attribute_head(features, logits).float().softmax(-1)
        counts = [len(p) for p in proposals]
        boxes = heads.box_coder.decode(deltas.float(), proposals).reshape(*logits.shape, 4)  # also of no proposals
        boxes = inside(boxes[:, 1:], counts, sizes)
        given = [t.split(counts) for t in (boxes, logits.float().softmax(-1)[:, 1:], features.float())]
        shares = [None] * len(counts) if said is None else said.split(counts)
        return [Scored(*parts) for parts in zip(*given, shares, finite_pictures(list(maps.values())), strict=True)]


def load_v1(weights: Path | int, sizes: Sizes, lists: Sequence[Path] = ()) -> Loaded:
    """``fasterrcnn_resnet50_fpn``."""
    return _loaded("fasterrcnn_resnet50_fpn", weights, sizes)


def load_v2(weights: Path | int, sizes: Sizes, lists: Sequence[Path] = ()) -> Loaded:
    """``fasterrcnn_resnet50_fpn_v2``."""
    return _loaded("fasterrcnn_resnet50_fpn_v2", weights, sizes)


def _loaded(name: Name, weights: Path | int, sizes: Sizes) -> Loaded:
    network = build(name, weights, sizes)
    heads: Any = network.roi_heads
    classes = int(heads.box_predictor.cls_score.out_features)
    names = CATEGORIES if classes == len(CATEGORIES) else tuple(map(str, range(classes)))
    return Loaded(TorchvisionNetwork(network).eval().requires_grad_(False), names)


def build(name: Name, weights: Path | int, sizes: Sizes) -> FasterRCNN:
    """The network in eval mode on the CPU, from a state-dict file (its number of classes too) or from a seed."""
    state: dict[str, Tensor] = {}
    classes = len(CATEGORIES)
    if not isinstance(weights, int):
        state = read_detector(weights).state
        classes = size_of("roi_heads.box_predictor.cls_score.bias", state, weights)
    settings = {
        "rpn_pre_nms_top_n_test": max(1000, sizes.proposals),
        "rpn_post_nms_top_n_test": sizes.proposals,
        "min_size": sizes.min_side,
        "max_size": sizes.max_side,
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
    if isinstance(weights, int):
        _draw(network, weights)
    else:
        fill_network(network, state, weights, name)
    pool: Any = network.roi_heads.box_roi_pool
    pool.scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    pool.map_levels = LevelMapper(2, 5)
    return network.eval()


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
