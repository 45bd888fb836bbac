"""Every vision stage on odd pictures: a row with a status each, alone and among others; memory a million pictures."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.stage import Batch, Output, Stage, Status
from diptych.stages.schema import load_stage

SETTINGS: dict[str, dict[str, Any]] = {
    "pixels": {"side": 16},
    "backbone": {"model": "resnet18", "weights": "random:0", "side": 32},
    "grid": {"side": 32, "weights": "random:0"},
    "inception": {"side": 75, "weights": "random:0", "decoder": "device"},  # on whatever rows, the same statuses
    "regions": {
        "model": "fasterrcnn_resnet50_fpn", "weights": "random:0", "proposals": 8, "min_side": 32, "max_side": 64,
        "mode": "fixed", "count": 2,
    },
    "proposals": {"strategy": "single", "side": 32},
    "fc7": {"side": 32, "weights": "random:0", "boxes": "annotated"},
}  # fmt: skip
GIGABYTES: dict[str, tuple[dict[str, Any], float]] = {
    "pixels": ({}, 270.0),
    "backbone": ({}, 2.56),
    "grid": ({}, 50.2),
    "inception": ({}, 4.1),
    "regions": ({"model": "bottom_up_attention", "mode": "fixed"}, 147.5),
    "fc7": ({}, 163.8),
}
"""Tensors of a million pictures, 36 regions and 20 crops each: float16, pixels bytes."""


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def pictures() -> dict[str, tuple[bytes | None, str]]:
    """By name: the bytes, and the code of the failure (empty: ok)."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    plain = Image.fromarray(noise).resize((80, 60), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13)
    return {
        "good": (file(plain), ""),
        "one pixel": (file(plain.resize((1, 1))), ""),
        "grey": (file(plain.convert("L")), ""),
        "alpha": (file(plain.convert("RGBA")), ""),
        "CMYK": (file(plain.convert("CMYK"), "JPEG"), ""),
        "16 bit": (file(deep), ""),
        "one colour": (file(Image.new("RGB", (50, 40), (7, 7, 7))), ""),
        "truncated": (file(plain, "JPEG")[:700], "undecodable"),
        "truncated PNG": (file(plain)[:-20], "undecodable"),
        "20,000 x 20,000": (bomb(20_000, 20_000), "too_large"),
        "no picture": (b"<html>", "not_an_image"),
        "empty": (b"", "not_an_image"),
        "null": (None, "not_an_image"),
        "as good": (file(plain.transpose(Image.Transpose.FLIP_LEFT_RIGHT)), ""),
    }


@pytest.fixture(scope="module", params=list(SETTINGS))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    if request.param == "proposals":
        request.getfixturevalue("opencv")
    cls = load_stage(request.param)
    made = cls(cls.Config.model_validate(SETTINGS[request.param]))
    made.setup("cpu")
    yield made
    made.close()


def run(stage: Stage, data: list[bytes | None]) -> Output:
    columns = {"images.bytes": data} | {name: [""] * len(data) for name in stage.inputs if name != "images.bytes"}
    output = stage.process(Batch(tuple(map(str, range(len(data)))), columns, stage))
    output.check(stage.name)
    return output


def test_a_row_with_a_status_each(stage: Stage) -> None:
    rows = pictures()
    output = run(stage, [data for data, _ in rows.values()])
    for name, state, (_, code) in zip(rows, output.states, rows.values(), strict=True):
        assert state.code == code, f"{name}: {state}"
        assert state.status is (Status.FAILED_PERMANENT if code else Status.OK), name
        assert not code or state.text
    alone = run(stage, [rows["as good"][0]])
    for name, values in output.values.items():
        if isinstance(values[-1], np.ndarray):
            one, among = (v.astype(np.float64) for v in (alone.values[name][0], values[-1]))
            assert one.shape == among.shape
            assert np.abs(one - among).max(initial=0) <= stage.tolerance * np.abs(one).max(initial=1e-9), name


def test_nan_fails_the_row(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions, grid and inception have tests of their own; pixels and proposals have no network."""
    if shape := {"backbone": (1, 512), "fc7": (1, 4096)}.get(stage.name):
        for number in (np.nan, np.inf):
            made = np.full(shape, number, np.float32)
            answer = (made, None) if stage.name == "backbone" else made
            monkeypatch.setattr(stage, "_forward", lambda pixels, answer=answer: answer)
            assert [s.code for s in run(stage, [pictures()["good"][0]]).states] == ["not_finite"]


def test_the_documented_bytes_are_those_of_the_schemas() -> None:
    """Each line of the table: its stages, and a number of the picture's kilobytes for each."""
    text = (Path(__file__).parents[3] / "docs" / "regions.md").read_text()
    table = text.split("## Bytes")[1].split("\n## ")[0]
    lines = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| `")]
    shown = {}
    for names, picture, million in lines:
        kilobytes, gigabytes = (re.findall(r"([\d.]+) [kG]B", cell) for cell in (picture, million))
        assert kilobytes and [round(float(n)) for n in kilobytes] == [round(float(n)) for n in gigabytes]
        shown |= dict(zip(re.findall(r"`(\w+)`", names), map(float, kilobytes), strict=False))
    for name, (_, gigabytes) in GIGABYTES.items():
        assert shown[name] == pytest.approx(gigabytes, rel=0.05), name


@pytest.mark.parametrize("name", list(GIGABYTES))
def test_memory_of_a_million_pictures(name: str) -> None:
    settings, gigabytes = GIGABYTES[name]
    cls = load_stage(name)
    stage = cls(cls.Config.model_validate(settings))
    rows = {"regions": 36, "fc7": 20}.get(name, 1)
    total = sum(
        (rows if t.ragged else 1) * int(np.prod(t.row_shape)) * np.dtype(t.dtype).itemsize
        for t in stage.tensor_schema().values()
    )
    assert total / 1000 == pytest.approx(gigabytes, rel=0.01)
