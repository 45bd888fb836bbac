"""``overrides.csv``: what a person decided about a record or an image; it beats every rule and enters the snapshot.

The file stands in the dataset's folder (``<root>/<dataset>/overrides.csv``). Columns ``key`` (record id, address of the
record or image, or image key), ``decision`` (keep or drop), ``reason``, ``who``. The address of a picture means the
picture: its bytes under another address, too. Of two decisions that meet in one row (one by address, one by key) drop
holds. A picture that cannot be decoded is not kept.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

from diptych.exceptions import RecipeError
from diptych.records import clean_surrogates
from diptych.sources.urls import BadUrl, canonical_url
from diptych.storage.root import Root

__all__ = ["COLUMNS", "FILE", "Override", "Overrides", "read_overrides"]

FILE = "overrides.csv"
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
        self._addresses: dict[str, list[str]] = {}
        self.used: set[str] = set()
        """Keys that met a row so far."""

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def of(self, *keys: str | None) -> Override | None:
        """The decision about what has these names; of several a drop."""
        names = [name for key in keys if key for name in (key, *self._addresses.get(key, ()))]
        found = {name: self._by_key[name] for name in names if name in self._by_key}
        self.used.update(found)
        return next((o for o in found.values() if o.decision == "drop"), next(iter(found.values()), None))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Keys that are no ids, sorted."""
        return tuple(sorted(key for key in self._by_key if not _HEX.fullmatch(key)))

    def point(self, address: str, image: str) -> None:
        """A decision about this address is one about this image key, wherever its bytes stand."""
        self._addresses.setdefault(image, []).append(address)

    @property
    def unused(self) -> tuple[str, ...]:
        """Keys that met no row, sorted: a spelling mistake, or something that left."""
        return tuple(sorted(self._by_key.keys() - self.used))


def read_overrides(place: Path | Root) -> Overrides:
    """The decisions of a file or a dataset, none without a file; :class:`RecipeError` names a line that is wrong."""
    if isinstance(place, Path):
        return _parse(place.read_bytes(), str(place)) if place.exists() else Overrides()
    return _parse(place.read(FILE), f"{place.url}/{FILE}") if place.exists(FILE) else Overrides()


def _parse(data: bytes, path: str) -> Overrides:
    found: dict[str, Override] = {}
    lines: dict[str, int] = {}
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
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
