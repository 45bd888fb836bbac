"""The image rules one by one, and the descriptions near duplicates rest on."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.stage import Batch, RowState, Status
from diptych.stages.clean import Clean, CleanConfig
from diptych.stages.perceptual import THUMBNAIL_BYTES, phash, thumbnail, uniformity


def textured(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 16, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def run(data: bytes | None, **config: Any) -> tuple[RowState, dict[str, Any]]:
    stage = Clean(CleanConfig(**config))
    stage.setup("cpu")
    out = stage.process(Batch(("k",), {"images.bytes": [data]}, stage))
    out.check("clean")
    return out.states[0], {name: values[0] for name, values in out.values.items()}


def test_a_good_picture_is_described() -> None:
    data = saved(textured(320, 240), "JPEG")
    state, values = run(data)
    assert state.status is Status.OK
    assert (values["width"], values["height"], values["format"], values["mode"]) == (320, 240, "JPEG", "RGB")
    assert values["frames"] == 1 and values["bytes"] == len(data) and values["uniformity"] < 0.5
    assert len(values["phash"]) == 16 and len(values["thumbnail"]) == THUMBNAIL_BYTES


@pytest.mark.parametrize(
    ("data", "config", "rule", "value", "threshold"),
    [
        (None, {}, "not_an_image", None, None),
        (b"<html>", {}, "not_an_image", None, None),
        (saved(textured(200, 200))[:2000], {}, "undecodable", None, None),
        (saved(textured(200, 200)), {"max_pixels": 39_999}, "too_large", 40_000, 39_999),
        (b"x" * 11, {"max_bytes": 10}, "too_large", 11, 10),
        (saved(textured(63, 200)), {}, "thumbnail", 63, 64),
        (saved(textured(601, 100)), {}, "aspect_ratio", 6.01, 5.0),
        (saved(textured(300, 250)), {}, "advertisement", None, None),
        (saved(textured(728, 90)), {}, "advertisement", None, None),
        (saved(Image.new("RGB", (200, 180), (200, 10, 10))), {}, "uniform", 1.0, 0.97),
    ],
)
def test_each_rule(
    data: bytes, config: dict[str, Any], rule: str, value: float | None, threshold: float | None
) -> None:
    state, _ = run(data, **config)
    assert (state.status, state.code, state.value, state.threshold) == (Status.REJECTED, rule, value, threshold)


def test_animations_are_refused_unless_allowed() -> None:
    frames = [textured(100, 90, seed) for seed in (1, 2, 3)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    state, values = run(data)
    assert (state.code, state.value, values["frames"]) == ("animated", 3.0, 3)
    assert run(data, allow_animated=True)[0].status is Status.OK


def test_every_rule_can_be_switched_off() -> None:
    off = {
        "min_side": None,
        "max_aspect_ratio": None,
        "advertisement_sizes": (),
        "max_uniformity": None,
        "max_bytes": None,
    }
    assert run(saved(Image.new("RGB", (728, 90))), **off)[0].status is Status.OK
    assert run(saved(Image.new("RGB", (1, 1))), **off)[0].status is Status.OK
    assert run(saved(Image.new("RGB", (900, 1))), **off)[0].status is Status.OK


def test_upright_sides_are_judged() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _, values = run(saved(textured(400, 100), "JPEG", exif=exif))
    assert (values["width"], values["height"]) == (100, 400)


def test_phash_agrees_with_imagehash() -> None:
    imagehash = pytest.importorskip("imagehash")
    for seed in range(20):
        image = textured(300, 200, seed)
        assert (int(phash(image), 16) ^ int(str(imagehash.phash(image)), 16)).bit_count() <= 2


def test_recompression_and_resizing_move_few_bits() -> None:
    for seed in range(10):
        image = textured(480, 360, seed)
        again = Image.open(io.BytesIO(saved(image.resize((200, 150)), "JPEG", quality=40))).convert("RGB")
        assert (int(phash(image), 16) ^ int(phash(again), 16)).bit_count() <= 4


def test_thumbnail_and_uniformity_of_known_pictures() -> None:
    grey = Image.new("RGB", (50, 50), (100, 100, 100))
    assert set(thumbnail(grey)[: 32 * 32]) == {100} and set(thumbnail(grey)[32 * 32 :]) == {128}
    half = Image.new("RGB", (64, 64))
    half.paste((255, 255, 255), (0, 0, 32, 64))
    assert uniformity(grey) == 1.0 and uniformity(half) == 0.5
