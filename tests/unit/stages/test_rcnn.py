"""The detectors in detectron2's layout: its figures, its checkpoints, boxes against NumPy, clear errors."""

from __future__ import annotations

import io
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file

from diptych.engine.context import graph_of
from diptych.engine.rebuild import refreshing
from diptych.exceptions import UsageError, WeightsError
from diptych.models.common import detectors_detectron2, rcnn
from diptych.models.common.detector_file import METADATA, DetectorFile, read_detector, write_detector
from diptych.models.common.detector_list import DETECTORS, Sizes
from diptych.models.common.detectors import Detector, Loaded
from diptych.models.common.precision import HALF_TOLERANCE, Precision, inference
from diptych.models.common.rcnn import Rcnn
from diptych.models.common.rcnn_boxes import anchors, decode, levels, propose
from diptych.models.common.rcnn_load import SPECS, build, fill, load_named
from diptych.models.common.selection import Selection
from diptych.stage import Batch
from diptych.stages.regions import Regions, RegionsConfig

sys.path.append(str(Path(__file__).parent))
from detectron2_oracle import FIGURES, MOST, SMALL, THRESHOLD, VARIANTS, figures, picture


@pytest.fixture(scope="module")
def networks() -> dict[str, Rcnn]:
    return {name: build(spec, 5, SMALL) for name, spec in VARIANTS.items()}


def detector(network: Rcnn, selection: Selection | None = None, **more: Any) -> Detector:
    names = tuple(str(n) for n in range(network.spec.classes + 1))
    how = selection or Selection("threshold", THRESHOLD, most=MOST, once=False)
    return Detector(Loaded(network, names, names[: network.spec.attribute_classes]), how, **more)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_detectron2s_figures(networks: dict[str, Rcnn], name: str) -> None:
    found = figures(detector(networks[name])([picture(200, 130)])[0])
    stored = json.loads(FIGURES.read_text())[name]
    assert found.keys() == stored.keys() and len(stored["labels"]) == MOST
    for key, value in found.items():
        np.testing.assert_allclose(value, stored[key], rtol=1e-4, atol=1e-3, err_msg=key)


def test_boxes_against_numpy() -> None:
    random = np.random.default_rng(0)
    low = random.uniform(0, 50, (6, 2))
    boxes = np.concatenate([low, low + random.uniform(1, 50, (6, 2))], axis=1).astype(np.float32)
    deltas = random.normal(0, 2, (6, 8)).astype(np.float32)
    deltas[0, 2] = 400.0  # bounded: a box grows at most 62.5 times
    found = decode(torch.from_numpy(deltas), torch.from_numpy(boxes), (10.0, 10.0, 5.0, 5.0)).numpy()
    for p in range(6):
        for c in range(2):
            x1, y1, x2, y2 = boxes[p].astype(np.float64)
            dx, dy, dw, dh = deltas[p, 4 * c : 4 * c + 4].astype(np.float64) / [10, 10, 5, 5]
            w, h = (x2 - x1) * min(np.exp(dw), 62.5), (y2 - y1) * min(np.exp(dh), 62.5)
            cx, cy = (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1)
            np.testing.assert_allclose(found[p, c], [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], rtol=1e-4)
    places = anchors([torch.zeros(1, 1, 2, 3)], [16], [(32.0, 64.0)])[0].numpy()
    assert places.shape == (2 * 3 * 6, 4)
    area = (places[:, 2] - places[:, 0]) * (places[:, 3] - places[:, 1])
    np.testing.assert_allclose(area.reshape(6, 6), np.tile([1024.0] * 3 + [4096.0] * 3, (6, 1)), rtol=1e-5)
    centres = (places[::6, :2] + places[::6, 2:]) / 2
    np.testing.assert_allclose(centres, [[0, 0], [16, 0], [32, 0], [0, 16], [16, 16], [32, 16]], atol=1e-5)
    sides = torch.tensor([[0, 0, s, s] for s in (10.0, 111.9, 112.1, 223.9, 224.1, 449.0, 5000.0)])
    assert levels(sides).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_proposals_are_clipped_finite_and_per_level() -> None:
    nan = float("nan")
    first = torch.tensor([[-5.0, -5, 20, 20], [0, 0, 20, 20], [nan, 0, 5, 5], [30, 30, 30, 50]])
    found = propose([first, first[:1]], [torch.tensor([3.0, 2, 9, 8]), torch.tensor([1.0])], (40, 40), 10, 10)
    assert found.tolist() == [[0, 0, 20, 20]] * 2  # the second level's equal box stays, the first level's twin goes
    assert len(propose([first], [torch.tensor([3.0, 2, 9, 8])], (40, 40), 2, 10)) == 0


def test_res5_in_pieces(networks: dict[str, Rcnn], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = detector(networks["c4"])([picture(120, 90)])[0]
    monkeypatch.setattr(rcnn, "_TOGETHER", 5)
    pieces = detector(networks["c4"])([picture(120, 90)])[0]
    np.testing.assert_array_equal(whole.labels, pieces.labels)
    np.testing.assert_allclose(whole.features, pieces.features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["c4", "fpn"])
def test_neighbours_change_nothing(networks: dict[str, Rcnn], name: str) -> None:
    """Alone and in a batch: 1e-4 of the largest value, the same regions."""
    pictures = [picture(120, 90, seed=n) for n in range(2)]
    find = detector(networks[name], Selection("fixed", count=5))
    together = find(pictures)
    alone = find(pictures[1:])[0]
    np.testing.assert_array_equal(alone.labels, together[1].labels)
    for a, b in ((alone.boxes, together[1].boxes), (alone.features, together[1].features)):
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.parametrize(("name", "precision"), [("c4", "bfloat16"), ("fpn", "bfloat16"), ("fpn", "float16")])
def test_half_precision(networks: dict[str, Rcnn], name: str, precision: Precision, monkeypatch: Any) -> None:
    """Of the same proposals: features within the stated share of their largest value, scores within as much of 1."""
    network = networks[name]
    made = network.prepare(picture(120, 90))
    boxes = torch.tensor([[0.0, 0, 40, 30], [20, 10, 60, 55], [0, 0, 85, 64]])
    monkeypatch.setattr(network, "_propose", lambda maps, sizes: [boxes])
    said = {}
    for kind in ("float32", precision):
        with inference("cpu", kind):
            said[kind] = network.score(made.pixels[None], [made.size])[0]
    exact, half = said["float32"], said[precision]
    off = (half.features - exact.features).abs().max() / exact.features.abs().max()
    assert 0 < off <= HALF_TOLERANCE[precision]
    assert (half.scores - exact.scores).abs().max() <= HALF_TOLERANCE[precision]
    assert half.boxes.dtype == half.features.dtype == torch.float32


def test_nan_in_one_picture_is_said_of_that_one(networks: dict[str, Rcnn]) -> None:
    """Also where no proposal is left: NaN boxes are dropped before any feature is made of them."""
    network = networks["c4"]
    made = network.prepare(picture(120, 90)).pixels
    with torch.inference_mode():
        said = network.score(torch.stack([made, torch.full_like(made, float("nan"))]), [(64, 85)] * 2)
    assert [s.finite for s in said] == [True, False] and len(said[1].boxes) == 0 < len(said[0].boxes)
    found = detector(network)._regions(said, [(64, 85)] * 2, [(90, 120)] * 2)
    assert [f.finite for f in found] == [True, False] and len(found[1].boxes) == 0


def test_regions_of_a_batch_are_those_of_each_picture(networks: dict[str, Rcnn]) -> None:
    network = networks["c4"]
    pictures = [picture(120, 90), picture(120, 90, seed=5), picture(120, 90, seed=6)]
    made = [network.prepare(p) for p in pictures]
    with torch.inference_mode():
        said = network.score(torch.stack([m.pixels for m in made]), [m.size for m in made])
    together = detector(network)._regions(said, [m.size for m in made], [(90, 120)] * 3)
    for one, scored, m in zip(together, said, made, strict=True):
        [alone] = detector(network)._regions([scored], [m.size], [(90, 120)])
        assert len(one.boxes) > 1 and one.finite
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(alone, name), err_msg=name)


def test_the_size_of_the_input_is_detectron2s(networks: dict[str, Rcnn]) -> None:
    network = networks["fpn"]
    for given, size in {(640, 480): (64, 85), (480, 640): (85, 64), (1000, 100): (10, 96), (7, 7): (64, 64)}.items():
        assert network.input_size(*given) == size
    made = network.prepare(picture(640, 480))
    assert made.size == (64, 85) and made.pixels.shape == (3, 64, 96)  # padded to multiples of 32
    assert not network.fits(10_000, 10) and network.fits(5_000, 40)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_picture_fits_when_the_network_can_see_it(networks: dict[str, Rcnn], name: str) -> None:
    """Inputs of 1 to 4 pixels on the shorter side; Caffe's pool needs three."""
    network = networks[name]
    for high in range(1, 5):
        wide = 96 * 100 // (2 * high)  # of a picture of 50 on the shorter side; the input is 96 x high
        for size in ((wide, 50), (50, wide)):
            assert min(network.input_size(*size)) == high
            if not network.fits(*size):
                assert name == "bottom_up" and high < 3
                continue
            made = network.prepare(picture(*size))
            with torch.inference_mode():
                [said] = network.score(made.pixels[None], [made.size])
            assert said.finite and torch.isfinite(said.boxes).all()


def test_a_narrow_picture_is_a_row_that_says_so() -> None:
    config = {"model": "bottom_up_attention", "weights": "random:0", "proposals": 5, "min_side": 32, "max_side": 64}
    stage = Regions(RegionsConfig.model_validate(config))
    stage._detector = detector(build(VARIANTS["bottom_up"], 0, Sizes(32, 64, 5)))
    files = []
    for size in ((320, 10), (320, 15), (10, 320)):
        out = io.BytesIO()
        Image.fromarray(picture(*size)).save(out, "PNG")
        files.append(out.getvalue())
    output = stage.process(Batch(tuple("abc"), {"images.bytes": files}, stage))
    assert [s.code for s in output.states] == ["too_narrow", "", "too_narrow"]
    assert "320x10: resized for the detector, too few pixels are left" in output.states[0].text


def as_zoo(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    arrays: dict[str, Any] = {k: v.numpy() for k, v in state.items()}
    arrays["proposal_generator.anchor_generator.cell_anchors.0"] = np.zeros((3, 4), np.float32)
    arrays["pixel_mean"] = np.zeros((3, 1, 1), np.float32)
    return {"model": arrays, "__author__": "Detectron2 Model Zoo"}


@pytest.mark.parametrize("kind", ["pkl", "pth", "safetensors"])
def test_checkpoints_of_every_kind(networks: dict[str, Rcnn], kind: str, tmp_path: Path) -> None:
    network = networks["bottom_up"]
    state, file = network.state_dict(), tmp_path / f"m.{kind}"
    if kind == "pkl":
        file.write_bytes(pickle.dumps(as_zoo(state)))
    elif kind == "pth":
        torch.save({"model": state, "iteration": 5}, file)
    else:
        write_detector(file, DetectorFile(state, "c4", ("a", "b"), ("x",), {"side": 64}))
        read = read_detector(file)
        assert (read.architecture, read.classes, read.attributes, read.settings) == (
            "c4",
            ("a", "b"),
            ("x",),
            {"side": 64},
        )
    made = fill(network.spec, read_detector(file).state, SMALL)
    for key, value in made.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_names_and_numbers_of_classes_come_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = VARIANTS["bottom_up"]
    monkeypatch.setitem(SPECS, "small", replace(spec, classes=1600, attribute_classes=400))
    torch.save(build(spec, 0, SMALL).state_dict(), tmp_path / "m.pth")
    objects, attributes = tmp_path / "objects.txt", tmp_path / "attributes.txt"
    objects.write_text("\n".join(["yolk", "Goal,goals", *(f"o{n}" for n in range(9))]))
    attributes.write_text("\n".join(["gray,grey", *(f"a{n}" for n in range(6))]) + "\n")
    made = load_named("small", tmp_path / "m.pth", SMALL, [objects, attributes])
    assert made.names[:3] == ("__background__", "yolk", "goal") and len(made.names) == 12
    assert made.attributes[0] == "gray" and len(made.attributes) == 7
    objects.write_bytes(b"\xff\xfe")
    with pytest.raises(WeightsError, match=r"objects.txt: expected a name a line, in UTF-8"):
        load_named("small", tmp_path / "m.pth", SMALL, [objects])
    monkeypatch.setitem(SPECS, "coco", replace(VARIANTS["c4"], classes=80))
    names = load_named("coco", 0, SMALL).names  # detectron2's order: COCO's categories by id
    assert len(names) == 81 and (names[1], names[12], names[80]) == ("person", "stop sign", "toothbrush")


def test_wrong_checkpoints_are_refused(networks: dict[str, Rcnn], tmp_path: Path) -> None:
    state = networks["fpn"].state_dict()
    torch.save(state, tmp_path / "fpn.pth")
    with pytest.raises(WeightsError, match=r"is no R50-C4: .*choose the `model`"):
        load_named("r50_c4", tmp_path / "fpn.pth", SMALL)
    torch.save({"w": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="expected a vector roi_heads.box_predictor.cls_score.bias"):
        load_named("r50_fpn", tmp_path / "other.pth", SMALL)
    for name, content, message in (
        ("a.pth", b"not torch", "is refused"),
        ("a.safetensors", b"\0" * 30, "no safetensors"),
        ("a.pkl", pickle.dumps({"w": print}), "never executed"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_detector(tmp_path / name)
    save_file({"w": torch.zeros(2)}, tmp_path / "deep.safetensors", {METADATA: "[" * 100_000})
    with pytest.raises(WeightsError, match=r"deep.safetensors is no safetensors file with a description"):
        read_detector(tmp_path / "deep.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="expected a dictionary of tensors"):
        read_detector(tmp_path / "list.pth")
    without = {k: v for k, v in state.items() if "running" not in k}  # statistics folded into weight and bias
    assert torch.equal(
        fill(VARIANTS["fpn"], without, SMALL).backbone.bottom_up.stem.conv1.norm.running_var, torch.ones(64)
    )  # type: ignore[union-attr]


def test_the_adapter_without_detectron2_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors_detectron2, "find_spec", lambda name: None)
    stage = Regions(RegionsConfig.model_validate({"model": "r50_fpn", "weights": "random:0", "backend": "detectron2"}))
    with pytest.raises(UsageError, match="pip install .*detectron2.git"):
        stage.check()
    recipe = (
        "name: notes\nsources: [{kind: folder, name: notes, path: notes}]\n"
        "stages: {clean: {}, regions: {backend: detectron2, model: r50_fpn}}\n"
    )
    graph = graph_of(recipe)
    assert refreshing(graph, "detectron2").stages == ("regions",)
    assert stage.packages == (*Regions.packages, "detectron2") and Regions().packages == Regions.packages
    torchvisions = Regions(RegionsConfig.model_validate({"weights": "random:0", "backend": "detectron2"}))
    with pytest.raises(UsageError, match="has no detector"):
        torchvisions.check()


def test_settings() -> None:
    with pytest.raises(ValidationError, match="known are .*bottom_up_attention"):
        RegionsConfig.model_validate({"model": "yolo"})
    genome = Regions(RegionsConfig.model_validate({"model": "bottom_up_attention"}))
    assert genome.weight_names() == ("bottom_up_attention", "vg_objects", "vg_attributes")
    assert genome.tensor_schema()["features"].shape == (None, 2048)
    for name, spec in SPECS.items():
        assert DETECTORS[name].attributes == bool(spec.attributes)
        assert DETECTORS[name].features == (1024 if spec.fpn else 2048)
    assert DETECTORS["bottom_up_attention"].sizes == Sizes(600, 1000, 300)
