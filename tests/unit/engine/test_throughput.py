"""What makes builds fast changes no row: decoding ahead and once, background writing, smaller batches, precision."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parent))
import toy
import toy_vision

from diptych import weights
from diptych.engine.build import BuildReport, build
from diptych.engine.context import BuildOptions
from diptych.engine.steps import close
from diptych.exceptions import StageError, WeightsError
from diptych.imaging import decode
from diptych.models.common.precision import HALF_TOLERANCE, Precision, placed
from diptych.stage import Batch, Output
from diptych.stages import backbone, pool
from diptych.stages.backbone import Backbone, BackboneConfig
from diptych.storage.segments import SegmentWriter
from diptych.storage.store import open_store
from diptych.version import open_version

BOTH = """
name: toy
sources: [{kind: folder, name: toy, path: .}]
shards: 2
limits: {max_failed: 1.0}
stages:
  measure: {use: "toy:Measure"}
  mean: {use: "toy_vision:Mean"}
  shape: {use: "toy_vision:Shape"}
fits:
  splits: {use: "toy:Halves"}
"""
MEAN = BOTH.replace('  shape: {use: "toy_vision:Shape"}\n', "")
PICTURES = 40


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    toy_vision.SIZES.clear()
    toy_vision.THREADS.clear()
    toy_vision.GREEDY.clear()
    toy_vision.ROOM[0] = 0
    yield
    close()
    assert not pool._PICTURES.kept and not pool._PICTURES.users, "pictures are let go of when a group ends"


def run(root: Path, recipe: str, width: int = 9, **options: Any) -> BuildReport:
    """Documents of two pictures; the first picture is no picture, one has a width of its own."""
    store = open_store(root, "toy")
    rows = []
    for n in range(0, PICTURES, 2):
        pair = [toy_vision.png(width if n == 4 else 9 + n % 3, n), b"none" if n == 0 else toy_vision.png(10, n + 1)]
        rows.append(toy.record(f"d{n}", f"text {n}", [(data, "a caption") for data in pair], store))
    return build(recipe, str(root), BuildOptions(**options), snapshot=toy.snapshot(store, rows))


def stage(root: Path, name: str) -> Any:
    entry = next(s for s in open_version(root / "toy").manifest.stages if s.name == name)
    return entry.exact, entry.floats, entry.counts


def test_stages_side_by_side_decode_each_picture_once_and_give_the_rows_of_each_alone(tmp_path: Path) -> None:
    before = pool._PICTURES.decoded
    report = run(tmp_path / "both", BOTH)
    assert pool._PICTURES.decoded - before == PICTURES
    assert report.progress["mean"].computed == report.progress["shape"].computed == PICTURES
    run(tmp_path / "mean", MEAN)
    assert pool._PICTURES.decoded - before == 2 * PICTURES
    assert stage(tmp_path / "both", "mean") == stage(tmp_path / "mean", "mean")
    assert stage(tmp_path / "both", "mean")[2].failed == 1
    assert {t for t in toy_vision.THREADS if t[0] == "prepare"} == {("prepare", "prepare")}
    assert ("process", "prepare") not in toy_vision.THREADS


def test_a_build_that_lacks_one_of_the_stages_computes_that_one(tmp_path: Path) -> None:
    run(tmp_path, MEAN)
    report = run(tmp_path, BOTH)
    assert (report.progress["mean"].computed, report.progress["shape"].computed) == (0, PICTURES)


def test_pictures_that_are_shared_stay_within_their_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    plain = toy_vision.Shape.process

    def process(self: toy_vision.Shape, batch: Batch) -> Output:
        nonlocal most
        most = max(most, pool._PICTURES.bytes)
        return plain(self, batch)

    monkeypatch.setattr(toy_vision.Shape, "process", process)
    monkeypatch.setattr(pool, "SHARED_BYTES", 2500)
    run(tmp_path, BOTH)
    assert 0 < most <= 2500


NO_MEMORY = pytest.mark.parametrize("error", [toy_vision.OutOfMemoryError, RuntimeError, MemoryError])


@NO_MEMORY
def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_smaller(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_vision, "RAISED", [error])
    run(tmp_path / "plain", MEAN)
    close()
    toy_vision.SIZES.clear()
    toy_vision.ROOM[0] = 3
    report = run(tmp_path / "small", MEAN)
    assert stage(tmp_path / "small", "mean") == stage(tmp_path / "plain", "mean")
    tried = [n for n in toy_vision.SIZES if n > 3]
    assert tried == [8, 4], "each size that did not fit is tried once in the process"
    assert report.progress["mean"].counts["failed_permanent"] == 1


@NO_MEMORY
def test_a_row_that_never_fits_fails_alone_and_is_tried_again(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy_vision, "RAISED", [error])
    store = open_store(tmp_path, "toy")
    toy_vision.GREEDY.add(store.blobs.put(toy_vision.png(10, 7)))
    report = run(tmp_path, MEAN, accept_failures=True)
    assert report.progress["mean"].codes["failed_transient:out_of_memory"] == 1
    assert report.progress["mean"].counts["ok"] == PICTURES - 2
    toy_vision.GREEDY.clear()
    assert run(tmp_path, MEAN).progress["mean"].computed == 1


def test_a_picture_that_breaks_the_preparation_fails_alone(tmp_path: Path) -> None:
    report = run(tmp_path, BOTH, width=13)
    assert report.progress["shape"].codes["failed_permanent:exception:ValueError"] == 1
    assert report.progress["shape"].counts["ok"] == PICTURES - 2
    assert report.progress["mean"].counts["ok"] == PICTURES - 1


def test_what_the_background_writer_raises_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SegmentWriter.append

    def append(self: SegmentWriter, output: Output, hashes: Any) -> None:
        if "red" in output.values:
            raise StageError("the disk says no")
        plain(self, output, hashes)

    monkeypatch.setattr(SegmentWriter, "append", append)
    with pytest.raises(StageError, match="the disk says no"):
        run(tmp_path, BOTH)
    assert not [p for p in (tmp_path / "toy" / "parts" / "mean").rglob("part.json")]


@pytest.fixture(scope="module")
def photographs() -> list[bytes]:
    from diptych.models.detector.examples import sample_examples

    try:
        weights.pull("sample")
    except WeightsError as error:
        pytest.skip(f"no sample weights: {error}")
    return [e.read() for e in sample_examples(3, seed=9).items[:6]]


def typed_page() -> np.ndarray:
    page = Image.new("RGB", (1600, 1400), "white")
    for y in range(0, 1400, 12):
        ImageDraw.Draw(page).text((5, y), "The quick brown fox jumps over the lazy dog 0123456789 " * 5, "black")
    return np.asarray(page)


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize("side,size", [(None, 700), (96, 700), (320, 700)])
def test_decoding_at_a_scale_changes_features_little(
    monkeypatch: pytest.MonkeyPatch, side: int | None, size: int
) -> None:
    from skimage import data

    pictures = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "brick")}
    files = []
    for pixels in [*pictures.values(), typed_page()]:
        file = io.BytesIO()
        Image.fromarray(pixels).convert("RGB").resize((1400, 1400)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    sizes: set[int] = set()

    def vectors(*, scaled: bool) -> np.ndarray:
        def look(data: bytes, at_least: int | None = None) -> Image.Image:
            image = decode(data, at_least=at_least)
            sizes.add(image.width)
            return image

        monkeypatch.setattr(backbone, "decode", look)
        stage = Backbone(BackboneConfig(side=side, scaled=scaled))
        stage.setup("cpu")
        made = stage.process(Batch(tuple(map(str, range(len(files)))), {"images.bytes": files}, stage))
        found = np.stack(made.values["pooled"]).astype(np.float64)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    whole = vectors(scaled=False)
    assert not sizes, "shared with other stages, at full size"
    cosines = (vectors(scaled=True) * whole).sum(1)
    assert sizes == {size}
    assert cosines.min() >= 0.99 and (cosines < 1 - 1e-6).all(), cosines


def test_half_precision_is_another_key_and_stays_within_its_tolerance(photographs: list[bytes]) -> None:
    files = list(photographs)
    for pixels in (np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8), typed_page()):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        files.append(file.getvalue())

    def features(precision: Precision) -> list[np.ndarray]:
        stage = Backbone(BackboneConfig(precision=precision, grid=True))
        stage.setup("cpu")
        made = stage.process(Batch(tuple(map(str, range(len(files)))), {"images.bytes": files}, stage))
        return [np.stack(made.values[name]).astype("f8").reshape(len(files), -1) for name in ("grid", "pooled")]

    exact = features("float32")
    for precision in ("bfloat16", "float16"):
        bound = HALF_TOLERANCE[precision]
        for half, full, most in zip(features(precision), exact, (bound, bound / 2), strict=True):
            off = np.abs(half - full).max(axis=1) / np.abs(full).max(axis=1)
            assert 0 < off.max() <= most, (precision, off)
    assert BackboneConfig(precision="bfloat16").model_dump() != BackboneConfig().model_dump()


def test_compiled_networks_give_the_same_and_fall_back_when_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    plain = torch.nn.Sequential(torch.nn.Linear(3, 2))
    x, calls = torch.ones(4, 3), []

    def fake(forward: Any, dynamic: bool) -> Any:
        assert dynamic

        def compiled(*args: Any) -> Any:
            calls.append(len(args[0]))
            if len(args[0]) == 1:
                raise RuntimeError("no compiler on this machine")
            return forward(*args)

        return compiled

    monkeypatch.setattr(torch, "compile", fake)
    expected = plain(x), plain(x[:1])
    made = placed(plain, "cpu", "float32", compiled=True)
    assert torch.equal(made(x), expected[0]) and calls == [4]
    with pytest.raises(RuntimeError, match="shapes"):
        made(torch.ones(2, 5))  # not the compiler's fault: nothing changes
    with pytest.warns(RuntimeWarning, match="runs as it is: no compiler on this machine"):
        assert torch.equal(made(x[:1]), expected[1])
    assert torch.equal(made(x), expected[0]) and calls == [4, 2, 1], "as it is from now on"


def test_only_a_detectors_trunk_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch import nn

    from diptych.models.common.detectors import Detector, Loaded
    from diptych.models.common.selection import Selection

    seen: list[nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda forward, dynamic: seen.append(forward.__self__) or forward)
    network = nn.ModuleDict({"network": nn.ModuleDict({"backbone": nn.Identity(), "heads": nn.Identity()})})
    Detector(Loaded(network, ("background",)), Selection(), compiled=True)
    assert seen == [network["network"]["backbone"]]  # type: ignore[index]


@pytest.mark.slow
def test_a_compiler_keeps_the_rows_within_tolerance() -> None:
    """By torch's own compiler, 90 seconds on a busy core; where no compiler is installed the fallback gives them."""
    rows, files = [], [toy_vision.png(60 + n, n) for n in range(3)]
    for compiled in (False, True):
        stage = Backbone(BackboneConfig(model="resnet18", weights="random:0", side=64))
        stage.compiled = compiled
        stage.setup("cpu")
        both = [stage.process(Batch(tuple("abc"[:n]), {"images.bytes": files[:n]}, stage)) for n in (3, 2)]
        rows.append(np.stack([v for out in both for v in out.values["pooled"]]).astype("f8"))
    assert np.abs(rows[0] - rows[1]).max() <= Backbone.tolerance * np.abs(rows[0]).max()
