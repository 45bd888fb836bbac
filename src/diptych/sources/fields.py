"""JSON that other people wrote, and its fields by their type: what does not fit is named, never guessed at."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Wrong", "joined", "load_json", "shown", "text_in", "texts_in"]

_DEEPEST = 200
"""Levels of brackets; what is nested deeper could be read here and not be written later."""

_KINDS = {
    "str": "text", "dict": "an object", "list": "a list", "tuple": "a list", "bytes": "bytes",
    "int": "the number", "float": "the number", "bool": "the truth value", "NoneType": "nothing",
}  # fmt: skip

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxdict = 3, 4, 4, 4
_SHORT.maxstring = _SHORT.maxother = 60


class Wrong(ValueError):
    """A value that is not what its place asks for: the place, what was expected there, what was found."""

    def __init__(self, where: str, expected: str, found: str) -> None:
        super().__init__(f"{where}: expected {expected}, found {found}")
        self.where, self.expected, self.found = where, expected, found


def shown(value: object) -> str:
    """A value in words, short whatever its size: ``text 'a.jpg'``."""
    kind = _KINDS.get(type(value).__name__, type(value).__name__)
    return kind if value is None else f"{kind} {_SHORT.repr(value)}"


def load_json(text: str | bytes) -> Any:
    """One JSON value; :class:`ValueError` when it is none, or nested too deeply to be worked with.

    ``NaN`` and ``Infinity``, which Python writes for what is absent and no other reader takes, are null.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("values nested too deeply") from None
    opening = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if opening > _DEEPEST and _is_deep(value):
        raise ValueError(f"values nested deeper than {_DEEPEST} levels")
    return value


def text_in(raw: Mapping[str, Any], key: str, place: str = "") -> str:
    """A text, empty when it is absent or null; :class:`Wrong` for anything else. ``place`` stands before the key."""
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Wrong(f"{place}{key}", "text", shown(value))
    return value


def texts_in(raw: Mapping[str, Any], key: str, place: str = "") -> list[str]:
    """A text or a list of texts, as a list (nulls are left out); :class:`Wrong` for anything else."""
    value = raw.get(key)
    if value is None or isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, list) or not all(item is None or isinstance(item, str) for item in value):
        raise Wrong(f"{place}{key}", "text or a list of texts", shown(value))
    return [item for item in value if item]


def joined(texts: Iterable[str]) -> str:
    """Several captions as a picture holds them: one a line."""
    return "\n".join(line for text in texts if (line := " ".join(text.split())))


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        inner = (item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder))
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return False
    return True
