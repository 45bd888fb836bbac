"""Settings of a model: one frozen pydantic class a model, whose defaults are the paper's.

A plain default is the value the paper prints. A default that the paper does not print, or that reads a printed value
as a misprint, says so, so that a run's table can list every field that is not the paper's printed value::

    class GapConfig(TaskConfig):
        article: int = 2400                                              # printed
        dropout: float = ours(0.3, "silent; the rate of Vinyals et al.")
        orthogonality: Literal["rows", "printed"] = reading("rows", "printed", "W^T P is the product of columns")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from diptych.exceptions import UsageError
from diptych.settings import Settings

__all__ = ["Departure", "Plain", "TaskConfig", "departures", "make_config", "ours", "reading"]

Plain = str | int | float | bool | None | Sequence["Plain"] | Mapping[str, "Plain"]
"""What JSON holds."""


def ours(default: Any, why: str, **limits: Any) -> Any:
    """A field for which the paper prints no value; ``limits`` are pydantic's (``ge``, ``le``)."""
    return Field(default=default, description=why, json_schema_extra={"silent": True}, **limits)


def reading(default: Any, printed: Any, why: str, **limits: Any) -> Any:
    """A field whose default is our reading of something that the paper prints otherwise."""
    return Field(default=default, description=why, json_schema_extra={"printed": printed}, **limits)


class TaskConfig(Settings):
    """What every model's settings have (again in a subclass where its paper prints a value)."""

    clip: float = ours(5.0, "largest gradient norm; 0 clips nothing", ge=0)
    patience: int = ours(5, "epochs without a better dev value after which a phase ends", ge=1)


@dataclass(frozen=True)
class Departure:
    """A field that has not the paper's printed value; ``printed`` is None where the paper is silent."""

    field: str
    value: Plain
    printed: Plain
    why: str


def departures(config: TaskConfig) -> tuple[Departure, ...]:
    """Every field of a configuration that is not the paper's printed value, in order of declaration."""
    found = []
    for name, field in type(config).model_fields.items():
        value = config.model_dump(mode="json")[name]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        silent = bool(extra.get("silent"))
        printed: Any = None if silent else extra.get("printed", type(config)().model_dump(mode="json")[name])
        if silent or value != (list(printed) if isinstance(printed, tuple) else printed):
            found.append(Departure(name, value, printed, field.description or ""))
    return tuple(found)


def make_config(kind: type[TaskConfig], *layers: Mapping[str, Plain]) -> TaskConfig:
    """Defaults, overridden by each layer in turn; :class:`UsageError` names a wrong field and those there are."""
    merged = {name: value for layer in layers for name, value in layer.items()}
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        lines = []
        for item in error.errors():
            path = ".".join(str(x) for x in item["loc"])
            if item["type"] == "extra_forbidden":
                lines.append(f"{path}: unknown setting; there are {', '.join(sorted(kind.model_fields))}")
            else:
                lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')} (found {item.get('input')!r})")
        raise UsageError("the settings are wrong:\n  " + "\n  ".join(lines)) from None
