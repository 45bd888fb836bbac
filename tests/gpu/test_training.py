"""Training on a GPU: the CPU's losses within what bfloat16 permits, and runs that end and go on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parents[1] / "unit" / name) for name in ("training", "reader")]

import world  # noqa: E402

from diptych.exceptions import Unfinished  # noqa: E402
from diptych.storage.reader_loader import Loader  # noqa: E402
from diptych.training.options import RunOptions  # noqa: E402
from diptych.training.train import Order, continue_run, start_run, train  # noqa: E402
from diptych.version import Version, open_version  # noqa: E402

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("gpu")
    world.make(folder, 60)
    return open_version(folder / "world", 1)


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 2e-3), ("bf16-mixed", 0.1)])
def test_losses_are_those_of_the_cpu(version: Version, precision: str, tolerance: float) -> None:
    # a GPU draws other random numbers; class weights follow from guesses, and one rounding can change 9 % of a loss
    order = Order("toy_task:ToyTask", "debug", {"dropout": 0.0, "weights": "equal"})
    losses = []
    for device, how in (("cpu", "32-true"), ("cuda", precision)):
        options = RunOptions(device, precision=how, tensorboard=False)  # type: ignore[arg-type]
        epochs = train(version, order, options).read_json("metrics.json")["epochs"]
        losses.append([e["train"]["loss"] for e in epochs])
    for mine, other in zip(*losses, strict=True):
        assert other == pytest.approx(mine, rel=tolerance, abs=tolerance)


def test_a_stopped_run_goes_on(version: Version) -> None:
    order, options = Order("toy_task:ToyTask", "debug"), RunOptions("cuda", precision="bf16-mixed", tensorboard=False)
    whole, stopped = train(version, order, options), start_run(version, order)
    for _ in range(200):
        try:
            continue_run(stopped, RunOptions("cuda", precision="bf16-mixed", tensorboard=False, max_hours=1e-9))
            break
        except Unfinished:
            continue
    first, second = (folder.read_tensors("weights.safetensors") for folder in (whole, stopped))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4)


def test_a_packed_batch_is_pinned_as_a_whole(version: Version) -> None:
    with Loader(version, ["features.pooled", "features.regions"], split=None, batch_size=4, shuffle=False) as plain:
        expected = list(plain)
    for workers in (0, 1):
        with Loader(version, ["features.pooled", "features.regions"], split=None, batch_size=4, shuffle=False,
                    workers=workers, pin_memory=True) as loader:  # fmt: skip
            found = list(loader)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one["key"] == other["key"]
            tensors = {name: value for name, value in one.items() if isinstance(value, torch.Tensor)}
            assert len(tensors) >= 3
            for name, value in tensors.items():
                assert value.is_pinned(), name
                assert torch.equal(value.to("cuda", non_blocking=True).cpu(), other[name]), name
