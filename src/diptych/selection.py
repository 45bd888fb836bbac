"""``only:`` of a stage: a comparison that narrows its rows, as ``relevance.rank <= 3``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import yaml

from diptych.exceptions import RecipeError

__all__ = ["Selection", "parse_selection"]

_FORM = re.compile(r"^\s*([A-Za-z_]\w*\.[A-Za-z_]\w*)\s*(<=|>=|==|!=|<|>)\s*(.+?)\s*$")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Selection:
    """``column sign value``; ``text`` is its canonical form and enters the stage key."""

    column: str
    sign: str
    value: str | int | float | bool

    @property
    def text(self) -> str:
        """The canonical form."""
        return f"{self.column} {self.sign} {self.value!r}"

    def suits(self, kind: pa.DataType) -> bool:
        """Whether values of this type can be compared with the selection's own at all."""
        while pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        if isinstance(self.value, str):
            return not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
        if isinstance(self.value, bool):
            return pa.types.is_boolean(kind)
        return not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))

    def keeps(self, value: Any) -> bool:
        """Whether a row with this value is selected; of a list (a document's pairs) any item; None never is."""
        if isinstance(value, list):
            return any(self.keeps(item) for item in value)
        if value is None:
            return False
        try:
            return bool(_COMPARE[self.sign](value, self.value))
        except TypeError:
            return False


def parse_selection(text: object, where: str) -> Selection:
    """The selection a recipe writes; :class:`RecipeError` shows the form."""
    match = _FORM.match(text) if isinstance(text, str) else None
    if not match:
        raise RecipeError(f"{where}: expected `stage.column <= value` (one of {' '.join(_COMPARE)}), found {text!r}")
    try:
        value = yaml.safe_load(match[3])
    except (yaml.YAMLError, ValueError):  # the 30th of February is a date to YAML
        value = None
    if not isinstance(value, str | int | float | bool):
        raise RecipeError(f"{where}: the value must be a number, a text or true/false, found {match[3]!r}")
    return Selection(match[1], match[2], value)
