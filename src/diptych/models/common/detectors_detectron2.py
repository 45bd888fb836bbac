"""detectron2 itself as the network, where it is installed: ``backend: detectron2`` of the stage ``regions``.

detectron2 resizes, proposes, pools and predicts; weights, attribute heads (it has none) and the selection are ours.
The rows are those of the built-in detector, which is why nobody needs to compile it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.exceptions import UsageError
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Input, Loaded, Scored, finite_pictures
from diptych.models.common.rcnn import Rcnn, RcnnSpec
from diptych.models.common.rcnn_load import SPECS, load_named

__all__ = ["INSTALL", "check", "configuration", "load"]

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"


def check(name: str) -> None:
    """Raise :class:`UsageError` when detectron2 has no such detector, or is not installed."""
    if name not in SPECS:
        raise UsageError(f"backend detectron2 has no detector {name!r}; use {', '.join(SPECS)}, or backend builtin")
    if find_spec("detectron2") is None:
        raise UsageError(f"backend detectron2: it is not installed; run: {INSTALL}, or use backend builtin")


def load(name: str, weights: Path | int, sizes: Sizes, lists: Sequence[Path] = ()) -> Loaded:
    """detectron2's model with the built-in detector's weights."""
    ours = load_named(name, weights, sizes, lists)
    assert isinstance(ours.network, Rcnn)
    return Loaded(Detectron2Network(ours.network), ours.names, ours.attributes)


def configuration(spec: RcnnSpec, sizes: Sizes) -> Any:
    """The ``CfgNode`` of an architecture, for the CPU."""
    from detectron2.config import get_cfg

    made = get_cfg()
    model = made.MODEL
    made.INPUT.MIN_SIZE_TEST, made.INPUT.MAX_SIZE_TEST = sizes.min_side, sizes.max_side
    model.DEVICE, model.META_ARCHITECTURE, model.MASK_ON = "cpu", "GeneralizedRCNN", False
    model.PIXEL_MEAN, model.PIXEL_STD = list(spec.mean), [1.0, 1.0, 1.0]
    model.RESNETS.DEPTH, model.ROI_HEADS.NUM_CLASSES = spec.depth, spec.classes
    model.RPN.POST_NMS_TOPK_TEST = sizes.proposals
    model.RPN.CONV_DIMS = [spec.hidden or -1]
    if spec.fpn:
        model.BACKBONE.NAME = "build_resnet_fpn_backbone"
        model.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
        model.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
        model.ANCHOR_GENERATOR.SIZES = [[size] for size in spec.anchor_sizes]
        model.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
        model.RPN.PRE_NMS_TOPK_TEST = max(1000, sizes.proposals)
        model.ROI_HEADS.NAME = "StandardROIHeads"
        model.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
        model.ROI_BOX_HEAD.NAME, model.ROI_BOX_HEAD.NUM_FC = "FastRCNNConvFCHead", 2
        model.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    else:
        model.ANCHOR_GENERATOR.SIZES = [list(spec.anchor_sizes)]
        model.RPN.PRE_NMS_TOPK_TEST = max(6000, sizes.proposals)
        model.ROI_HEADS.NAME = "Res5ROIHeads"
        model.ROI_BOX_HEAD.POOLER_RESOLUTION = 14
    model.ROI_BOX_HEAD.POOLER_TYPE = "ROIPool" if spec.pool == "max" else "ROIAlignV2"
    model.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = spec.samples
    return made


def _like_caffe(model: Any, spec: RcnnSpec) -> None:
    """The two changes of the converted Caffe model, which no configuration of detectron2 makes."""
    if spec.caffe_pool:
        stem = model.backbone.stem

        def forward(x: Tensor) -> Tensor:
            return nn.functional.max_pool2d(nn.functional.relu_(stem.conv1(x)), 3, 2, 0, ceil_mode=True)

        stem.forward = forward
    if spec.dilated:
        blocks = model.roi_heads.res5
        blocks[0].conv1.stride = blocks[0].shortcut.stride = (1, 1)
        for block in blocks:
            block.conv2.padding = block.conv2.dilation = (2, 2)


class Detectron2Network(nn.Module):
    """A network of :mod:`~diptych.models.common.detectors` around detectron2's ``GeneralizedRCNN``."""

    def __init__(self, ours: Rcnn) -> None:
        super().__init__()
        from detectron2.data.transforms import ResizeShortestEdge
        from detectron2.modeling import build_model

        sizes = Sizes(ours.min_side, ours.max_side, ours.proposals)
        model: Any = build_model(configuration(ours.spec, sizes))
        _like_caffe(model, ours.spec)
        given = ours.state_dict()
        own = {k: v for k, v in model.state_dict().items() if "anchor_generator." in k}
        attributes = ("cls_embedding.", "fc_attr.", "attr_score.", "attribute_predictor.")
        model.load_state_dict({k: v for k, v in given.items() if not any(a in k for a in attributes)} | own)
        self.model: Any = model.eval().requires_grad_(False)
        self.spec = ours.spec
        self._resize = ResizeShortestEdge([sizes.min_side, sizes.min_side], sizes.max_side)
        self.predictor: Any = ours.roi_heads["box_predictor"] if ours.spec.attributes == "predictor" else None
        self.apart: Any = ours.roi_heads["attribute_predictor"] if ours.spec.attributes == "apart" else None
        self.fits = ours.fits

    def prepare(self, picture: np.ndarray) -> Input:
        """As detectron2's ``DefaultPredictor``."""
        bgr = np.ascontiguousarray(picture[:, :, ::-1])
        resized = self._resize.get_transform(bgr).apply_image(bgr)
        pixels = torch.as_tensor(resized.astype("float32").transpose(2, 0, 1))
        images = self.model.preprocess_image([{"image": pixels}])
        return Input(images.tensor[0].cpu(), images.image_sizes[0])

    def score(self, images_nchw: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Scored]:
        """What its heads predict before they select."""
        from detectron2.structures import ImageList

        images = ImageList(images_nchw, list(sizes))
        maps = self.model.backbone(images_nchw)
        proposals, _ = self.model.proposal_generator(images, maps)
        heads = self.model.roi_heads
        boxes = [p.proposal_boxes for p in proposals]
        chosen = [maps[name] for name in (heads.box_in_features if self.spec.fpn else heads.in_features)]
        if self.spec.fpn:
            features = heads.box_head(heads.box_pooler(chosen, boxes))
        else:
            features = heads._shared_roi_transform(chosen, boxes).mean(dim=[2, 3])
        predictions = heads.box_predictor(features)
        attributes = None
        if self.predictor is not None:
            attributes = self.predictor.attribute_logits(features, predictions[0])
        elif self.apart is not None:
            attributes = self.apart(features, predictions[0])
        counts = [len(p) for p in proposals]
        shares = [None] * len(counts) if attributes is None else attributes.float().softmax(-1).split(counts)
        parts = zip(
            heads.box_predictor.predict_boxes(predictions, proposals),
            heads.box_predictor.predict_probs(predictions, proposals),
            features.float().split(counts),
            shares,
            finite_pictures(list(maps.values())),
            sizes,
            strict=True,
        )
        return [Scored(_clipped(b, size), p[:, :-1], f, a, fine) for b, p, f, a, fine, size in parts]


def _clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    from detectron2.structures import Boxes

    flat = Boxes(boxes.reshape(-1, 4))
    flat.clip(size)
    return flat.tensor.reshape(len(boxes), -1, 4)
