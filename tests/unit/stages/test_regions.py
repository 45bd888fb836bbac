"""Regions against torchvision's own Faster R-CNN, selection against a twin in plain Python, odd pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from pydantic import ValidationError
from torchvision.models._api import WeightsEnum
from torchvision.models.detection import FasterRCNN
from torchvision.ops import batched_nms

from diptych import weights
from diptych.models.common.alone import alone
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Detector, load_detector
from diptych.models.common.detectors_torchvision import CATEGORIES, Name, TorchvisionNetwork, build
from diptych.models.common.selection import Mode, Selection, select, select_there
from diptych.stage import Batch, Output, Status
from diptych.stages.regions import Regions, RegionsConfig

NAMES: tuple[Name, ...] = ("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2")
SMALL: dict[str, Any] = {"proposals": 30, "min_side": 96, "max_side": 160}


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def png(pixels: Any, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, kind)
    return file.getvalue()


def one_iou(a: np.ndarray, b: np.ndarray) -> float:
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(float(wide), 0.0) * max(float(high), 0.0)
    return shared / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared)


def twin(boxes: np.ndarray, scores: np.ndarray, how: Selection) -> list[tuple[int, int]]:
    """Greedy, pair by pair."""
    floor = how.threshold if how.mode == "threshold" else 0.0
    pairs = [(p, c) for p in range(scores.shape[0]) for c in range(scores.shape[1]) if scores[p, c] > floor]
    kept: list[tuple[int, int]] = []
    for p, c in sorted(pairs, key=lambda pair: -scores[pair]):
        if all(one_iou(boxes[p, c], boxes[q, d]) <= how.nms for q, d in kept if d == c):
            kept.append((p, c))
    if how.once:
        kept = [pair for n, pair in enumerate(kept) if pair[0] not in [q for q, _ in kept[:n]]]
    if how.mode == "between":
        above = sum(bool(scores[pair] > how.threshold) for pair in kept)
        return kept[: min(max(above, how.least), how.most)]
    return kept[: how.limit]


@pytest.mark.parametrize("prefix", [5, 4000])
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(
    "how",
    [
        Selection("threshold", 0.3),
        Selection("threshold", 0.1, most=4),
        Selection("threshold", 0.99),
        Selection("fixed", count=12),
        Selection("fixed", count=500),
        Selection("between", 0.2, least=3, most=6),
        Selection("between", 0.9, least=7, most=20),
        Selection("between", 0.05, least=1, most=5, nms=0.1),
    ],
    ids=str,
)
def test_selection_equals_the_twin(how: Selection, once: bool, prefix: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.models.common.selection._PREFIX", prefix)
    how = Selection(how.mode, how.threshold, how.count, how.least, how.most, how.nms, once)
    for seed in range(4):
        random = np.random.default_rng(seed)
        low = random.uniform(0, 60, (25, 3, 2))
        boxes = np.concatenate([low, low + random.uniform(5, 60, (25, 3, 2))], -1).astype(np.float32)
        scores = random.dirichlet([0.4] * 4, 25)[:, 1:].astype(np.float32)
        found = select(boxes, scores, how)
        assert list(zip(found.rows.tolist(), found.classes.tolist(), strict=True)) == twin(boxes, scores, how)
        np.testing.assert_array_equal(found.boxes, boxes[found.rows, found.classes])
        np.testing.assert_array_equal(found.scores, scores[found.rows, found.classes])


@pytest.mark.parametrize("shared", [True, False], ids=["one box for all classes", "a box for each class"])
@pytest.mark.parametrize("proposals", [40, 300])  # below and above torchvision's bound for moving boxes
def test_selection_on_a_device_and_on_the_host_equal_torchvisions_over_all_pairs(
    proposals: int, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(proposals)
    low = random.uniform(0, 200, (proposals, 1 if shared else 9, 2))
    boxes = np.concatenate([low, low + random.uniform(1, 90, low.shape)], -1).astype(np.float32)
    scores = random.dirichlet([0.5] * 10, proposals)[:, 1:].astype(np.float32).round(3)  # many are equal
    there = torch.from_numpy(boxes), torch.from_numpy(scores)
    flat, each = there[1].flatten(), there[0].expand(-1, 9, 4).reshape(-1, 4)
    order = flat.sort(descending=True, stable=True)[1]
    order = order[flat[order] > 0]
    kept = order[batched_nms(each[order], flat[order], order % 9, 0.5).sort()[0]]
    for short in (4000, 100):  # with 100 the shortlist is too short, and all pairs leave the device
        monkeypatch.setattr("diptych.models.common.selection._SHORTLIST", short)
        for found in (
            select(boxes, scores, Selection("fixed", count=len(flat), once=False)),
            select_there(*there, Selection("fixed", count=len(flat), once=False)),
        ):
            np.testing.assert_array_equal(found.rows * 9 + found.classes, kept.numpy())
            np.testing.assert_array_equal(found.boxes, boxes[found.rows, 0 if shared else found.classes])
            np.testing.assert_array_equal(found.scores, scores[found.rows, found.classes])


def test_once_is_by_the_best_class_that_suppression_left() -> None:
    """Two proposals on one dog: of the weaker one only its cat is left; `once` says so in its description."""
    boxes = np.array([[[0, 0, 100, 100]], [[0, 0, 100, 98]]], np.float32)
    scores = np.array([[0.01, 0.95], [0.05, 0.90]], np.float32)  # cat, dog
    found = select(boxes, scores, Selection("fixed", count=2))
    assert list(zip(found.rows.tolist(), found.classes.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert "that NMS left" in str(RegionsConfig.model_fields["once"].description)


def test_selection_of_nothing() -> None:
    for boxes, scores in (
        (np.zeros((0, 3, 4), np.float32), np.zeros((0, 3), np.float32)),
        (np.zeros((2, 3, 4), np.float32), np.full((2, 3), 0.9, np.float32)),  # boxes without area
        (np.full((600, 3, 4), np.nan, np.float32), np.full((600, 3), np.nan, np.float32)),
    ):
        for mode in get_args(Mode):
            one = select(boxes, scores, Selection(mode))
            other = select_there(torch.from_numpy(boxes), torch.from_numpy(scores), Selection(mode))
            assert len(one.rows) == len(one.classes) == len(one.boxes) == len(one.scores) == len(other.rows) == 0


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[FasterRCNN, Path, Name]:
    """Torchvision's detector as its own loader of published weights makes it, and the file with these weights."""
    state = build(request.param, 1, Sizes(800, 1333, 1000)).state_dict()
    file = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(state, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightsEnum, "get_state_dict", lambda self, *a, **k: state)
        theirs = torchvision.models.get_model(
            request.param, weights="COCO_V1", min_size=96, max_size=160, rpn_pre_nms_top_n_test=1000,
            rpn_post_nms_top_n_test=60, box_score_thresh=0.02, box_detections_per_img=40,
        )  # fmt: skip
    return theirs.eval(), file, request.param


@pytest.mark.parametrize("sides", [(96, 160), (320, 533), (800, 1333)])
def test_inputs_are_those_of_torchvisions_transform_bit_for_bit(sides: tuple[int, int]) -> None:
    network = load_detector("fasterrcnn_resnet50_fpn", 0, Sizes(*sides, 30)).network
    assert isinstance(network, TorchvisionNetwork)
    transform: Any = network.network.transform
    transform.image_mean, transform.image_std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    for width, height in ((480, 360), (96, 97), (31, 500), (1, 1), (640, 7), (213, 340)):
        picture = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
        if not network.fits(width, height):
            continue
        theirs = alone(lambda p=picture: transform([torchvision.transforms.ToTensor()(p)])[0])
        ours = network.prepare(picture)
        assert torch.equal(ours.pixels, theirs.tensors[0]) and ours.size == tuple(theirs.image_sizes[0])


@pytest.mark.parametrize("size", [(240, 180), (120, 200), (96, 96)])
def test_regions_equal_torchvisions(pair: tuple[FasterRCNN, Path, Name], size: tuple[int, int]) -> None:
    theirs, file, name = pair
    picture = noise(*size)
    ours = Detector(
        load_detector(name, file, Sizes(96, 160, 60)),
        Selection("threshold", 0.02, most=40, once=False),
    )
    given: dict[str, torch.Tensor] = {}
    theirs.roi_heads.box_head.register_forward_hook(lambda m, x, result: given.update(features=result))
    with torch.inference_mode():
        expected = theirs([torchvision.transforms.ToTensor()(Image.fromarray(picture))])[0]
    found = ours([picture])[0]
    assert len(found.boxes) == len(expected["boxes"]) > 3 and found.finite
    np.testing.assert_array_equal(found.labels, expected["labels"].numpy())
    np.testing.assert_allclose(found.boxes, expected["boxes"].numpy(), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), rtol=1e-4)
    all_features = given["features"].numpy()
    scale = np.abs(all_features).max()
    for feature in found.features:  # each is a row of the box head's output
        assert np.abs(all_features - feature).max(axis=1).min() <= 1e-4 * scale


def stage_of(**config: Any) -> Regions:
    made = Regions(RegionsConfig(**{"model": NAMES[0], "weights": "random:0", **SMALL, **config}))
    made.setup("cpu")
    return made


def run(stage: Regions, data: list[bytes | None]) -> Output:
    output = stage.process(Batch(tuple(map(str, range(len(data)))), {"images.bytes": data}, stage))
    output.check("regions")
    return output


def test_neighbours_change_nothing() -> None:
    stage = stage_of(mode="fixed", count=12)
    data: list[bytes | None] = [png(noise(*s, seed=n)) for n, s in enumerate([(99, 60), (97, 62), (900, 30)])]
    together = run(stage, data)
    for n in reversed(range(len(data))):
        alone = run(stage, [data[n]])
        assert alone.values["classes"][0] == together.values["classes"][n]
        np.testing.assert_allclose(alone.values["boxes"][0], together.values["boxes"][n], atol=1e-2)
        np.testing.assert_allclose(
            alone.values["features"][0].astype(float),
            together.values["features"][n].astype(float),
            rtol=0.01,
            atol=0.01,
        )


def test_what_a_row_holds() -> None:
    output = run(stage_of(mode="fixed", count=7), [png(noise(150, 110))])
    row = {name: values[0] for name, values in output.values.items()}
    boxes = np.array(row["boxes"])
    assert (row["width"], row["height"]) == (150, 110) and boxes.shape == (7, 4)
    assert (boxes >= 0).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, 2] <= 150).all() and (boxes[:, 3] <= 110).all()
    assert row["class_names"] == [CATEGORIES[n] for n in row["classes"]] and min(row["classes"]) >= 1
    assert row["scores"] == sorted(row["scores"], reverse=True)
    assert row["attributes"] is None and row["attribute_scores"] is None
    assert row["features"].shape == (7, 1024) and row["features"].dtype == np.float16
    assert len({f.tobytes() for f in row["features"]}) == 7  # no proposal twice


def test_boxes_are_in_pixels_of_the_decoded_picture_after_a_resize() -> None:
    picture = Image.fromarray(noise(320, 80))
    resized = run(stage_of(mode="fixed", count=5, pre_resize=96), [png(picture)])
    square = run(stage_of(mode="fixed", count=5), [png(picture.resize((96, 96), Image.Resampling.BILINEAR))])
    np.testing.assert_array_equal(resized.values["features"][0], square.values["features"][0])
    expected = np.array(square.values["boxes"][0]) * np.array([320 / 96, 80 / 96] * 2)
    np.testing.assert_allclose(resized.values["boxes"][0], expected, rtol=1e-5)


def test_nothing_found_is_a_result() -> None:
    output = run(stage_of(score_threshold=0.999), [png(np.full((60, 80, 3), 128, np.uint8))])
    assert output.states[0].status is Status.OK and output.values["boxes"][0] == []
    assert output.values["features"][0].shape == (0, 1024) and output.values["class_names"][0] == []


def test_odd_pictures_have_a_row_each() -> None:
    picture = Image.fromarray(noise(80, 60))
    deep = Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13)
    good = [
        png(noise(1, 1)), png(picture.convert("L")), png(picture.convert("RGBA")), png(picture.convert("CMYK"), "JPEG"),
        png(deep),
    ]  # fmt: skip
    bad = [png(picture, "JPEG")[:700], b"<html>", None, png(noise(4000, 1))]
    output = run(stage_of(mode="between"), [*good, *bad])
    assert [s.status for s in output.states] == [Status.OK] * 5 + [Status.FAILED_PERMANENT] * 4
    assert [s.code for s in output.states[5:]] == ["undecodable", "not_an_image", "not_an_image", "too_narrow"]
    assert all(10 <= len(b) <= 100 for b in output.values["boxes"][:5])


def test_nan_fails_the_row() -> None:
    stage = stage_of()
    network = stage._detector.module.network
    for part in (network.roi_heads.box_head.fc7.bias, network.backbone.body.conv1.weight):  # in a region; everywhere
        kept = part.data.clone()
        part.data[3] = float("nan")
        assert [s.code for s in run(stage, [png(noise(80, 60))]).states] == ["not_finite"]
        part.data = kept


def test_weights_with_other_classes(tmp_path: Path) -> None:
    state = build(NAMES[0], 0, Sizes(96, 160, 60)).state_dict()
    head = "roi_heads.box_predictor."
    state |= {f"{head}cls_score.{n}": state[f"{head}cls_score.{n}"][:6] for n in ("weight", "bias")}
    state |= {f"{head}bbox_pred.{n}": state[f"{head}bbox_pred.{n}"][:24] for n in ("weight", "bias")}
    torch.save(state, tmp_path / "own.pth")
    assert len(load_detector(NAMES[0], tmp_path / "own.pth").names) == 6


def test_settings_and_registry() -> None:
    assert Regions().weight_names() == (NAMES[1],) and RegionsConfig().score_threshold == 0.55
    with pytest.raises(ValidationError, match=r"min_boxes \(5\) is above max_boxes \(4\)"):
        RegionsConfig(mode="between", min_boxes=5, max_boxes=4)
    assert RegionsConfig(max_boxes=5).max_boxes == 5 and RegionsConfig(mode="fixed", min_boxes=200).count == 36
    with pytest.raises(ValidationError, match="min_side"):
        RegionsConfig(min_side=800, max_side=600)
    with pytest.raises(ValidationError, match=r"min_side \(1400\) is above max_side \(1333\); where not given"):
        RegionsConfig(min_side=1400)
    for name in NAMES:
        entry = weights.spec(name)
        assert entry.purpose.startswith("regions") and len(entry.sha256_prefix) == 8
        assert torchvision.models.get_model_weights(name)["COCO_V1"].url in entry.urls
