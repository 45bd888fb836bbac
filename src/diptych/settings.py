"""The base of all settings that people write: recipes, stages, fits, models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

__all__ = ["Settings", "unreadable"]


class Settings(BaseModel):
    """Frozen; unknown keys, infinities and truth values in place of numbers are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_by_truth(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            kinds = {annotation, *get_args(annotation)}
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("expected a number; YAML reads yes, no, on, off, true and false as truth values")
        return value


def unreadable(key: str, path: object, reason: object) -> ValueError:
    """The error of a stage's or fit's setting that names a file or folder which cannot be read: which was tried."""
    return ValueError(
        f"{key}: cannot read {Path(str(path)).absolute()}: {reason}; paths of stages and fits start where the command "
        "or the worker was started"
    )
