"""Proposals by selective search, fc7 of boxes against torchvision's VGG, annotated boxes."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, ImageDraw
from torchvision.transforms import v2

from diptych.geometry import iou
from diptych.models.common.classifiers import vgg
from diptych.stage import Batch, Output, Status
from diptych.stages.annotated import Annotated, annotated
from diptych.stages.fc7 import Fc7, Fc7Config
from diptych.stages.proposals import Proposals, ProposalsConfig


def scene(width: int = 160, height: int = 120) -> Image.Image:
    image = Image.new("RGB", (width, height), (240, 240, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle((20, 20, 70, 80), fill=(200, 30, 30))
    draw.ellipse((90, 40, 140, 100), fill=(20, 60, 190))
    return image


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def propose(*images: bytes | None, **config: Any) -> Output:
    stage = Proposals(ProposalsConfig.model_validate(config))
    stage.setup("cpu")
    output = stage.process(Batch(tuple(map(str, range(len(images)))), {"images.bytes": list(images)}, stage))
    output.check("proposals")
    return output


@pytest.mark.usefixtures("opencv")
def test_proposals_find_what_is_drawn_and_are_ordered() -> None:
    output = propose(png(scene()), png(scene().resize((80, 60))), count=15, nms_threshold=0.5)
    for row, scale in ((0, 1.0), (1, 0.5)):
        boxes = np.array(output.values["boxes"][row], float)
        true = np.array([[20, 20, 71, 81], [90, 40, 141, 101]]) * scale
        assert (iou(true, boxes).max(axis=1) > 0.7).all()
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        assert (np.diff(areas) <= 1e-3).all() and len(boxes) <= 15 and (boxes >= 0).all()
        assert (boxes[:, 2] <= 160 * scale + 1e-3).all() and (boxes[:, 3] <= 120 * scale + 1e-3).all()
        overlap = iou(boxes, boxes)
        assert (overlap[~np.eye(len(boxes), dtype=bool)] <= 0.5 + 1e-6).all()


@pytest.mark.usefixtures("opencv")
def test_proposals_do_not_depend_on_the_c_librarys_random_numbers() -> None:
    first, *others = (propose(png(scene()), strategy="single").values["boxes"][0] for _ in range(3))
    assert first and all(other == first for other in others)


@pytest.mark.usefixtures("opencv")
def test_a_line_of_pixels_is_searched_small() -> None:
    output = propose(png(Image.new("RGB", (5000, 1), (9, 9, 9))), png(scene().resize((3, 400))))
    assert [s.status for s in output.states] == [Status.OK] * 2


@pytest.fixture(scope="module")
def stage() -> Iterator[Fc7]:
    made = Fc7(Fc7Config.model_validate({"weights": "random:3", "side": 32, "boxes": "both", "count": 2}))
    made.setup("cpu")
    yield made
    made.close()


def run(stage: Fc7, **columns: list[Any]) -> Output:
    given = {"images.bytes": columns["data"], "proposals.boxes": columns["boxes"], "pairs.extra": columns["extra"]}
    output = stage.process(Batch(tuple(map(str, range(len(columns["data"])))), given, stage))
    output.check("fc7")
    return output


BOXES = [[10.0, 20, 60, 100], [30.5, 0, 200, 50.25], [0, 0, 5, 5]]
EXTRA = json.dumps({"boxes": [[5, 5, 50, 50], [0, 0, 9, 9]], "classes": ["cat", "many"], "crowd": [0, 1]})


def test_fc7_equals_torchvisions_of_each_crop(stage: Fc7) -> None:
    output = run(stage, data=[png(scene())], boxes=[BOXES], extra=[EXTRA])
    row = {name: values[0] for name, values in output.values.items()}
    assert row["kinds"] == ["picture", "proposal", "proposal", "annotated"] and row["names"] == ["", "", "", "cat"]
    assert row["boxes"] == [[0, 0, 160, 120], [10, 20, 60, 100], [30.5, 0, 160, 50.25], [5, 5, 50, 50]]
    network = torchvision.models.vgg19(weights=None, init_weights=False)
    state = vgg("vgg19", 3, fc7=True).state_dict()
    network.load_state_dict(state, strict=False)
    network.eval()
    normalise = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for box, feature in zip(row["boxes"], row["features"], strict=True):
        warped = scene().crop((box[0] // 1, box[1] // 1, -(-box[2] // 1), -(-box[3] // 1))).resize((32, 32), 2)
        x = normalise(v2.functional.to_dtype(v2.functional.pil_to_tensor(warped), torch.float32, scale=True))[None]
        with torch.inference_mode():
            expected = network.classifier[:5](network.avgpool(network.features(x)).flatten(1))[0].numpy()
        assert np.abs(feature.astype(float) - expected).max() <= 2e-3 * np.abs(expected).max()


def test_neighbours_change_nothing(stage: Fc7) -> None:
    data, boxes, extra = [png(scene()), png(scene(90, 70))], [BOXES, BOXES[:1]], ["", EXTRA]
    together = run(stage, data=data, boxes=boxes, extra=extra)
    for n in (0, 1):
        alone = run(stage, data=data[n : n + 1], boxes=boxes[n : n + 1], extra=extra[n : n + 1])
        assert alone.values["boxes"][0] == together.values["boxes"][n]
        a, b = (v.astype(float) for v in (alone.values["features"][0], together.values["features"][n]))
        assert np.abs(a - b).max() <= stage.tolerance * np.abs(a).max()


def test_rows_that_cannot_be_computed(stage: Fc7) -> None:
    good = png(scene())
    other_size = json.dumps({"boxes": [[0, 0, 5, 5]], "classes": ["a"], "crowd": [0], "width": 9, "height": 9})
    output = run(
        stage,
        data=[good, good, good, good, good, b"<html>"],
        boxes=[None, [[0, 0, float("nan"), 5]], [], [], [[50.0, 50, 50, 50], [400, 10, 500, 90]], []],
        extra=["", "", "{", other_size, "", ""],
    )
    assert [s.code for s in output.states] == ["bad_boxes"] * 4 + ["", "not_an_image"]
    beside = [json.dumps({"boxes": [box]}) for box in ([-9, 0, -1, 5], [0, 9000, 5, 9001], [-9, -9, 9000, 9000])]
    some = run(stage, data=[good] * 3, boxes=[[]] * 3, extra=beside)
    assert [s.code for s in some.states] == ["bad_boxes", "bad_boxes", ""]  # what reaches over the edge is cut there
    assert "[-9.0, 0.0, -1.0, 5.0] lies outside" in some.states[0].text
    assert "9" in output.states[3].text and output.values["features"][4].shape == (3, 4096)  # without area: one pixel


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("square", [True, False])
def test_boxes_of_a_picture_that_exif_turns(stage: Fc7, orientation: int, square: bool) -> None:
    """Annotators' boxes are in pixels of the file; without such boxes the picture is as good as any other."""
    size = (120, 120) if square else (160, 120)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    scene(*size).save(file, "JPEG", exif=exif)
    boxes = {"boxes": [[10, 10, 61, 51]], "classes": ["red"]}
    drawn = [{**boxes, "width": size[0], "height": size[1]}, {**boxes, "width": size[1], "height": size[0]}, boxes]
    crowd = {**boxes, "crowd": [1]}
    extra = [*map(json.dumps, [*(drawn if square else [drawn[0], drawn[2]]), crowd]), ""]
    output = run(stage, data=[file.getvalue()] * len(extra), boxes=[[]] * len(extra), extra=extra)
    bad = orientation != 1
    assert [s.code for s in output.states] == ["bad_boxes" if bad else ""] * (len(extra) - 2) + ["", ""]
    said = f"boxes are in pixels of the file, which its EXIF orientation {orientation} turns"
    assert all(not bad or said in state.text for state in output.states[:-2])


def test_which_boxes_are_read() -> None:
    inputs = {
        (boxes, source): Fc7(Fc7Config.model_validate({"boxes": boxes, "source": source})).inputs
        for boxes in ("proposals", "annotated", "both")
        for source in ("proposals", "regions")
    }
    assert inputs["proposals", "regions"] == ("images.bytes", "regions.boxes")
    assert inputs["annotated", "regions"] == ("images.bytes", "pairs.extra")
    assert inputs["both", "proposals"] == ("images.bytes", "proposals.boxes", "pairs.extra")


def test_annotations() -> None:
    assert isinstance(made := annotated(EXTRA), Annotated) and made.names == ("cat",) and made.size is None
    assert isinstance(none := annotated('{"licence": "x"}'), Annotated) and none.boxes.shape == (0, 4)
    assert isinstance(annotated(None), Annotated) and isinstance(annotated(""), Annotated)
    wrong = ("[]", "{", '{"boxes": [[1, 2]]}', '{"boxes": [[5, 5, 1, 9]]}', '{"boxes": [["a", 1, 2, 3]]}',
             '{"boxes": [[1, 1, 2, 2]], "classes": []}', '{"boxes": [[1, 1, 2, 2]], "classes": ["a", "b"]}',
             '{"boxes": [["1", "1", "2", "2"]]}', '{"boxes": [[[1, 1], [2, 2]]]}', '{"boxes": [[true, 1, 2, 2]]}',
             '{"boxes": [null]}',
             '{"boxes": [[1, 1, 2, NaN]]}', '{"boxes": 5}', '{"boxes": {"a": 1}}', '{"boxes": "1234"}',
             '{"boxes": [[1, 1, 2, 1%s]]}' % ("0" * 400), '{"boxes": [[1, 1, 2, 2]], "classes": 1}',
             '{"boxes": [[1, 1, 2, 2]], "crowd": {"a": 0}}', '{"boxes": ' + "[" * 100_000)  # fmt: skip
    for text in wrong[:5] + wrong[6:]:
        assert isinstance(annotated(text), str), text


@pytest.mark.slow
@pytest.mark.data("DIPTYCH_COCO")
@pytest.mark.usefixtures("opencv")
def test_recall_of_selective_search_on_coco() -> None:
    """The figures of benchmarks/RESULTS.md, on the folder of 80 photographs that they were taken on."""
    from diptych.commands.boxes import measure

    folder = Path(os.environ["DIPTYCH_COCO"])
    found = measure(Proposals(), folder / "train2017", next(folder.glob("annotations/instances_*.json")), [19, 36, 100])
    assert found.failed == 0 and found.precision is None
    shares = [r.recall for r in found.recalls]
    assert 0.1 < shares[0] < shares[1] < shares[2] < 0.8
    if (found.pictures, found.recalls[0].annotated) == (80, 731):
        np.testing.assert_allclose(shares, [0.161, 0.241, 0.384], atol=0.03)
