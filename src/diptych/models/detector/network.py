"""Faster R-CNN with a feature pyramid over a frozen EfficientNet-Lite0, and an attribute for each box.

Only what stands on the backbone is trained and stored: pyramid, proposal network, box and attribute head. The
attribute head is that of bottom-up attention (Anderson et al., CVPR 2018, section 3.1): the box's feature beside an
embedding of its class.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from diptych.exceptions import WeightsError
from diptych.models.common.classifiers import draw
from diptych.models.common.detector_file import DetectorFile, read_detector, write_detector
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Loaded
from diptych.models.common.detectors_torchvision import TorchvisionNetwork
from diptych.models.common.efficientnet_lite import EfficientNetLite0
from diptych.models.common.state_file import fill_network, read_state
from diptych.weights_hash import hashed

__all__ = [
    "ARCHITECTURE",
    "STRIDES",
    "AttributeHead",
    "Backbone",
    "Labels",
    "build",
    "fill_trunk",
    "load",
    "trained",
    "trunk_name",
    "write",
]

ARCHITECTURE = "fasterrcnn_efficientnet_lite0"
STRIDES = (8, 16, 32)
_BLOCKS = (4, 10, 15)
_INSIDE = (40, 112, 320)
_WIDTH, _FEATURE = 64, 256
_ANCHORS = ((24, 40), (64, 96), (140, 220))
_TRUNK = "backbone.trunk."


@dataclass(frozen=True)
class Labels:
    """What the detector can say: classes without the background, and attributes (none: it has no such head)."""

    classes: tuple[str, ...]
    attributes: tuple[str, ...] = ()


class Backbone(nn.Module):
    """(N, 3, H, W) -> pyramid of three maps of 64 channels at 1/8, 1/16 and 1/32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0()
        self.neck = FeaturePyramidNetwork(list(_INSIDE), _WIDTH, norm_layer=nn.BatchNorm2d)
        self.out_channels = _WIDTH

    def bottom(self, x_nchw: Tensor) -> list[Tensor]:
        """The backbone's own maps, which training never changes; channels last is 1.6 times as fast on a CPU."""
        # faster on a processor; what a GPU wants: `precision.placed`
        layout = torch.preserve_format if x_nchw.is_cuda else torch.channels_last
        return self.trunk.maps(x_nchw.to(memory_format=layout), _BLOCKS)

    def top(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """The pyramid over them."""
        return self.neck(OrderedDict((str(n), m) for n, m in enumerate(maps)))

    def forward(self, x_nchw: Tensor) -> dict[str, Tensor]:
        return self.top(self.bottom(x_nchw))


class AttributeHead(nn.Module):
    """Features (K, F) and logits of the classes (K, C+1) -> logits of the attributes (K, A)."""

    def __init__(self, classes: int, attributes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, 64)
        self.hidden = nn.Linear(_FEATURE + 64, 128)
        self.logits = nn.Linear(128, attributes)

    def forward(self, features_kf: Tensor, logits_kc: Tensor) -> Tensor:
        return self.of(features_kf, logits_kc[:, 1:].argmax(dim=1) + 1)

    def of(self, features_kf: Tensor, labels_k: Tensor) -> Tensor:
        """For classes that are known; label 0 is the background."""
        joined = torch.cat([features_kf, self.embedding(labels_k)], dim=1)
        return self.logits(torch.relu(self.hidden(joined)))


def build(labels: Labels, sizes: Sizes) -> FasterRCNN:
    """The network with random heads; labels are 0 for the background, then the classes in order."""
    classes = len(labels.classes) + 1
    network = FasterRCNN(
        Backbone(),
        min_size=sizes.min_side,
        max_size=sizes.max_side,
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
        rpn_anchor_generator=AnchorGenerator(_ANCHORS, ((0.5, 1.0, 2.0),) * len(_ANCHORS)),
        rpn_pre_nms_top_n_train=400,
        rpn_post_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=max(200, sizes.proposals),
        rpn_post_nms_top_n_test=sizes.proposals,
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 1, canonical_scale=112),
        box_head=TwoMLPHead(_WIDTH * 7 * 7, _FEATURE),
        box_predictor=FastRCNNPredictor(_FEATURE, classes),
        box_batch_size_per_image=40,
        box_positive_fraction=0.5,
    )
    heads: Any = network.roi_heads
    heads.attribute_predictor = AttributeHead(classes, len(labels.attributes)) if labels.attributes else None
    heads.box_roi_pool.scales = [1 / stride for stride in STRIDES]
    heads.box_roi_pool.map_levels = LevelMapper(3, 5, canonical_scale=112)
    return network


def fill_trunk(network: FasterRCNN, trunk: Path | int) -> None:
    """The backbone's weights from their file, or from a seed; they are frozen."""
    backbone: Any = network.backbone
    if isinstance(trunk, int):
        draw(backbone.trunk, trunk)
    else:
        fill_network(backbone.trunk, read_state(trunk), trunk, "efficientnet_lite0")
    backbone.trunk.requires_grad_(False)


def trunk_name(trunk: Path | int) -> str:
    """What stands for a backbone's weights in a detector's file: their SHA-256, or ``random:<seed>``."""
    return f"random:{trunk}" if isinstance(trunk, int) else hashed(trunk)


def trained(network: nn.Module) -> dict[str, Tensor]:
    """What is trained: every tensor but the backbone's."""
    return {k: v for k, v in network.state_dict().items() if not k.startswith(_TRUNK)}


def write(file: Path, network: nn.Module, labels: Labels, settings: Mapping[str, Any]) -> None:
    """The trained tensors, matrices as float16, with the labels and what else should be known of them."""
    state = {k: v.half() if v.ndim > 1 else v for k, v in trained(network).items()}
    write_detector(file, DetectorFile(state, ARCHITECTURE, labels.classes, labels.attributes, settings))


def load(weights: Path | int, sizes: Sizes, lists: Sequence[Path | int] = ()) -> Loaded:
    """From a file that :func:`write` made, over the backbone that ``lists`` names; or all of it from a seed.

    :class:`WeightsError` when the file's ``trunk`` says that it was trained over another one.
    """
    if isinstance(weights, int):
        labels = Labels(tuple(map(str, range(1, 20))), tuple(map(str, range(11))))
        network = build(labels, sizes)
        draw(network, weights)
    else:
        labels, state = _read(weights, lists[0])
        network = build(labels, sizes)
        fill_trunk(network, lists[0])
        trunk = {k: v for k, v in network.state_dict().items() if k.startswith(_TRUNK)}
        fill_network(network, trunk | state, weights, f"{ARCHITECTURE} with these labels")
    heads: Any = network.roi_heads
    made = TorchvisionNetwork(network, heads.attribute_predictor).eval().requires_grad_(False)
    return Loaded(made, ("__background__", *labels.classes), labels.attributes)


def _read(file: Path, trunk: Path | int) -> tuple[Labels, dict[str, Tensor]]:
    found = read_detector(file)
    if found.architecture != ARCHITECTURE:
        raise WeightsError(
            f"{file}: expected a detector of architecture {ARCHITECTURE}, found {found.architecture or 'none'};"
            " make one with: diptych detector train"
        )
    expected, given = found.settings.get("trunk"), trunk_name(trunk)
    if expected not in (None, given):  # files of before have no such entry
        raise WeightsError(
            f"{file}: trained over the backbone {expected}, found {given}; over another one it finds nothing. Use the"
            " weights that it was trained over, or train over these: diptych detector train --trunk NAME"
        )
    return Labels(found.classes, found.attributes), found.state
