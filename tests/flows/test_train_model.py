"""Training inside a flow: worker processes start where Prefect's services run, and the run is the library's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from pydantic import ValidationError

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "unit" / "reader"), str(HERE.parent / "unit" / "training")]

import world  # noqa: E402

from diptych.exceptions import Unfinished  # noqa: E402
from diptych.parameters import TrainParameters  # noqa: E402
from diptych.training.folder import find_run, find_runs  # noqa: E402
from diptych.training.options import RunOptions  # noqa: E402
from diptych.training.train import Order, train  # noqa: E402
from flows.train_model import train_model  # noqa: E402


@pytest.mark.slow
def test_flow_trains_what_the_library_trains(tmp_path: Path) -> None:
    version = world.make(tmp_path, 60)
    done = train_model(
        TrainParameters(
            model="toy_task:ToyTask", dataset="world", root=str(tmp_path), seeds=[0, 1], workers=2,
            settings={"epochs": 2},
        )
    )  # fmt: skip
    assert len(done["runs"]) == 2 and done["metrics"][0]["test"]["accuracy"] >= 0
    alone = train(version, Order("toy_task:ToyTask", settings={"epochs": 2}), RunOptions(tensorboard=False))
    for name in ("weights.safetensors", "metrics.json"):
        assert find_run(str(tmp_path), done["runs"][0]).home.read(name) == alone.home.read(name)


@pytest.mark.slow
def test_a_retried_flow_goes_on_with_the_run_that_it_began(tmp_path: Path) -> None:
    world.make(tmp_path, 60)
    again = train_model.with_options(retries=2, retry_delay_seconds=0)
    with pytest.raises(Unfinished):
        again(
            TrainParameters(
                model="toy_task:ToyTask", dataset="world", root=str(tmp_path), settings={"epochs": 9}, max_hours=1e-9
            )
        )
    (run,) = find_runs(str(tmp_path), "world")
    assert run.about()["status"] == "unfinished" and run.list("checkpoints")


def test_a_damaged_earlier_run_fails_no_training(tmp_path: Path) -> None:
    world.make(tmp_path, 60)
    form = TrainParameters(
        model="toy_task:ToyTask", dataset="world", root=str(tmp_path), settings={"warm": 1, "epochs": 1}
    )
    (first,) = train_model(form)["runs"]
    (tmp_path / "world" / first / "results.json").unlink()
    (second,) = train_model(form)["runs"]
    assert find_run(str(tmp_path), second).about()["status"] == "finished"
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["training-results"]))
        texts = [str(a.data) for a in client.read_artifacts(artifact_filter=wanted)]
    assert any(f"Beside the last run, `{Path(first).name}`" in t and "not compared: " in t for t in texts)


def test_the_form_refuses_what_cannot_be() -> None:
    with pytest.raises(ValidationError, match="dataset"):
        TrainParameters(model="gap", dataset="Sample")
    with pytest.raises(ValidationError, match="seeds"):
        TrainParameters(model="gap", dataset="sample", seeds=[])
