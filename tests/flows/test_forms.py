"""Deployments and their forms: what the file names exists, lists follow the datasets, commits are told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, ValidationError

from diptych import parameters
from diptych.exceptions import RecipeError
from diptych.recipe import Training, parse_recipe
from flows.deployments import prefect_file
from flows.forms import choices, with_choices
from flows.rebuild_shard import rebuild_shard
from flows.train_model import train_model


@pytest.fixture(scope="module")
def entries() -> dict[str, Any]:
    return {e["name"]: e for e in yaml.safe_load(prefect_file().read_text())["deployments"]}


def test_four_deployments_on_two_pools_by_module_path(entries: dict[str, Any]) -> None:
    assert set(entries) == {"crawl", "build", "rebuild-shard", "train"}
    assert {e["work_pool"]["name"] for e in entries.values()} == {"cpu", "gpu"}
    for entry in entries.values():
        module, _, name = entry["entrypoint"].partition(":")
        assert getattr(__import__(module, fromlist=[name]), name).name
        assert entry["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert entries["build"]["schedules"] and entries["crawl"]["schedules"]


def test_the_trigger_fills_fields_that_the_form_has(entries: dict[str, Any]) -> None:
    filled = entries["train"]["triggers"][0]["parameters"]["parameters"]
    assert set(filled) <= set(parameters.TrainParameters.model_fields)


def test_lists_are_made_from_models_and_datasets_and_made_again(tmp_path: Path) -> None:
    schema = parameter_schema(train_model).model_dump()
    form = with_choices(schema, choices(str(tmp_path)))["definitions"]["TrainParameters"]["properties"]
    assert {"gap", "mkp", "hcscl", "ananet", "hmlstm"} <= set(form["model"]["enum"])
    assert "enum" not in form["dataset"] and form["dataset"]["pattern"]  # nothing to choose from yet
    first = with_choices(schema, {"dataset": ["a"]})
    again = with_choices(first, {"dataset": ["a", "b"]})["definitions"]["TrainParameters"]["properties"]
    assert again["dataset"]["enum"] == ["a", "b"]
    rebuilt = with_choices(parameter_schema(rebuild_shard).model_dump(), {"dataset": ["a"]})
    assert rebuilt["definitions"]["RebuildParameters"]["properties"]["dataset"]["enum"] == ["a"]


def test_rebuilds_form_has_the_commands_fields() -> None:
    wanted = {"dataset", "root", "shard", "record", "failed", "stage", "refetch", "device", "workers"}
    assert wanted <= set(parameters.RebuildParameters.model_fields)


@pytest.mark.parametrize("name", ["CrawlParameters", "BuildParameters", "RebuildParameters", "TrainParameters"])
def test_every_field_has_a_help_text(name: str) -> None:
    form: type[BaseModel] = getattr(parameters, name)
    assert [n for n, field in form.model_fields.items() if not field.description] == []


def test_bounds_and_patterns() -> None:
    for wrong in ({"max_hours": 0}, {"version": "../1"}, {"ablation": "a b"}, {"seeds": []}, {"dataset": "x@3"}):
        with pytest.raises(ValidationError):
            parameters.TrainParameters.model_validate({"model": "gap", "dataset": "sample", **wrong})


def test_a_recipe_asks_for_trainings_and_a_wrong_one_is_named() -> None:
    text = "name: a\nsources: [{kind: folder, path: x}]\nstages: {clean: {}}\ntrain_on_commit: [{model: gap}]\n"
    assert parse_recipe(text).train_on_commit[0].preset == "paper"
    with pytest.raises(RecipeError, match=r"train_on_commit.0.modle"):
        parse_recipe(text.replace("model:", "modle:"))


def test_a_training_of_a_recipe_has_the_patterns_of_the_form_it_fills() -> None:
    wanted, form = (m.model_json_schema()["properties"] for m in (Training, parameters.TrainParameters))
    for name in ("preset", "ablation", "device"):
        assert wanted[name]["pattern"] == form[name]["pattern"], name
    assert set(wanted) <= set(form)
