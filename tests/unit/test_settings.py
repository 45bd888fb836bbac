"""What all settings have in common."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from diptych.engine.context import graph_of
from diptych.exceptions import RecipeError
from diptych.models.hmlstm.config import HMLSTMConfig
from diptych.recipe import Limits, parse_recipe
from diptych.selection import parse_selection
from diptych.settings import Settings
from diptych.stages.clean import CleanConfig


class Every(Settings):
    whole: int = 1
    share: float | None = None
    flag: bool = False
    either: bool | int = 0
    words: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "wrong", [{"whole": True}, {"share": False}, {"words": True}, {"share": float("inf")}, {"x": 1}]
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Every.model_validate(wrong)


def test_what_is_not() -> None:
    given = {"whole": 2, "share": None, "flag": True, "either": True, "words": ["a"]}
    assert Every.model_validate(given).model_dump(mode="json") == given


RECIPE = "name: x\nsources: [{kind: folder, path: .}]\nstages: {clean: {}}\n"


@pytest.mark.parametrize(
    "value", ["2024-02-30", "9" * 5000, "0x_", "!!int many", "!!float much", "!!timestamp soon", "[1, 2024-13-01]"]
)
def test_a_value_that_yaml_cannot_make_is_named_with_its_line(value: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe, line 4, column \d+: not YAML: '.*; text stands in quotes"):
        parse_recipe(f"{RECIPE}title: {value}\n")


@pytest.mark.parametrize("value", ["2024-02-30", "9" * 5000])
def test_a_selection_names_such_a_value(value: str) -> None:
    with pytest.raises(RecipeError, match="a number, a text or true/false"):
        parse_selection(f"clean.width <= {value}", "only")


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("clean_text.language == no", "is string, found bool False"),
        ("documents.language != no", "is string, found bool False"),
        ("clean.width <= many", "is int32, found str 'many'"),
        ("clean.width == true", "is int32, found bool True"),
        ("documents.title > 3", "is string, found int 3"),
        ('clean_text.language == "no"', ""),
        ("clean.width <= 3.5", ""),
        ("pairs.position < 2", ""),
    ],
)
def test_a_selection_that_could_select_nothing_is_refused(only: str, said: str) -> None:
    recipe = f"{RECIPE.replace('path: .', 'name: s, path: .')}  clean_text: {{}}\n  ocr: {{only: '{only}'}}\n"
    recipe = recipe.replace("stages: {clean: {}}", "stages:\n  clean: {}")
    if not said:
        assert graph_of(recipe)
        return
    with pytest.raises(RecipeError, match=f"stages.ocr.only: .* {said}"):
        graph_of(recipe)


def test_what_was_found_is_shown_in_short() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    for wrong in ("\n".join([*lines, "title: *a8"]), f"title: [{'x, ' * 10_000}]"):
        with pytest.raises(RecipeError, match=r"title: Input should be a valid string \(found \[") as caught:
            parse_recipe(f"{wrong}\n{RECIPE}")
        assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    ("kind", "field"), [(CleanConfig, "min_side"), (Limits, "gone_after"), (HMLSTMConfig, "feature_size")]
)
def test_a_truth_value_is_no_number(kind: type[Settings], field: str) -> None:
    with pytest.raises(ValidationError, match="expected a number; YAML reads yes"):
        kind.model_validate({field: True})
