"""What all settings have in common."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from diptych.models.hmlstm.config import HMLSTMConfig
from diptych.recipe import Limits
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


@pytest.mark.parametrize(
    ("kind", "field"), [(CleanConfig, "min_side"), (Limits, "gone_after"), (HMLSTMConfig, "feature_size")]
)
def test_a_truth_value_is_no_number(kind: type[Settings], field: str) -> None:
    with pytest.raises(ValidationError, match="expected a number; YAML reads yes"):
        kind.model_validate({field: True})
