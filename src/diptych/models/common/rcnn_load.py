"""The named detectors in detectron2's layout, and how their checkpoints are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from diptych.exceptions import WeightsError
from diptych.models.common.classifiers import draw
from diptych.models.common.detector_file import read_detector
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Loaded
from diptych.models.common.detectors_torchvision import CATEGORIES
from diptych.models.common.rcnn import Rcnn, RcnnSpec
from diptych.models.common.rcnn_trunk import Bottleneck
from diptych.models.common.state_file import size_of

__all__ = ["SPECS", "build", "fill", "load_named", "read_names"]

SPECS: dict[str, RcnnSpec] = {
    "r50_fpn": RcnnSpec(50, fpn=True),
    "r101_fpn": RcnnSpec(101, fpn=True),
    "r50_c4": RcnnSpec(50, fpn=False),
    "r101_c4": RcnnSpec(101, fpn=False),
    "bottom_up_attention": RcnnSpec(
        101, fpn=False, classes=1600, attributes="predictor", attribute_classes=400,
        mean=(102.9801, 115.9465, 122.7717), anchor_sizes=(64.0, 128.0, 256.0, 512.0), hidden=512, pool="max",
        caffe_pool=True, dilated=True,
    ),
    "bottom_up_attention_d2": RcnnSpec(
        101, fpn=False, classes=1600, attributes="apart", attribute_classes=400, samples=2
    ),
}  # fmt: skip
"""detectron2's COCO-Detection/faster_rcnn_*; the Caffe model as py-bottom-up-attention converted it (VG-Detection/
faster_rcnn_R_101_C4_attr_caffemaxpool.yaml); that trained with detectron2 (bottom-up-attention.pytorch, configs/d2)."""

_IGNORED = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.", "roi_heads.mask_head.")


def load_named(name: str, weights: Path | int, sizes: Sizes, lists: Sequence[Path] = ()) -> Loaded:
    """A detector of :data:`SPECS`; numbers of classes and attributes are the checkpoint's."""
    spec = SPECS[name]
    if isinstance(weights, int):
        network = build(spec, weights, sizes)
    else:
        state = read_detector(weights).state
        network = fill(_sized(spec, state, weights), state, sizes, weights)
    classes, attributes = network.spec.classes, network.spec.attribute_classes
    given = [read_names(file) for file in lists]
    names = given[0] if given else tuple(name for name in CATEGORIES[1:] if name != "N/A")
    described = given[1] if len(given) > 1 else ()
    return Loaded(
        network,
        ("__background__", *(names if len(names) == classes else (str(n) for n in range(1, classes + 1)))),
        described if len(described) == attributes else tuple(str(n) for n in range(attributes)),
    )


load_r50_fpn = partial(load_named, "r50_fpn")
load_r101_fpn = partial(load_named, "r101_fpn")
load_r50_c4 = partial(load_named, "r50_c4")
load_r101_c4 = partial(load_named, "r101_c4")
load_bottom_up = partial(load_named, "bottom_up_attention")
load_bottom_up_d2 = partial(load_named, "bottom_up_attention_d2")


def read_names(file: Path) -> tuple[str, ...]:
    """Names of a vocabulary of bottom-up attention: a line each, the first of its synonyms."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise WeightsError(f"{file}: expected a name a line, in UTF-8: {error}; import another list") from error
    return tuple(line.split(",")[0].strip().lower() for line in lines)


def build(spec: RcnnSpec, seed: int, sizes: Sizes) -> Rcnn:
    """Random weights under which activations keep their size and boxes stay near their anchors; CPU, eval mode."""
    network = _empty(spec, sizes).to_empty(device="cpu")
    draw(network, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.fill_(1.0 if name.endswith(("weight", "running_var")) else 0.0)
        for module in network.modules():
            if isinstance(module, Bottleneck):
                module.conv3.norm.weight.fill_(0.25)
            elif isinstance(module, nn.Embedding):
                module.weight.normal_(generator=generator)
        for name, value in network.named_parameters():
            if name.endswith(("objectness_logits.weight", "anchor_deltas.weight", "bbox_pred.weight")):
                value.mul_(0.1)
            elif name.endswith("stem.conv1.weight"):
                value.mul_(1 / 64)  # the input is in levels of 255, not normalised
    return network


def fill(spec: RcnnSpec, state: dict[str, Tensor], sizes: Sizes, file: Path | str = "the weights") -> Rcnn:
    """The network with a checkpoint's tensors; :class:`WeightsError` names what is missing or of another shape."""
    network = _empty(spec, sizes)
    expected = network.state_dict()
    given = {k: v.float() for k, v in state.items() if not k.startswith(_IGNORED) and not k.endswith("batches_tracked")}
    for key in set(expected) - set(given):  # checkpoints whose statistics were folded into weight and bias
        if key.endswith("norm.running_mean"):
            given[key] = torch.zeros(expected[key].shape)
        elif key.endswith("norm.running_var"):
            given[key] = torch.ones(expected[key].shape)
    wrong = [f"{k} is missing" for k in expected if k not in given]
    wrong += [f"{k} is not part of it" for k in given if k not in expected]
    wrong += [
        f"{k} has shape {tuple(given[k].shape)}, expected {tuple(v.shape)}"
        for k, v in expected.items()
        if k in given and given[k].shape != v.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        kind = f"R{spec.depth}-{'FPN' if spec.fpn else 'C4'}{' with attributes' if spec.attributes else ''}"
        raise WeightsError(
            f"{file} is no {kind}: {'; '.join(wrong[:5])}{more}; choose the `model` these weights were trained as"
        )
    network.load_state_dict(given, assign=True)
    return network.eval().requires_grad_(False)


def _empty(spec: RcnnSpec, sizes: Sizes) -> Rcnn:
    with torch.device("meta"):
        network = Rcnn(spec, min_side=sizes.min_side, max_side=sizes.max_side, proposals=sizes.proposals)
    return network.eval().requires_grad_(False)


def _sized(spec: RcnnSpec, state: dict[str, Tensor], file: Path) -> RcnnSpec:
    """The architecture with the checkpoint's own numbers of classes and attributes."""
    predictor, apart = "roi_heads.box_predictor.", "roi_heads.attribute_predictor.attr_score.bias"
    spec = replace(spec, classes=size_of(f"{predictor}cls_score.bias", state, file) - 1)
    if spec.attributes == "predictor" and f"{predictor}attr_score.bias" in state:
        return replace(spec, attribute_classes=size_of(f"{predictor}attr_score.bias", state, file) - 1)
    if spec.attributes == "apart" and apart in state:
        return replace(spec, attribute_classes=size_of(apart, state, file))
    return spec
