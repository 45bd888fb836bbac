"""Pixels, VGG grids and InceptionV3 against torchvision's reference transforms and networks; odd pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision import transforms as T

from diptych import weights
from diptych.models.common.classifiers import draw, inception, vgg
from diptych.models.common.precision import looked_up
from diptych.stage import Batch, Output, Stage, Status
from diptych.stages import pixels_input
from diptych.stages.grid import Grid, GridConfig
from diptych.stages.inception import Inception, InceptionConfig
from diptych.stages.network import half_numbers
from diptych.stages.pixels import Pixels, PixelsConfig
from diptych.stages.pixels_input import IMAGENET, centred, half, normalised, stretched

NORMALIZE = T.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
SIZES = ((240, 180), (180, 240), (640, 427), (299, 299), (342, 500), (31, 33), (1, 1), (1000, 70), (301, 300))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def run(stage: Stage, data: list[bytes | None]) -> Output:
    output = stage.process(Batch(tuple(map(str, range(len(data)))), {"images.bytes": data}, stage))
    output.check(stage.name)
    return output


@pytest.mark.parametrize("size", SIZES)
def test_preprocessing_is_bit_equal_to_torchvisions(size: tuple[int, int]) -> None:
    image = noise(*size)
    for ours, theirs in (
        (stretched(image, 224), T.Resize((224, 224))),
        (stretched(image, 300), T.Resize((300, 300))),
        (centred(image, 299, 342), T.Compose([T.Resize(342), T.CenterCrop(299)])),
        (centred(image, 64, 64), T.Compose([T.Resize(64), T.CenterCrop(64)])),
    ):
        np.testing.assert_array_equal(ours, np.asarray(theirs(image)))
        expected = NORMALIZE(T.ToTensor()(theirs(image))).numpy()
        found = normalised(ours)
        assert found.dtype == np.float32 and found.tobytes() == expected.tobytes()


def test_the_presets_of_the_published_weights_are_these_transforms() -> None:
    preset = torchvision.models.get_model_weights("inception_v3")["IMAGENET1K_V1"].transforms(antialias=True)
    image = noise(500, 333)
    assert normalised(centred(image, 299, 342)).tobytes() == preset(image).numpy().tobytes()


def test_all_levels() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    assert normalised(ramp).tobytes() == NORMALIZE(T.ToTensor()(Image.fromarray(ramp))).numpy().tobytes()


def test_the_device_looks_up_the_values_that_the_host_would() -> None:
    pixels = np.stack([np.asarray(noise(31, 17)), np.asarray(noise(31, 17, seed=1))])
    found = looked_up(torch.from_numpy(pixels), torch.from_numpy(IMAGENET))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.shape == (2, 3, 17, 31) and found.numpy().tobytes() == normalised(pixels).tobytes()


@pytest.mark.parametrize("size", [(970, 50), (50, 970), (1000, 30), (120, 7)])
def test_banners_are_bit_equal_to_torchvisions(size: tuple[int, int]) -> None:
    image = noise(*size)
    for side, resize in ((299, 342), (300, 300)):
        theirs = T.Compose([T.Resize(resize), T.CenterCrop(side)])(image)
        np.testing.assert_array_equal(centred(image, side, resize), np.asarray(theirs))


@pytest.mark.parametrize("size", [(5000, 2), (2, 5000), (9000, 1), (1, 100_000)])
def test_a_thread_of_pixels_takes_little_memory(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same picture within two levels, of which no more than the crop was ever made."""
    made: list[tuple[int, int]] = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, to, *more: made.append(to) or resize(self, to, *more))
    image = noise(*size)
    found = centred(image, 299, 342)
    assert found.shape == (299, 299, 3) and all(wide * high * 3 <= 50_000_000 for wide, high in made), made
    monkeypatch.setattr(pixels_input, "_MOST", 10_000)
    theirs = T.Compose([T.Resize(40), T.CenterCrop(32)])(image)
    assert np.abs(centred(image, 32, 40).astype(int) - np.asarray(theirs)).max() <= 2


def test_vgg_features_equal_torchvisions(tmp_path: Path) -> None:
    reference = torchvision.models.vgg19(weights=None, init_weights=False).eval()
    draw(reference, 3)
    torch.save(reference.state_dict(), tmp_path / "vgg19.pth")
    x = torch.from_numpy(normalised(stretched(noise(90, 70), 64)))[None]
    with torch.inference_mode():
        expected = reference.features(x)
        fc7 = reference.classifier[:5](torch.flatten(reference.avgpool(expected), 1))
        grid, none = vgg("vgg19", tmp_path / "vgg19.pth", fc7=False)(x)
        both = vgg("vgg19", tmp_path / "vgg19.pth", fc7=True)(x)
    assert none is None and torch.equal(grid, expected) and torch.equal(both[0], expected)
    assert torch.equal(both[1], fc7) and both[1].shape == (1, 4096) and fc7.abs().max() > 0


def test_inception_features_equal_torchvisions(tmp_path: Path) -> None:
    reference = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    draw(reference, 4)
    state = {k: v for k, v in reference.state_dict().items() if "num_batches" not in k}  # as the published file
    torch.save(state, tmp_path / "inception.pth")
    x = torch.from_numpy(normalised(stretched(noise(90, 70), 128)))[None]
    found: dict[str, torch.Tensor] = {}
    reference.dropout.register_forward_hook(lambda m, given, result: found.update(pooled=given[0].flatten(1)))
    with torch.inference_mode():
        reference(x)
        assert torch.equal(inception(tmp_path / "inception.pth")(x), found["pooled"])


def test_a_seed_gives_the_grid_with_and_without_fc7() -> None:
    a, b = (vgg("vgg16", 5, fc7=fc7).features[0].weight for fc7 in (False, True))
    assert torch.equal(a, b) and not torch.equal(a, vgg("vgg16", 6, fc7=False).features[0].weight)


def test_the_grid_goes_row_by_row() -> None:
    stage = Grid(GridConfig(side=96, weights="random:1"))
    stage.setup("cpu")
    image = noise(96, 96)
    with torch.inference_mode():
        maps = vgg("vgg19", 1, fc7=False)(torch.from_numpy(normalised(np.asarray(image)))[None])[0][0]
    grid = run(stage, [png(image)]).values["grid"][0]
    for row in range(3):
        for column in range(3):
            np.testing.assert_array_equal(grid[3 * row + column], half(maps[:, row, column].numpy()))


def test_declared_shapes() -> None:
    assert Grid().tensor_schema()["grid"].shape == (49, 512) and Grid().weight_names() == ("vgg19",)
    shapes = {n: t.shape for n, t in Grid(GridConfig(fc7=True)).tensor_schema().items()}
    assert shapes == {"grid": (49, 512), "fc7": (4096,)}
    assert Pixels().tensor_schema()["pixels"].shape == (300, 300, 3)
    assert Inception().tensor_schema()["pooled"].shape == (2048,)
    for name in ("vgg16", "vgg19", "inception_v3"):
        assert weights.spec(name).loader == "state_dict"


def odd_pictures() -> dict[str, bytes]:
    picture = noise(80, 60)
    deep = Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80) * 13)
    return {
        "1x1": png(noise(1, 1)),
        "grey": png(picture.convert("L")),
        "alpha": png(picture.convert("RGBA")),
        "cmyk": png(picture.convert("CMYK"), "JPEG"),
        "16 bit": png(deep),
        "one colour": png(Image.new("RGB", (50, 50), (255, 255, 255))),
        "thread": png(noise(1500, 1)),
    }


BROKEN = {"truncated": png(noise(80, 60), "JPEG")[:900], "html": b"<html>", "nothing": None}


@pytest.mark.parametrize(
    "stage",
    [
        Pixels(PixelsConfig(side=40)),
        Pixels(PixelsConfig(side=40, crop="center")),
        Grid(GridConfig(side=32, weights="random:0")),
        Inception(InceptionConfig(side=75, weights="random:0")),
        Inception(InceptionConfig(side=75, weights="random:0", crop="stretch")),
    ],
    ids=lambda s: f"{s.name}-{getattr(s.config, 'crop', '')}",
)
def test_odd_pictures_have_a_row_each(stage: Stage) -> None:
    stage.setup("cpu")
    odd = odd_pictures()
    data: list[Any] = [*odd.values(), *BROKEN.values()]
    output = run(stage, data)
    stage.close()
    assert [s.status for s in output.states] == [Status.OK] * len(odd) + [Status.FAILED_PERMANENT] * len(BROKEN)
    assert [s.code for s in output.states[len(odd) :]] == ["undecodable", "not_an_image", "not_an_image"]


def test_nan_fails_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, pooled = Grid(GridConfig(side=32, weights="random:0")), Inception(InceptionConfig(weights="random:0"))
    values = np.zeros((2, 1, 512), np.float32)
    values[1, 0, 3] = np.nan
    monkeypatch.setattr(grid, "_forward", lambda pixels: (values.astype(np.float16), values[:, 0, 0], None))
    monkeypatch.setattr(pooled, "_forward", lambda pixels: np.array([[0.0] * 2048, [np.nan] * 2048], np.float32))
    for stage in (grid, pooled):
        states = run(stage, [png(noise(9, 9)), png(noise(9, 8))]).states
        assert [s.code for s in states] == ["", "not_finite"]


def test_infinity_fails_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding to 16 bits must not make a number of it."""
    stage = Grid(GridConfig(side=32, weights="random:0", fc7=True))
    for maps, fc7, code in ((1.0, 1e6, ""), (np.inf, 1.0, "not_finite"), (1.0, -np.inf, "not_finite")):
        made = torch.full((1, 512, 1, 1), maps), torch.full((1, 4096), fc7)
        monkeypatch.setattr(stage, "forward", lambda pixels, finish, made=made: finish(made))
        assert [s.code for s in run(stage, [png(noise(9, 9))]).states] == [code]
    stage.close()


def test_half_keeps_what_is_too_large_finite() -> None:
    values = np.array([1e6, -1e6, 0.5, np.inf, -np.inf, np.nan, 1e-9], np.float32)
    assert half(values)[:5].tolist() == [65504, -65504, 0.5, np.inf, -np.inf]
    assert half_numbers(torch.from_numpy(values)).tobytes() == half(values).tobytes()  # wherever it is done
