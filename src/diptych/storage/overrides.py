"""``overrides.csv``: what a person decided about a record or an image; it beats every rule and enters the snapshot.

Columns ``key`` (record id, address of the record or image, or image key), ``decision`` (keep or drop), ``reason``,
``who``. Of two decisions that meet in one row (one by address, one by key) drop holds.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from diptych.exceptions import RecipeError
from diptych.records import clean_surrogates
from diptych.sources.urls import BadUrl, canonical_url

__all__ = ["COLUMNS", "Override", "Overrides", "read_overrides"]

COLUMNS = ("key", "decision", "reason", "who")
_HEX = re.compile(r"[0-9A-Fa-f]{32}([0-9A-Fa-f]{32})?")


@dataclass(frozen=True)
class Override:
    """One decision."""

    decision: Literal["keep", "drop"]
    reason: str = ""
    who: str = ""

    def to_dict(self) -> dict[str, str]:
        """As a snapshot holds it."""
        return asdict(self)


class Overrides:
    """Decisions by key; an empty one changes nothing."""

    def __init__(self, by_key: Mapping[str, Override] | None = None) -> None:
        self._by_key = {_spelled(key): override for key, override in (by_key or {}).items()}
        self.used: set[str] = set()
        """Keys that met a row so far."""

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def of(self, *keys: str | None) -> Override | None:
        """The decision about what has these names; of several a drop."""
        found = {key: self._by_key[key] for key in keys if key and key in self._by_key}
        self.used.update(found)
        return next((o for o in found.values() if o.decision == "drop"), next(iter(found.values()), None))

    @property
    def unused(self) -> tuple[str, ...]:
        """Keys that met no row, sorted: a spelling mistake, or something that left."""
        return tuple(sorted(self._by_key.keys() - self.used))


def read_overrides(path: Path) -> Overrides:
    """The decisions of a file; none when there is no file. :class:`RecipeError` names the line that is wrong."""
    if not path.exists():
        return Overrides()
    found: dict[str, Override] = {}
    lines: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"key", "decision"} <= set(rows.fieldnames or ()) or not set(rows.fieldnames or ()) <= set(COLUMNS):
                raise RecipeError(f"{path}, line 1: expected the columns {','.join(COLUMNS)}, found {rows.fieldnames}")
            for row in rows:
                place = f"{path}, line {rows.line_num}"
                if None in row:
                    raise RecipeError(f"{place}: expected at most {len(rows.fieldnames or ())} values, found more")
                values = {name: clean_surrogates((value or "").strip()) for name, value in row.items()}
                key, override = _read(values, place)
                if found.get(key, override).decision != override.decision:
                    raise RecipeError(f"{place}: {key!r} has another decision in line {lines[key]}; leave one of them")
                found.setdefault(key, override)
                lines.setdefault(key, rows.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecipeError(f"{path}: expected UTF-8 CSV with the columns {','.join(COLUMNS)}: {error}") from error
    return Overrides(found)


def _read(values: Mapping[str, str], place: str) -> tuple[str, Override]:
    key, decision = _spelled(values["key"]), values["decision"].lower()
    if not key:
        raise RecipeError(f"{place}, key: expected a record id, an address or an image key, found nothing")
    if decision not in ("keep", "drop"):
        raise RecipeError(f"{place}, decision: expected keep or drop, found {values['decision']!r}")
    decided = cast(Literal["keep", "drop"], decision)
    return key, Override(decided, values.get("reason", ""), values.get("who", ""))


def _spelled(key: str) -> str:
    """Ids in lower case, web addresses in their canonical form."""
    if _HEX.fullmatch(key):
        return key.lower()
    if re.match(r"https?:", key, re.I):
        try:
            return canonical_url(key)
        except BadUrl:
            return key
    return key
