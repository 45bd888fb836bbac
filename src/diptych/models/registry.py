"""The models Diptych ships, by name; a module is imported when its model is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from diptych.exceptions import UsageError

if TYPE_CHECKING:
    from diptych.training.task import Task

__all__ = ["MODELS", "find_task"]

MODELS: dict[str, str] = {
    "ananet": "diptych.models.ananet.task:AnANetTask",
    "gap": "diptych.models.gap.task:GapTask",
    "hcscl": "diptych.models.hcscl.task:HcsclTask",
    "hmlstm": "diptych.models.hmlstm.task:HMLSTMTask",
    "mkp": "diptych.models.mkp.task:MkpTask",
}
"""Name to ``module:Class``."""


def find_task(name: str) -> type[Task]:
    """The task of that name, or the one at an import path ``module:Class`` (a model of the user's own)."""
    path = MODELS.get(name, name if ":" in name else "")
    module, _, attribute = path.partition(":")
    try:
        found = getattr(import_module(module), attribute) if module else None
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and not module.startswith(error.name):
            raise
        raise UsageError(f"model {name!r}: cannot import {path}: {error}") from None
    if found is None:
        known = ", ".join(sorted(MODELS)) or "none yet"
        raise UsageError(f"no model {name!r}; there are: {known}; or name one of your own as module:Class")
    return found
