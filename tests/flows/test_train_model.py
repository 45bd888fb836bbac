"""Training inside a flow: worker processes start where Prefect's services run, and the run is the library's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "unit" / "reader"), str(HERE.parent / "unit" / "training")]

import world  # noqa: E402

from diptych.exceptions import DiptychError, Unfinished  # noqa: E402
from diptych.parameters import TrainParameters  # noqa: E402
from diptych.training.folder import RunFolder, find_run, find_runs  # noqa: E402
from diptych.training.options import RunOptions  # noqa: E402
from diptych.training.train import Order, continue_run, train  # noqa: E402
from flows.train_model import train_model  # noqa: E402
from tasks import describe  # noqa: E402


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


def test_a_loss_that_is_not_finite_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def counted(folder: RunFolder, *given: Any) -> Any:
        tries.append(folder)
        return continue_run(folder, *given)

    monkeypatch.setattr("tasks.train.continue_run", counted)
    world.make(tmp_path, 60)
    settings = {"lr": 1e30, "clip": 0.0}
    with pytest.raises(DiptychError, match="not finite"):
        train_model(TrainParameters(model="toy_task:ToyTask", dataset="world", root=str(tmp_path), settings=settings))
    assert len(tries) == 1


def test_a_damaged_earlier_run_fails_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world.make(tmp_path, 60)
    form = TrainParameters(
        model="toy_task:ToyTask", dataset="world", root=str(tmp_path), settings={"warm": 1, "epochs": 1}
    )
    first, second, third = (train_model(form)["runs"][0] for _ in range(3))
    (tmp_path / "world" / second / "results.json").unlink()
    (tmp_path / "world" / third / "run.json").write_text("{")
    (last,) = train_model(form)["runs"]
    assert find_run(str(tmp_path), last).about()["status"] == "finished"
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["training-results", "training-curves"]))
        texts = [str(a.data) for a in client.read_artifacts(artifact_filter=wanted)]
    (text,) = [t for t in texts if f"- `{last}`" in t]
    assert text.partition("## Beside the last run")[2].count("toy full") == 2  # of the same seed: each has its line
    assert f"Beside the last run, `{Path(first).name}`" in text and sum("# Curves of" in t for t in texts) >= 4
    for run, said in ((second, "results.json"), (third, "is not JSON")):
        assert any(f"not compared: run {run} cannot be read: " in m and said in m for m in caplog.messages)
        assert Path(run).name in text.partition("Not compared: ")[2]


def test_what_cannot_be_shown_fails_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(epochs: object) -> bytes:
        raise RuntimeError("no font was found")

    monkeypatch.setattr(describe, "draw_curves", broken)
    world.make(tmp_path, 60)
    form = TrainParameters(
        model="toy_task:ToyTask", dataset="world", root=str(tmp_path), settings={"warm": 1, "epochs": 1}
    )
    assert train_model(form)["metrics"]
    assert any("but not all of them is shown here: " in m and "no font" in m for m in caplog.messages)


def test_the_form_refuses_what_cannot_be() -> None:
    with pytest.raises(ValidationError, match="dataset"):
        TrainParameters(model="gap", dataset="Sample")
    with pytest.raises(ValidationError, match="seeds"):
        TrainParameters(model="gap", dataset="sample", seeds=[])
    schema = parameter_schema(train_model).model_dump()
    for seeds, errors in (([0, 2**63 - 1], 0), ([0, 0], 1), ([2**63], 1), ([2**70], 1), ([-1], 1), ([], 1)):
        given = {"parameters": {"model": "gap", "dataset": "sample", "seeds": seeds}}
        found = validate(given, schema, raise_on_error=False)  # as the server does
        assert len(found) == errors, found
