"""Vision stages on a GPU give the CPU's rows within their tolerance, also when its memory is short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych import weights
from diptych.engine.workbench import _process, _Ready
from diptych.exceptions import WeightsError
from diptych.models.common.precision import HALF_TOLERANCE
from diptych.stage import Batch, Output, Stage
from diptych.stages.schema import load_stage

pytestmark = pytest.mark.gpu
DEVICE = "cuda"
SETTINGS: dict[str, dict[str, Any]] = {
    "backbone": {"grid": True},
    "grid": {"weights": "random:0", "fc7": True},
    "inception": {"weights": "random:0"},
    "regions": {"model": "fasterrcnn_efficientnet_lite0"},
}


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    from diptych.models.detector.examples import sample_examples

    try:
        weights.pull("sample")
    except WeightsError as error:
        pytest.skip(f"no sample weights: {error}")
    return [e.read() for e in sample_examples(4, seed=9).items[:8]]


def ready(name: str, device: str, **settings: Any) -> _Ready:
    work = load_stage(name)
    stage: Stage = work(work.Config(**SETTINGS[name], **settings))
    stage.setup(device)
    return _Ready(stage)


def rows(made: _Ready, files: list[bytes]) -> Output:
    keys = tuple(map(str, range(len(files))))
    output = _process(made, Batch(keys, {"images.bytes": files}, made.stage))
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
def test_the_rows_of_the_cpu(name: str, files: list[bytes]) -> None:
    made = ready(name, DEVICE)
    here, there = rows(ready(name, "cpu"), files), rows(made, files)
    assert furthest(there, here) <= made.stage.tolerance
    if name == "regions":
        assert there.values["class_names"] == here.values["class_names"]
        assert there.values["attributes"] == here.values["attributes"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(precision: Any, files: list[bytes]) -> None:
    exact, half = rows(ready("backbone", DEVICE), files), rows(ready("backbone", DEVICE, precision=precision), files)
    off = [
        np.abs(a.astype("f8") - b.astype("f8")).max() / np.abs(b.astype("f8")).max()
        for a, b in zip(half.values["pooled"], exact.values["pooled"], strict=True)
    ]
    assert 0 < max(off) <= HALF_TOLERANCE[precision]


def test_a_batch_that_does_not_fit_is_halved(files: list[bytes]) -> None:
    import torch

    made, many = ready("grid", DEVICE), files * 16
    plain = rows(made, many)
    torch.cuda.empty_cache()
    taken = torch.cuda.memory_allocated() + (600 << 20)
    torch.cuda.set_per_process_memory_fraction(taken / torch.cuda.get_device_properties(0).total_memory)
    try:
        small = rows(made, many)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert 0 < made.most < len(many)
    assert furthest(small, plain) <= made.stage.tolerance
