"""``diptych boxes`` on a folder in COCO's format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from diptych.cli import app
from diptych.commands.boxes import measure
from diptych.exceptions import UsageError
from diptych.stage import Batch, Output
from diptych.stages.proposals import Proposals
from diptych.stages.regions import Regions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = Image.new("RGB", (120, 90), (240, 240, 235))
    ImageDraw.Draw(image).rectangle((20, 20, 70, 80), fill=(200, 30, 30))
    image.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG broken")
    content: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate("abc")],
        "categories": [{"id": 7, "name": "box"}],
        "annotations": [
            {"image_id": 0, "category_id": 7, "bbox": [20, 20, 51, 61], "iscrowd": 0},
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5], "iscrowd": 0},
            {"image_id": 0, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
            {"image_id": 2, "category_id": 7, "bbox": [0, 0, 9, 9]},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


class Knowing(Regions):
    """Finds the drawn box, and one that is not there."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def process(self, batch: Batch) -> Output:
        out = batch.output()
        for row, data in enumerate(batch["images.bytes"]):
            if data.endswith(b"broken"):
                out.fail(row, "undecodable", "made to fail")
                continue
            boxes = [[20.0, 20, 71, 81], [0.0, 0, 9, 8]]
            out.set(row, width=120, height=90, boxes=boxes, classes=[1, 1], class_names=["box", "box"],
                    scores=[0.9, 0.8], attributes=None, attribute_scores=None,
                    features=np.zeros((2, 1024), np.float16))  # fmt: skip
        return out


def test_recall_and_precision(folder: Path) -> None:
    found = measure(Knowing(), folder, folder / "instances.json", [1, 5])
    assert (found.pictures, found.failed) == (2, 1)  # c.png is not in the folder
    assert [r.recall for r in found.recalls] == [0.5, 0.5] and found.recalls[0].annotated == 2
    assert found.precision is not None and found.precision.classes == 1
    assert found.precision.ap50 == pytest.approx(51 / 101)  # the other picture failed; a box in the crowd is not wrong


@pytest.mark.parametrize(
    ("orientation", "size"), [(3, (120, 90)), (3, None), (6, (90, 120)), (1, (90, 120)), (1, (240, 180))]
)
def test_a_picture_whose_boxes_lie_elsewhere_is_left_out_and_counted(
    folder: Path, orientation: int, size: tuple[int, int] | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(folder / "a.png").save(folder / "turned.jpg", exif=exif)
    content = json.loads((folder / "instances.json").read_text())
    content["images"] += [
        {"id": 8, "file_name": "turned.jpg", **(dict(zip(("width", "height"), size, strict=True)) if size else {})},
        {"id": 9, "file_name": "empty.jpg"},  # turned, too, but nothing is drawn in it
    ]
    (folder / "empty.jpg").write_bytes((folder / "turned.jpg").read_bytes())
    content["annotations"].append({"image_id": 8, "category_id": 7, "bbox": [30, 30, 9, 9]})
    (folder / "more.json").write_text(json.dumps(content))
    found = measure(Knowing(), folder, folder / "more.json", [5])
    assert (found.pictures, found.failed, found.left_out) == (3, 1, 1) and found.recalls[0].annotated == 2
    content["annotations"] = content["annotations"][-1:]
    content["images"] = content["images"][-2:-1]
    (folder / "more.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"turned.jpg: boxes .*(EXIF orientation \d|picture of .* pixels)"):
        measure(Knowing(), folder, folder / "more.json", [5])


@pytest.mark.usefixtures("opencv")
def test_the_command(folder: Path) -> None:
    arguments = ["boxes", str(folder), str(folder / "instances.json"), "--stage", "proposals", "--count", "10"]
    done = CliRunner().invoke(app, [*arguments, "--set", "strategy=single", "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["failed"] == 1 and made["recalls"] == [{"annotated": 2, "count": 10, "recall": 0.5, "threshold": 0.5}]
    assert "recall of the first 10 boxes at IoU 0.5: 0.500" in CliRunner().invoke(app, arguments).stdout


def test_what_is_wrong_is_named(folder: Path) -> None:
    (folder / "bad.json").write_text('{"images": [{"id": 1}]}')
    with pytest.raises(UsageError, match=r"images\[0\] is not as COCO has it"):
        measure(Proposals(), folder, folder / "bad.json", [1])
    (folder / "none.json").write_text('{"images": []}')
    with pytest.raises(UsageError, match="no picture"):
        measure(Proposals(), folder, folder / "none.json", [1])
    for extra in (["--stage", "ocr"], ["--set", "strategy"]):
        done = CliRunner().invoke(
            app, ["boxes", str(folder), str(folder / "none.json"), "--stage", "proposals", *extra]
        )
        assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--set", "strategy=slow"], "--set of proposals is wrong:\n  strategy: .*'single'"),
        (["--set", "nosuch=1"], "nosuch: unknown key; allowed are count, nms_threshold"),
        (["--set", "count=["], "the value is no YAML"),
        (["--device", "tpu"], "device tpu: torch cannot use it here"),
        (["--device", "cpu,cpu"], "uses one device, found 2"),
        (
            ["--stage", "regions", "--set", "min_side=800", "--set", "max_side=99"],
            r"min_side \(800\) is above max_side",
        ),
    ],
)
def test_settings_and_devices_that_cannot_be(folder: Path, extra: list[str], message: str) -> None:
    done = CliRunner().invoke(
        app, ["boxes", str(folder), str(folder / "instances.json"), "--stage", "proposals", *extra]
    )
    assert isinstance(done.exception, UsageError)
    assert re.search(message, str(done.exception)), done.exception
