"""What follows a commit: trainings that the recipe asks for, in any root, and what an earlier try did not tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.exceptions import PrefectHTTPStatusError
from prefect.variables import Variable

from diptych.parameters import BuildParameters, TrainParameters
from diptych.sample import Site, write
from diptych.storage.store import open_store
from flows import build_dataset as building
from flows import published as telling
from flows.deployments import register
from flows.forms import ELSEWHERE

RECIPE = """
name: {name}
sources: [{{kind: folder, name: site, path: site}}]
shards: 1
stages: {{clean: {{min_side: 64}}}}
train_on_commit: [{{model: gap, preset: sample}}]
"""
TRAIN = "train-model/train"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write(Site(6), folder / "site", static=False)
    return folder


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as found:
        yield found


@pytest.fixture(autouse=True)
def _lists() -> Iterator[None]:
    """The server is that of all tests of this folder, whose datasets are in other roots."""
    Variable.set(ELSEWHERE, [], overwrite=True)
    yield
    Variable.set(ELSEWHERE, [], overwrite=True)


def form(place: Path, name: str, root: Path) -> BuildParameters:
    file = place / f"{name}.yaml"
    file.write_text(RECIPE.format(name=name))
    return BuildParameters(recipe=str(file), root=str(root))


def choices_of(client: SyncPrefectClient) -> list[str]:
    schema: Any = client.read_deployment_by_name(TRAIN).parameter_openapi_schema
    return schema["definitions"]["TrainParameters"]["properties"]["dataset"].get("enum", [])


def train(client: SyncPrefectClient, **filled: str) -> None:
    """Ask for a run as the event and the form do; the server refuses what breaks the form's schema."""
    deployment = client.read_deployment_by_name(TRAIN)
    client.create_flow_run_from_deployment(deployment.id, parameters={"parameters": filled})


def wait_for_event(root: str) -> Any:
    """The event of a commit in this root, once the server has it; it comes there a moment later."""
    with get_client(sync_client=True) as client:
        for _ in range(100):
            events = client.read_events(EventFilter(event=EventNameFilter(name=[telling.COMMITTED])), limit=50).events
            if found := [e for e in events if e.payload["root"] == root]:
                return found
            time.sleep(0.2)
    raise AssertionError("the server has no such event")


def test_a_training_on_a_dataset_in_another_root_is_accepted(
    place: Path, tmp_path: Path, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, elsewhere, asked = tmp_path / "own", tmp_path / "elsewhere", []
    monkeypatch.setenv("DIPTYCH_ROOT", str(own))

    def emit(event: str, resource: Any, payload: dict[str, str]) -> None:
        if event.endswith(".train"):  # what the deployment's trigger does, and not a moment later
            filled = {k: v for k, v in payload.items() if k in TrainParameters.model_fields}
            train(client, **filled)
            asked.append(filled)

    monkeypatch.setattr(telling, "emit_event", emit)
    register(str(own))
    building.build_dataset(form(place, "first", own))
    building.build_dataset(form(place, "second", own))
    building.build_dataset(form(place, "away", elsewhere))
    assert [(a["dataset"], a["root"]) for a in asked] == [
        ("first", str(own)), ("second", str(own)), ("away", str(elsewhere)),
    ]  # fmt: skip
    assert choices_of(client) == ["away", "first", "second"]
    assert Variable.get(ELSEWHERE) == ["away"]
    train(client, model="gap", dataset="away", root=str(elsewhere))
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        train(client, model="gap", dataset="nowhere")


def test_a_try_that_was_cut_off_after_its_commit_is_told_of_by_the_next(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries, told = telling.published, [], []

    def emit(event: str, resource: Any, payload: dict[str, str]) -> None:
        told.append((event, payload["version"]))

    def cut_off(*given: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionResetError("the machine is gone")
        real(*given)

    monkeypatch.setattr(telling, "emit_event", emit)
    monkeypatch.setattr(building, "published", cut_off)
    again = building.build_dataset.with_options(retries=1, retry_delay_seconds=0)
    wanted = form(place, "cut", tmp_path)
    done = again(wanted)
    assert done["version"] is None and sorted(open_store(tmp_path, "cut").log.versions()) == [1]
    expected = [(telling.COMMITTED, "1"), (f"{telling.COMMITTED}.train", "1")]
    assert told == expected
    again(wanted)  # another run, which committed nothing
    assert told == expected


def test_what_was_told_is_not_told_again(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, told, there = telling.emit_event, [], []

    def emit(event: str, resource: Any, payload: dict[str, str]) -> None:
        told.append(event)
        real(event, resource, payload=payload)

    def cut_off(report: Any, root: str) -> None:
        telling.published(report, root)
        if len(told) == 2 and not there:
            there.append(wait_for_event(root))
            raise ConnectionResetError("the machine is gone")

    monkeypatch.setattr(telling, "emit_event", emit)
    monkeypatch.setattr(building, "published", cut_off)
    done = building.build_dataset.with_options(retries=1, retry_delay_seconds=0)(form(place, "told", tmp_path))
    assert done["version"] is None and there and len(told) == 2
