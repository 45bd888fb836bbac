"""Vision stages on a GPU give the CPU's rows within their tolerance, in any batch, on several devices, compiled.

The same bodies run on the CPU under ``make test MARKERS=slow``, but for those that are about a GPU's memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np
import pytest

from diptych import weights
from diptych.engine.batch_size import BatchSize
from diptych.engine.context import BuildOptions
from diptych.engine.devices import check_devices, device_names
from diptych.engine.workbench import _process, _Ready
from diptych.exceptions import WeightsError
from diptych.imaging import decode_array
from diptych.models.common.precision import HALF_TOLERANCE, looked_up, stacked, to_device, to_host
from diptych.stage import Batch, Output, Stage
from diptych.stages.decoders import DECODER_LEVELS, decode_on
from diptych.stages.pixels_input import IMAGENET, normalised
from diptych.stages.schema import load_stage

SETTINGS: dict[str, dict[str, Any]] = {
    "backbone": {"grid": True},
    "grid": {"weights": "random:0", "fc7": True, "side": 64},
    "inception": {"weights": "random:0", "side": 96},
    "regions": {"model": "fasterrcnn_efficientnet_lite0"},
    "fc7": {"weights": "random:0", "side": 32, "boxes": "annotated"},
}
SEVERAL = """
name: toy
sources: [{kind: folder, name: toy, path: .}]
shards: 4
stages:
  measure: {use: "toy:Measure"}
  backbone: {model: resnet18, weights: "random:0", side: 64}
fits:
  splits: {use: "toy:Halves"}
"""
C4 = {"model": "r50_c4", "weights": "random:0", "min_side": 96, "max_side": 128, "proposals": 20, "mode": "fixed"}


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu), pytest.param("cpu", marks=pytest.mark.slow)])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    from diptych.models.detector.examples import sample_examples

    try:
        weights.pull("efficientnet_lite0")
    except WeightsError as error:
        pytest.skip(f"no sample weights: {error}")
    return [e.read() for e in sample_examples(4, seed=9).items[:8]]


def ready(name: str, device: str, *, compiled: bool = False, **settings: Any) -> _Ready:
    work = load_stage(name)
    stage: Stage = work(work.Config(**(SETTINGS[name] | settings)))
    stage.compiled = compiled
    stage.setup(device)
    return _Ready(stage, BatchSize(stage.batch_size), Semaphore())


def rows(made: _Ready, files: list[bytes]) -> Output:
    keys = tuple(map(str, range(len(files))))
    columns = {name: [""] * len(files) for name in made.stage.inputs} | {"images.bytes": files}
    output = _process(made, Batch(keys, columns, made.stage))
    assert all(state.status == "ok" for state in output.states)
    return output


def furthest(one: Output, two: Output) -> float:
    """The largest difference of tensors, of their largest value."""
    return max(
        float(np.abs(np.asarray(a, "f8") - np.asarray(b, "f8")).max(initial=0) / np.abs(np.asarray(b, "f8")).max())
        for name in one.tensors
        for a, b in zip(one.values[name], two.values[name], strict=True)
        if len(a)
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_the_rows_of_the_cpu(name: str, device: str, files: list[bytes]) -> None:
    made = ready(name, device)
    here, there = rows(ready(name, "cpu"), files), rows(made, files)
    assert furthest(there, here) <= made.stage.tolerance
    if name == "regions":
        assert there.values["class_names"] == here.values["class_names"]
        assert there.values["attributes"] == here.values["attributes"]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_in_any_batch(name: str, device: str, files: list[bytes]) -> None:
    made = ready(name, device)
    together = rows(made, files)
    pieces = [rows(made, files[:1]), *(rows(made, files[n : n + 3]) for n in range(1, len(files), 3))]
    for tensor in together.tensors:
        apart = [v for out in pieces for v in out.values[tensor]]
        for one, other in zip(together.values[tensor], apart, strict=True):
            assert one.shape == other.shape
            off = np.abs(one.astype("f8") - other.astype("f8")).max(initial=0)
            assert off <= made.stage.tolerance * np.abs(one.astype("f8")).max(initial=1e-9)


def test_the_c4_detector(device: str, files: list[bytes]) -> None:
    made = ready("regions", device, **C4)
    here, there = rows(ready("regions", "cpu", **C4), files[:2]), rows(made, files[:2])
    assert there.values["classes"] == here.values["classes"]
    assert furthest(there, here) <= made.stage.tolerance


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize(("name", "tensor"), [("backbone", "pooled"), ("grid", "grid"), ("inception", "pooled")])
def test_half_precision(name: str, tensor: str, precision: Any, device: str, files: list[bytes]) -> None:
    exact, half = rows(ready(name, device), files), rows(ready(name, device, precision=precision), files)
    off = [
        np.abs(a.astype("f8") - b.astype("f8")).max() / np.abs(b.astype("f8")).max()
        for a, b in zip(half.values[tensor], exact.values[tensor], strict=True)
    ]
    assert 0 < max(off) <= HALF_TOLERANCE[precision]


def test_pictures_decoded_on_the_device(device: str, files: list[bytes]) -> None:
    pictures = decode_on(device, files)
    for data, image in zip(files, pictures, strict=True):
        if image is not None:
            assert np.abs(np.asarray(image, np.int16) - decode_array(data)).mean() <= DECODER_LEVELS
    assert sum(image is not None for image in pictures) >= len(files) // 2, "most are JPEG files"
    plain, other = (rows(ready("backbone", device, decoder=d), files) for d in ("pillow", "device"))
    for a, b in zip(plain.values["pooled"], other.values["pooled"], strict=True):
        one, two = a.astype("f8"), b.astype("f8")
        assert one @ two / np.linalg.norm(one) / np.linalg.norm(two) >= 0.99


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["backbone", "regions"])
def test_compiled(name: str, files: list[bytes]) -> None:
    """Without a compiler a warning says so, and the rows are those of the network as it is."""
    plain = rows(ready(name, "cuda"), files)
    made = ready(name, "cuda", compiled=True)
    assert furthest(rows(made, files), plain) <= made.stage.tolerance


@pytest.mark.gpu
def test_inputs_reach_the_device_through_pinned_memory() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3), np.uint8)
    made = looked_up(stacked(list(pixels), "cuda"), to_device(IMAGENET, "cuda"))
    assert made.is_cuda and made.stride()[1] == 1 and np.array_equal(to_host(made), normalised(pixels))


@pytest.mark.gpu
def test_a_batch_that_does_not_fit_is_halved(files: list[bytes]) -> None:
    import torch

    made, many = ready("grid", "cuda", side=224), files * 16
    plain = rows(made, many)
    torch.cuda.empty_cache()
    taken = torch.cuda.memory_allocated() + (600 << 20)
    torch.cuda.set_per_process_memory_fraction(taken / torch.cuda.get_device_properties(0).total_memory)
    try:
        small = rows(made, many)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 0 < made.size.most < len(many)
    assert furthest(small, plain) <= made.stage.tolerance


def test_a_build_on_several_devices_commits_the_rows_of_one(tmp_path: Path, device: str, files: list[bytes]) -> None:
    """On a machine with one GPU the second device is the same one."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "engine"))
    import toy

    from diptych.engine.build import build
    from diptych.engine.steps import close
    from diptych.storage.store import open_store
    from diptych.version import open_version

    names = device_names("cuda:*" if device == "cuda" else "cpu")
    several = ",".join(names * (1 if len(names) > 1 else 2))
    check_devices(several)
    found = []
    for place, where in (("one", names[0]), ("several", several)):
        store = open_store(tmp_path / place, "toy")
        made = [toy.record(f"d{n}", "text", [(data, "")], store) for n, data in enumerate(files)]
        build(SEVERAL, str(tmp_path / place), BuildOptions(device=where), snapshot=toy.snapshot(store, made))
        close()
        version = open_version(tmp_path / place / "toy")
        keys = version.table("backbone").column("key").to_pylist()
        found.append({key: np.asarray(version.tensor("backbone.pooled", key), "f8") for key in keys})
    assert found[0].keys() == found[1].keys() and len(found[0]) == len(files)
    for key, one in found[0].items():
        assert np.abs(one - found[1][key]).max() <= 2e-3 * np.abs(one).max()
