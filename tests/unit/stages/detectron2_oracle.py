"""detectron2's own inference, from its own configuration files, as the oracle of our detectors.

``DIPTYCH_DETECTRON2`` is a checkout of facebookresearch/detectron2 (its Python code; nothing compiled), with fvcore,
iopath, omegaconf, hydra-core, yacs, tabulate, termcolor, cloudpickle and setuptools<81 importable or lying in it
(``pip install --target``). ``python tests/unit/stages/detectron2_oracle.py`` rewrites detectron2.json, the figures
that the fast tests compare with.
"""

from __future__ import annotations

import json
import os
import sys
import types
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diptych.models.common.detector_list import Sizes
from diptych.models.common.rcnn import Rcnn, RcnnSpec
from diptych.models.common.rcnn_load import SPECS, build

FIGURES = Path(__file__).with_name("detectron2.json")
SMALL = Sizes(64, 96, 12)
THRESHOLD, MOST = 0.02, 10
VARIANTS: dict[str, RcnnSpec] = {
    "c4": replace(SPECS["r50_c4"], classes=11),
    "fpn": replace(SPECS["r50_fpn"], classes=11),
    "bottom_up": replace(SPECS["bottom_up_attention"], depth=50, classes=11, attribute_classes=7),
    "bottom_up_d2": replace(SPECS["bottom_up_attention_d2"], depth=50, classes=11, attribute_classes=7),
}
"""Small enough for the fast tests: 50 layers, few classes."""


@dataclass(frozen=True)
class Expected:
    """detectron2's regions of one picture, best first."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    features: np.ndarray
    attributes: np.ndarray | None
    attribute_scores: np.ndarray | None


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Soft blobs of colour, computed without any library's resampling."""
    y, x = np.mgrid[:height, :width]
    planes = [(x * (3 + seed + c)) ** 2 // 97 + (y * (5 + seed - c)) ** 2 // 61 + x * y // 83 for c in range(3)]
    return (np.abs(np.stack(planes, -1) % 256 - 128) * 2).clip(0, 255).astype(np.uint8)


def importable(folder: str) -> None:
    """Make detectron2's Python code importable without its compiled part."""
    if folder not in sys.path:
        sys.path.append(folder)
    sys.modules.setdefault("detectron2._C", types.ModuleType("detectron2._C"))
    warnings.simplefilter("ignore")


def configured(spec: RcnnSpec, sizes: Sizes, folder: Path, nms: float = 0.5) -> Any:
    """The model zoo's configuration file of the architecture; for bottom-up attention with its own settings."""
    from detectron2.config import get_cfg

    made = get_cfg()
    made.merge_from_file(
        str(folder / f"configs/COCO-Detection/faster_rcnn_R_{spec.depth}_{'FPN' if spec.fpn else 'C4'}_3x.yaml")
    )
    changes: list[Any] = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.ROI_HEADS.NUM_CLASSES", spec.classes]
    changes += ["INPUT.MIN_SIZE_TEST", sizes.min_side, "INPUT.MAX_SIZE_TEST", sizes.max_side]
    changes += ["MODEL.RPN.POST_NMS_TOPK_TEST", sizes.proposals, "TEST.DETECTIONS_PER_IMAGE", MOST]
    changes += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", THRESHOLD, "MODEL.ROI_HEADS.NMS_THRESH_TEST", nms]
    if spec.attributes == "predictor":  # VG-Detection/faster_rcnn_R_101_C4_attr_caffemaxpool.yaml
        changes += ["MODEL.PIXEL_MEAN", [102.9801, 115.9465, 122.7717], "MODEL.RPN.CONV_DIMS", [512]]
        changes += ["MODEL.ANCHOR_GENERATOR.SIZES", [[64, 128, 256, 512]], "MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool"]
    elif spec.attributes == "apart":  # bottom-up-attention.pytorch, configs/d2/base-d2.yaml
        changes += ["MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", 2]
    made.merge_from_list(changes)
    return made


def expected(spec: RcnnSpec, ours: Rcnn, sizes: Sizes, image: np.ndarray, folder: Path, nms: float = 0.5) -> Expected:
    """What detectron2's ``DefaultPredictor`` finds in an RGB picture with our weights, and the features it used."""
    from detectron2.data.transforms import ResizeShortestEdge
    from detectron2.modeling import build_model

    settings = configured(spec, sizes, folder, nms)
    model: Any = build_model(settings)
    if spec.attributes == "predictor":
        _as_caffe(model)
    weights = {k: v for k, v in ours.state_dict().items() if k in model.state_dict()}
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert all("anchor_generator" in name for name in missing), missing
    model.eval()
    seen: dict[str, Any] = {}
    predictor = model.roi_heads.box_predictor
    predictor.register_forward_hook(lambda m, x, y: seen.update(features=x[0], logits=y[0]))
    inference = predictor.inference

    def kept(*given: Any) -> Any:
        instances, rows = inference(*given)
        seen["rows"] = rows[0]
        return instances, rows

    predictor.inference = kept
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    resize = ResizeShortestEdge([settings.INPUT.MIN_SIZE_TEST] * 2, settings.INPUT.MAX_SIZE_TEST)
    pixels = torch.as_tensor(resize.get_transform(bgr).apply_image(bgr).astype("float32").transpose(2, 0, 1))
    with torch.no_grad():
        found = model([{"image": pixels, "height": image.shape[0], "width": image.shape[1]}])[0]["instances"]
    features, logits = seen["features"].numpy(), seen["logits"].numpy()
    attributes, scores = _attributes(spec, ours, features, logits)
    rows = seen["rows"].numpy()
    return Expected(
        found.pred_boxes.tensor.numpy(),
        found.pred_classes.numpy() + 1,
        found.scores.numpy(),
        features[rows],
        None if attributes is None else attributes[rows],
        None if scores is None else scores[rows],
    )


def _as_caffe(model: Any) -> None:
    """What py-bottom-up-attention's fork changes in detectron2 (CAFFE_MAXPOOL, RES5HALVE)."""
    stem = model.backbone.stem
    pool = torch.nn.MaxPool2d(3, 2, 0, ceil_mode=True)
    stem.forward = lambda x: pool(torch.relu(stem.conv1(x)))
    res5 = model.roi_heads.res5
    res5[0].conv1.stride = res5[0].shortcut.stride = (1, 1)
    for n in range(3):
        res5[n].conv2.padding = res5[n].conv2.dilation = (2, 2)


def _attributes(
    spec: RcnnSpec, ours: Rcnn, features: np.ndarray, logits: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Best attribute and its share of each proposal, in NumPy, as the two forks' heads compute it."""
    if not spec.attributes:
        return None, None
    state = {k: v.numpy().astype(np.float64) for k, v in ours.state_dict().items()}
    names = {
        "predictor": ("box_predictor.cls_embedding", "box_predictor.fc_attr", "box_predictor.attr_score"),
        "apart": ("attribute_predictor.obj_embed", "attribute_predictor.fc.0", "attribute_predictor.attr_score"),
    }[spec.attributes]
    embedding, first, second = (f"roi_heads.{n}" for n in names)
    both = np.concatenate([features, state[f"{embedding}.weight"][logits.argmax(1)]], axis=1)
    hidden = np.maximum(both @ state[f"{first}.weight"].T + state[f"{first}.bias"], 0)
    out = (hidden @ state[f"{second}.weight"].T + state[f"{second}.bias"])[:, : spec.attribute_classes]
    shares = np.exp(out - out.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares.argmax(axis=1), shares.max(axis=1)


def figures(found: Any) -> dict[str, Any]:
    """A few numbers of a picture's regions."""
    some = np.asarray(found.features, np.float64)
    made: dict[str, Any] = {
        "boxes": np.asarray(found.boxes, np.float64).round(4).tolist(),
        "labels": np.asarray(found.labels).tolist(),
        "scores": [round(float(s), 6) for s in found.scores],
        "feature_means": some.mean(axis=1).round(6).tolist(),
        "features": some[:, :: some.shape[1] // 4][:, :4].round(5).tolist(),
    }
    if found.attributes is not None:
        made["attributes"] = np.asarray(found.attributes).tolist()
        made["attribute_scores"] = [round(float(s), 6) for s in found.attribute_scores]
    return made


def main() -> None:
    """Write detectron2.json."""
    folder = os.environ["DIPTYCH_DETECTRON2"]
    importable(folder)
    made = {}
    for name, spec in VARIANTS.items():
        network = build(spec, 5, SMALL)
        made[name] = figures(expected(spec, network, SMALL, picture(200, 130), Path(folder)))
        print(name, len(made[name]["scores"]), "regions")
    lines = (f"{json.dumps(k)}: {{\n{_compact(v)}\n}}" for k, v in made.items())
    FIGURES.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _compact(values: dict[str, Any]) -> str:
    return ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in values.items())


if __name__ == "__main__":
    main()
