"""The models Diptych ships, by name; a module is imported when its model is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    """The task of that name, or the one at an import path ``module:Class`` (a model of the user's own).

    :class:`UsageError` when there is none, or what stands there is no task that can be fitted.
    """
    path = MODELS.get(name, name if ":" in name else "")
    module, _, attribute = path.partition(":")
    if not module:
        known = ", ".join(sorted(MODELS))
        raise UsageError(f"no model {name!r}; there are: {known}; or name one of your own as module:Class")
    try:
        found: Any = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and not module.startswith(error.name):
            raise
        raise UsageError(f"model {name!r}: cannot import {path}: {error}") from None
    from diptych.training.task import Task

    if not (isinstance(found, type) and issubclass(found, Task)):
        raise UsageError(f"model {name!r}: expected a subclass of diptych.training.task:Task, found {found!r:.80}")
    missing = sorted(found.__abstractmethods__) + [x for x in ("name", "Config") if not hasattr(found, x)]
    if missing:
        raise UsageError(f"model {name!r}: {found.__qualname__} lacks {', '.join(missing)}")
    return found
