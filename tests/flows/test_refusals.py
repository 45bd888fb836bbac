"""What forms and policies refuse: wrong fields at once, second tries of what stays wrong."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.variables import Variable
from pydantic import ValidationError

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.exceptions import Corrupt, NoSpace, NotFound, SourceError, StoreError, Unreachable, UsageError
from diptych.parameters import RebuildParameters, TrainParameters
from diptych.sample import Site, write
from flows.deployments import register
from flows.forms import ELSEWHERE, choices, refresh_forms
from flows.rebuild_shard import rebuild_shard
from tasks.policies import may_heal


@pytest.mark.parametrize(
    ("error", "heals"),
    [
        (OSError("reset"), True), (ConnectionResetError(), True), (Unreachable("slow down"), True), (EOFError(), True),
        (FileNotFoundError("x"), False), (PermissionError("x"), False), (OSError(errno.ENOSPC, "full"), False),
        (SourceError("no column"), False), (StoreError("no bucket"), False), (NotFound("x"), False),
        (Corrupt("x"), False), (NoSpace("x"), False), (ValueError("x"), False),
    ],
)  # fmt: skip
def test_only_what_can_heal_is_tried_again(error: Exception, heals: bool) -> None:
    state: State[Any] = State(type=StateType.FAILED, data=error)
    assert may_heal(None, None, state) is heals  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [[2**63], [-1], [0, 1, 0], []])
def test_seeds_that_are_none_or_twice(seeds: list[int]) -> None:
    with pytest.raises(ValidationError, match="seeds"):
        TrainParameters.model_validate({"model": "gap", "dataset": "news", "seeds": seeds})
    assert TrainParameters.model_json_schema()["properties"]["seeds"]["uniqueItems"] is True


@pytest.mark.parametrize("fields", [{}, {"shard": 1, "record": "x"}, {"record": ""}, {"shard": 0, "failed": True}])
def test_a_rebuild_of_nothing_or_of_two_things(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="fill exactly one of shard, record, failed"):
        RebuildParameters(dataset="news", **fields)


def test_an_empty_text_is_no_record() -> None:
    form = RebuildParameters(dataset="news", shard=0, record="", stage="")
    assert form.record is None and form.stage is None


def test_a_device_that_is_not_there_is_refused_before_any_row(tmp_path: Path) -> None:
    form = RebuildParameters(dataset="news", shard=0, device="cuda:77", root=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="cuda"):
        rebuild_shard.fn(form)


def test_a_damaged_dataset_is_in_no_list_and_hides_no_other(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write(Site(2), tmp_path / "site", static=False)
    for name in ("good", "bad"):
        text = f"name: {name}\nsources: [{{kind: folder, name: s, path: site}}]\nstages: {{clean: {{}}}}\n"
        crawl_recipe(text, str(root), tmp_path)
        build(text, str(root), folder=tmp_path)
    assert choices(str(root))["dataset"] == ["bad", "good"]
    (root / "bad" / "log" / "1.json").write_text('{"version": ')
    assert choices(str(root))["dataset"] == ["good"]


def test_a_committed_dataset_of_another_root_is_accepted(tmp_path: Path) -> None:
    Variable.set(ELSEWHERE, [], overwrite=True)  # other tests of this server have other roots
    register(str(tmp_path))
    train = "train-model/train"

    def listed() -> list[str]:
        with get_client(sync_client=True) as client:
            schema = client.read_deployment_by_name(train).parameter_openapi_schema or {}
        return schema["definitions"]["TrainParameters"]["properties"]["dataset"].get("enum", [])

    refresh_forms(str(tmp_path), committed="away")
    assert listed() == ["away"]
    refresh_forms(str(tmp_path), committed="far")
    assert listed() == ["away", "far"]
    register(str(tmp_path))  # the forms are made anew, the names stay
    assert listed() == ["away", "far"]
    Variable.set(ELSEWHERE, [], overwrite=True)  # until a person takes them off
    refresh_forms(str(tmp_path))
    assert listed() == []
