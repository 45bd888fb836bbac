"""The small detector: scores against a naive twin, training on a COCO file, and what the committed weights do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from diptych import weights
from diptych.cli import app
from diptych.exceptions import UsageError, WeightsError
from diptych.geometry import iou
from diptych.models.common.classifiers import draw
from diptych.models.common.detector_file import read_detector
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Detector, Found, Loaded, load_detector
from diptych.models.common.detectors_torchvision import TorchvisionNetwork
from diptych.models.common.efficientnet_lite import EfficientNetLite0
from diptych.models.common.selection import Selection
from diptych.models.detector.examples import Example, Examples, coco_examples, pixels, sample_examples
from diptych.models.detector.network import Labels, build, fill_trunk, load, write
from diptych.models.detector.scores import average_precision, score, score_found
from diptych.models.detector.train import Schedule, train
from diptych.stage import Batch, Status
from diptych.stages.regions import Regions, RegionsConfig

OURS = "fasterrcnn_efficientnet_lite0"
NAN = math.nan
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def quiet(line: str) -> None:
    del line


# scores ---------------------------------------------------------------------------------------------------


def naive_precision(scores: list[float], hits: list[bool], objects: int) -> float:
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    curve, right = [], 0
    for place, n in enumerate(order, 1):
        right += hits[n]
        curve.append((right / objects, right / place))
    total = 0.0
    for step in range(101):
        total += max((p for r, p in curve if r >= step / 100), default=0.0)
    return total / 101


def test_average_precision_equals_the_naive_one() -> None:
    chance = np.random.default_rng(0)
    for size in (0, 1, 2, 7, 40, 200):
        scores, hits = chance.random(size), chance.random(size) < 0.6
        objects = int(hits.sum()) + int(chance.integers(1, 5))
        expected = naive_precision(scores.tolist(), hits.tolist(), objects)
        assert average_precision(scores, hits, objects) == pytest.approx(expected, abs=1e-12)


def example(boxes: list[list[float]], labels: list[int], attributes: list[int]) -> Example:
    values = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels), np.array(attributes)
    return Example("one", lambda: b"", 100, 100, *values)


def found(boxes: list[list[float]], labels: list[int], scores: list[float], attributes: list[int]) -> Found:
    return Found(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(labels), np.array(scores, np.float32),
        np.zeros((len(labels), 2), np.float32), True, np.array(attributes), np.ones(len(labels)),
    )  # fmt: skip


def test_each_object_is_found_once_by_the_best_region_of_its_class() -> None:
    truth = example([[0, 0, 10, 10], [50, 50, 90, 90], [20, 20, 30, 30]], [1, 2, 2], [0, 1, -1])
    regions = found(
        [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 90, 88], [20, 20, 30, 30], [0, 0, 10, 10]],
        [1, 1, 2, 2, 2], [0.9, 0.8, 0.7, 0.6, 0.5], [0, 0, 0, 1, 0],
    )  # fmt: skip
    empty = example([], [], [])
    examples = Examples("test", (truth, empty), ("a", "b"), ("x", "y"))
    scores = score_found([regions, found([[0, 0, 5, 5]], [1], [0.95], [0])], examples, ("x", "y"))
    assert scores.ap50["a"] == pytest.approx(0.5), "the best region is a false one, on the picture without objects"
    assert scores.ap50["b"] == 1.0
    assert scores.attributes == 0.5, "one right, one wrong; the third is unknown"
    assert scores.found == 1.0 and scores.false == 1.0, "a second box and the one on the empty picture, of two pictures"


# training on a COCO file ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``instances.json`` and six pictures of discs and squares in two colours; one picture is empty."""
    folder = tmp_path_factory.mktemp("coco")
    chance = np.random.default_rng(1)
    images, annotations = [], []
    for n in range(6):
        wide, high = ((160, 120), (120, 160))[n % 2]
        picture = Image.new("RGB", (wide, high), (220, 225, 215))
        pen = ImageDraw.Draw(picture)
        for part in range(2 if n else 0):
            kind, colour = ("disc", "square")[(n + part) % 2], ("red", "blue")[(n // 2 + part) % 2]
            x, y = int(chance.integers(5, wide // 2 - 45)) + part * wide // 2, int(chance.integers(5, high - 50))
            draw = pen.ellipse if kind == "disc" else pen.rectangle
            draw((x, y, x + 40, y + 40), fill=COLOURS[colour])
            annotations.append(
                {
                    "id": len(annotations), "image_id": n, "category_id": 3 if kind == "disc" else 8,
                    "bbox": [x, y, 41, 41], "iscrowd": 0, "attributes": [colour],
                }
            )  # fmt: skip
        picture.save(folder / f"{n}.png")
        images.append({"id": n, "file_name": f"{n}.png", "width": wide, "height": high})
    annotations.append({"id": 99, "image_id": 1, "category_id": 3, "bbox": [0, 0, 160, 120], "iscrowd": 1})
    categories = [{"id": 8, "name": "square"}, {"id": 3, "name": "disc"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


def test_coco_files_are_read(coco: Path) -> None:
    examples = coco_examples(coco / "instances.json", coco)
    assert examples.classes == ("disc", "square") and examples.attributes == ("blue", "red")
    assert [len(e.labels) for e in examples.items] == [0, 2, 2, 2, 2, 2], "a crowd is no object"
    assert examples.items[1].boxes.dtype == np.float32 and set(examples.items[1].labels) == {1, 2}
    assert (examples.items[1].boxes[:, 2:] - examples.items[1].boxes[:, :2] == 41).all()


SHORT = Schedule(epochs=2, batch_size=2, side=96)


def test_training_goes_on_where_it_was_and_gives_the_same_file(coco: Path, tmp_path: Path) -> None:
    examples = coco_examples(coco / "instances.json", coco)
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    lines: list[str] = []
    train(examples, 0, whole, tmp_path / "one", SHORT, lines.append)
    assert [line.split(":")[0] for line in lines[-2:]] == ["epoch 1 of 2", "epoch 2 of 2"]
    losses = [sum(float(part.split()[1]) for part in line.split(": ")[1].split(", ")) for line in lines[-2:]]
    assert losses[1] < losses[0]

    def stop(line: str) -> None:
        if line.startswith("epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(examples, 0, stopped, tmp_path / "two", SHORT, stop)
    assert not stopped.exists()
    again: list[str] = []
    train(examples, 0, stopped, tmp_path / "two", SHORT, again.append)
    assert "going on after epoch 1" in again
    assert stopped.read_bytes() == whole.read_bytes()
    file = read_detector(whole)
    assert (file.classes, file.attributes, file.settings["pictures"]) == (("disc", "square"), ("blue", "red"), 6)
    assert all(not name.startswith("backbone.trunk") for name in file.state), "the backbone is not stored"
    with pytest.raises(UsageError, match="another training"):
        train(examples, 0, whole, tmp_path / "one", replace(SHORT, rate=0.01), quiet)
    loaded = load(whole, Sizes(96, 96, 20), [0])
    regions = Detector(loaded, Selection("fixed", count=3))([np.zeros((40, 60, 3), np.uint8)])[0]
    assert regions.attributes is not None and set(regions.labels) <= {1, 2}


def test_the_command_trains_and_evaluates(coco: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "mine.safetensors")
    data = ["--coco", str(coco / "instances.json"), "--images", str(coco), "--trunk", "random:0", "--side", "64"]
    run = CliRunner().invoke(
        app, ["detector", "train", *data, "--out", out, "--work", str(tmp_path / "work"), "--epochs", "1"]
    )
    assert run.exit_code == 0 and "epoch 1 of 1" in run.output, run.output
    said = CliRunner().invoke(app, ["detector", "evaluate", out, *data, "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.output)["scores"]["pictures"] == 6


def test_only_safetensors_are_written(coco: Path, tmp_path: Path) -> None:
    """Nothing reads another kind; said before any work."""
    data = ["--coco", str(coco / "instances.json"), "--images", str(coco), "--trunk", "random:0"]
    for name in ("mine.pt", "mine", "mine.safetensors.part"):
        out, work = str(tmp_path / name), tmp_path / "work"
        run = CliRunner().invoke(app, ["detector", "train", *data, "--out", out, "--work", str(work)])
        assert isinstance(run.exception, UsageError) and not work.exists()
        assert f"--out: expected a file that ends in .safetensors, found {out}" in str(run.exception)


def test_boxes_in_a_picture_that_exif_turns_are_refused(coco: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    for n in (0, 1):  # nothing is drawn in 0.png: it is as good as upright
        Image.open(coco / f"{n}.png").save(tmp_path / f"{n}.jpg", exif=exif)
        (tmp_path / f"{n}.png").write_bytes((tmp_path / f"{n}.jpg").read_bytes())
    empty, drawn = coco_examples(coco / "instances.json", coco).items[:2]
    assert pixels(replace(empty, read=(tmp_path / "0.png").read_bytes), lambda w, h: True).shape == (120, 160, 3)
    said = r"1.png: boxes are in pixels of the file, which its EXIF orientation 3 turns; store the picture upright"
    turned = replace(drawn, read=(tmp_path / "1.png").read_bytes, stored=False)
    assert pixels(turned, lambda w, h: True).shape == (160, 120, 3), "the sample's boxes are upright ones"
    with pytest.raises(UsageError, match=said):
        pixels(replace(drawn, read=(tmp_path / "1.png").read_bytes), lambda w, h: True)


def test_a_detector_belongs_to_its_backbone(coco: Path, tmp_path: Path) -> None:
    examples = coco_examples(coco / "instances.json", coco)
    own, file = tmp_path / "own.pth", tmp_path / "mine.safetensors"
    trunk = EfficientNetLite0()
    draw(trunk, 4)
    torch.save(trunk.state_dict(), own)
    sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    made: dict[str, Path] = {}
    for name, weights_of_it in {sha256: own, "random:4": 4}.items():
        made[name] = tmp_path / f"{name.replace(':', '')}.safetensors"
        train(examples, weights_of_it, made[name], tmp_path / name[-4:], replace(SHORT, epochs=1), quiet)
        assert read_detector(made[name]).settings["trunk"] == name
        assert load(made[name], Sizes(96, 96, 20), [weights_of_it]).names[1:] == ("disc", "square")
    for file, trained_over, other, found in (
        (made[sha256], sha256, 4, "random:4"),
        (made["random:4"], "random:4", own, sha256),
        (made["random:4"], "random:4", 5, "random:5"),
    ):
        said = rf"{file}: trained over the backbone {trained_over}, found {found}; .*detector train"
        with pytest.raises(WeightsError, match=said):
            load(file, Sizes(96, 96, 20), [other])
    labels = Labels(("disc", "square"), ("blue", "red"))
    write(file, build(labels, Sizes(96, 96, 20)), labels, {"source": "a file of before"})
    assert load(file, Sizes(96, 96, 20), [5]).attributes == ("blue", "red"), "without the entry any backbone will do"


def test_a_detector_of_coco_boxes_in_the_stage(
    ours: Detector, coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained over the backbone that the stage loads it finds what it was shown; over another one it is refused."""
    del ours
    backbone = weights.path("efficientnet_lite0")
    monkeypatch.setattr(weights, "_cache", tmp_path / "cache")
    place = tmp_path / "cache" / "efficientnet_lite0" / backbone.name
    place.parent.mkdir(parents=True)
    place.write_bytes(backbone.read_bytes())
    examples = coco_examples(coco / "instances.json", coco)
    schedule = Schedule(epochs=40, batch_size=3, side=96, rate=3e-3)
    for name, trunk in {"mine": place, "theirs": 5}.items():
        out = tmp_path / f"{name}.safetensors"
        train(examples, trunk, out, tmp_path / name, schedule if name == "mine" else SHORT, quiet)
        weights.import_file(out, name)
    sizes = {"min_side": 96, "max_side": 96}
    stage = Regions(RegionsConfig.model_validate({"model": OURS, "weights": "mine", "score_threshold": 0.3, **sizes}))
    stage.setup("cpu")
    data = [e.read() for e in examples.items]
    out = stage.process(Batch(tuple(map(str, range(6))), {"images.bytes": data}, stage))
    out.check("regions")
    found, objects = 0, 0
    for row, item in enumerate(examples.items):
        assert out.states[row].status is Status.OK
        names, boxes = out.values["class_names"][row], np.array(out.values["boxes"][row]).reshape(-1, 4)
        for box, label in zip(item.boxes, item.labels, strict=True):
            mine = boxes[[n == examples.classes[label - 1] for n in names]]
            found += bool((iou(box[None].astype(float), mine) > 0.5).any())
            objects += 1
    assert objects == 10 and found >= 8, found
    other = Regions(RegionsConfig.model_validate({"model": OURS, "weights": "theirs", **sizes}))
    with pytest.raises(WeightsError, match="trained over the backbone random:5, found 5793442"):
        other.setup("cpu")


def broken(change: Callable[[dict[str, Any]], object], coco: Path, place: Path) -> Path:
    content = json.loads((coco / "instances.json").read_text())
    change(content)
    file = place / "broken.json"
    file.write_text(json.dumps(content))
    return file


def test_bad_files_are_named_with_what_is_wrong(coco: Path, tmp_path: Path) -> None:
    cases: dict[str, Callable[[dict[str, Any]], object]] = {
        "expected an object with categories": lambda c: c.pop("categories"),
        "annotation 0: expected bbox": lambda c: c["annotations"][0].update(bbox=[1, 2, 3]),
        "annotation 2: expected bbox": lambda c: c["annotations"][2].update(image_id=77),
        "annotation 1: .*NaN.*; correct it or leave it out": lambda c: c["annotations"][1].update(bbox=[0, NAN, 5, 5]),
        "annotation 3: .*Infinity": lambda c: c["annotations"][3].update(bbox=[0, 0, 5, -math.inf]),
        "annotation 4: .*1e\\+300": lambda c: c["annotations"][4].update(bbox=[1e300, 0, 5, 5]),
        "annotation 5: .*iscrowd": lambda c: c["annotations"][5].update(bbox=[NAN] * 4, iscrowd=1),
        "annotation 6: .*Infinity": lambda c: c["annotations"][6].update(image_id=math.inf),
        "image 0: expected id, file_name, width and height": lambda c: c["images"][0].pop("width"),
        "image 1: .*; correct it or leave it out": lambda c: c["images"][1].pop("file_name"),
        "image 2: .*wide": lambda c: c["images"][2].update(width="wide"),
        "image 3: .*Infinity": lambda c: c["images"][3].update(height=math.inf),
        'image 4: .*"height": 0': lambda c: c["images"][4].update(height=0),
        "image 5: .*17": lambda c: c["images"].__setitem__(5, 17),
        "which is not in": lambda c: c["images"][0].update(file_name="gone.png"),
        "nothing to learn": lambda c: c["annotations"].clear(),
    }
    for text, change in cases.items():
        with pytest.raises(UsageError, match=text):
            coco_examples(broken(change, coco, tmp_path), coco)
    for raw in ("[" * 100_000, "", "[]", '{"images": 5}', "\ud800"):
        (tmp_path / "raw.json").write_bytes(raw.encode("utf-8", "surrogatepass"))
        with pytest.raises(UsageError, match=r"raw.json: expected an object with categories"):
            coco_examples(tmp_path / "raw.json", coco)
    wrong = broken(lambda c: c["images"][1].update(width=161), coco, tmp_path)
    with pytest.raises(UsageError, match="1.png: its entry says 161x160 pixels, decoded are 120x160"):
        train(coco_examples(wrong, coco), 0, tmp_path / "no", tmp_path / "w", SHORT, quiet)
    with pytest.raises(WeightsError, match="expected a detector of architecture"):
        load(weights.path("efficientnet_lite0"), Sizes(64, 64, 10), [0])


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000)])
def test_a_picture_that_is_too_narrow_is_named(coco: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "line.png")
    data = {
        "categories": [{"id": 1, "name": "line"}],
        "images": [{"id": 1, "file_name": "line.png", "width": size[0], "height": size[1]}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, *size]}],
    }
    (tmp_path / "line.json").write_text(json.dumps(data))
    examples = coco_examples(tmp_path / "line.json", tmp_path)
    said = rf"line.png: expected a picture that keeps a pixel.*found {size[0]}x{size[1]}; leave it out or"
    with pytest.raises(UsageError, match=said):
        train(examples, 0, tmp_path / "no", tmp_path / "w", SHORT, quiet)
    labels = Labels(examples.classes)
    network = build(labels, Sizes(64, 64, 10))
    fill_trunk(network, 0)
    detector = Detector(Loaded(TorchvisionNetwork(network).eval(), ("background", "line")), Selection())
    with pytest.raises(UsageError, match=said):
        score(detector, examples)


# the committed weights ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours() -> Detector:
    try:
        weights.pull("sample")
    except WeightsError as error:
        pytest.skip(f"no sample weights: {error}")
    files = weights.path("sample_detector"), weights.path("efficientnet_lite0")
    return Detector(load_detector(OURS, files[0], lists=files[1:]), Selection(threshold=0.05))


def test_the_committed_file_is_the_registered_one() -> None:
    assert weights.verify(["sample_detector"]) == {"sample_detector": "present"}
    assert weights.path("sample_detector").stat().st_size <= 8_000_000


def test_regions_of_unseen_scenes(ours: Detector) -> None:
    examples = sample_examples(8, seed=3000)
    scores = score(ours, examples)
    assert scores.found >= 0.9 and scores.attributes is not None and scores.attributes >= 0.9, scores
    assert ours.names[1:] == examples.classes and ours.attributes == examples.attributes


@pytest.mark.slow
def test_ap50_and_colours_of_unseen_scenes(ours: Detector) -> None:
    scores = score(ours, sample_examples(200, seed=2000))
    assert scores.pictures > 450 and len(scores.ap50) == 19
    assert scores.mean >= 0.9 and scores.attributes is not None and scores.attributes >= 0.95, scores
    assert scores.false < 0.2


def test_the_stage_gives_the_same_rows_alone_and_together(ours: Detector) -> None:
    del ours
    stage = Regions(RegionsConfig(model=OURS))
    stage.setup("cpu")
    files = [e.read() for e in sample_examples(3, seed=3001).items] + [b"no picture"]

    def rows(size: int) -> list[tuple[object, ...]]:
        found = []
        for n in range(0, len(files), size):
            part = files[n : n + size]
            out = stage.process(Batch(tuple(map(str, range(n, n + len(part)))), {"images.bytes": part}, stage))
            out.check("regions")
            names = ("class_names", "attributes", "boxes", "features")
            found += [(s.status, *(out.values[name][i] for name in names)) for i, s in enumerate(out.states)]
        return found

    together, alone = rows(len(files)), rows(1)
    assert together[-1][0] is Status.FAILED_PERMANENT and together[0][0] is Status.OK
    for a, b in zip(together[:-1], alone[:-1], strict=True):
        assert a[:3] == b[:3]
        np.testing.assert_allclose(np.array(a[3]), np.array(b[3]), rtol=0, atol=0.05)
        one, two = np.asarray(a[4], np.float32), np.asarray(b[4], np.float32)
        assert one.shape == two.shape and np.abs(one - two).max(initial=0) <= 2e-3 * np.abs(one).max(initial=1e-9)
