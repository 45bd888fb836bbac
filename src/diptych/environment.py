"""Variables of the environment that stages need: secrets, which may stand in no recipe, no stage key and no file.

The command line and the tasks of the flows hand the environment over; the library itself reads none.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["set_environment", "variable", "variables"]

_environment: Mapping[str, str] = {}


def set_environment(environment: Mapping[str, str]) -> None:
    """Use these variables from now on in this process."""
    global _environment
    _environment = environment


def variable(name: str) -> str:
    """The value of a variable, empty when it is not set or nobody handed an environment over."""
    return _environment.get(name, "").strip()


def variables() -> Mapping[str, str]:
    """All of them, for a process of the same build."""
    return _environment
