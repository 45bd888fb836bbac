"""Which split every record stands in, for ever: the split ledger.

A record keeps its split, with one exception: when a new record joins groups, all their members take the
most protected split among them (test before dev before train), so that a record can leave train and never
enter it. Rows of the parent's ledger stay when their records are gone, with the pictures that they showed:
so a deletion never splits a group, and a picture that comes back under another record stays in its split. (A
near duplicate of a picture that has left is new.) A group without any split goes by the hash of its id (its
smallest record id). A recurring picture joins nothing.

An official split (``documents.split``) wins over the group: such a record keeps it although its group lies
elsewhere (:func:`crossing` lists those groups), and the group's other members take the most protected one.
Only against the ledger it cannot win train back: a record that stood in dev or test never enters train, nor one
that stood in test dev.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field, model_validator

from diptych.exceptions import StageError
from diptych.fit import Fit
from diptych.fits.components import Components
from diptych.naming import split_pair_key
from diptych.sources.official import ALLOWED_SPLITS, known_split
from diptych.stage import StageConfig

__all__ = ["SPLITS", "Splits", "SplitsConfig", "crossing", "official_split", "oversized"]

SPLITS = ("test", "dev", "train")
"""From the most protected to the least."""
_SHORT = 16
"""Digits of an image key by which the ledger knows it; two of 100 million images share them with a chance of 0.03 %."""


class SplitsConfig(StageConfig):
    """Shares of new groups; changing them moves no record that is in the ledger."""

    train: float = Field(0.8, ge=0, le=1, description="share of new groups")
    dev: float = Field(0.1, ge=0, le=1, description="share of new groups")
    test: float = Field(0.1, ge=0, le=1, description="share of new groups")
    seed: str = Field("", description="another seed gives new groups other splits")

    @model_validator(mode="after")
    def _sum_is_one(self) -> SplitsConfig:
        if abs(self.train + self.dev + self.test - 1) > 1e-9:
            raise ValueError(f"train + dev + test must be 1, found {self.train + self.dev + self.test}")
        return self


class Splits(Fit):
    """The ledger: record id, near-duplicate group, split; continues the parent version's."""

    name, version = "splits", 3
    rows = "document"
    key = "document"
    fetched = True
    inputs = ("near_duplicates.key", "near_duplicates.group", "near_duplicates.recurring", "documents.split")
    outputs = pa.schema(
        [
            pa.field("key", pa.string()),
            pa.field("group", pa.string(), metadata={"doc": "smallest record id of the group"}),
            pa.field("split", pa.string(), metadata={"doc": "train, dev or test"}),
            pa.field("official", pa.bool_(), metadata={"doc": "the source assigned it"}),
            pa.field(
                "pictures",
                pa.list_(pa.string()),
                metadata={"doc": f"what it ever showed: {_SHORT} digits of keys and groups of images, none recurring"},
            ),
        ]
    )
    on = "all"
    refit = "always"
    ledger = True
    Config = SplitsConfig
    config: SplitsConfig

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """Per record its pictures that do not recur and their groups, and its official split."""
        lists = (columns[f"near_duplicates.{name}"] for name in ("key", "group", "recurring"))
        joined = [
            sorted(
                {
                    image[:_SHORT]
                    for pair, group, recurs in zip(*row, strict=True)
                    if group is not None and not recurs
                    for image in (split_pair_key(pair)[1], group)
                }
            )
            for row in zip(*([some or () for some in each] for each in lists), strict=True)
        ]
        official = [official_split(s, key) for key, s in zip(keys, columns["documents.split"], strict=True)]
        return pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "pictures": pa.array(joined, pa.list_(pa.string())),
                "official": pa.array(official, pa.string()),
            }
        )

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """Every record of the corpus and of the parent's ledger, sorted by record id."""
        components: Components[str] = Components()
        before: dict[str, str] = {}
        was_official: set[str] = set()
        shown: dict[str, list[str]] = {}
        for row in previous.to_pylist() if previous is not None else ():
            components.join(row["group"], row["key"])
            before[row["key"]] = row["split"]
            shown[row["key"]] = row.get("pictures") or []  # a ledger of version 1 has none
            if row["official"]:
                was_official.add(row["key"])
        official: dict[str, str] = {}
        for key, pictures, split in _rows(partials):
            components.add(key)
            if split:
                official[key] = split
            shown[key] = sorted({*pictures, *shown.get(key, ())})
        showing: dict[str, str] = {}
        for key, pictures in shown.items():
            for picture in pictures:
                components.join(showing.setdefault(picture, key), key)
        columns: dict[str, list[Any]] = {name: [] for name in self.outputs.names}
        for group, members in components.groups().items():
            shared = self._shared(group, members, before, official)
            for key in members:
                gone_official = key in was_official and key not in official and key in before
                columns["key"].append(key)
                columns["group"].append(group)
                columns["split"].append(
                    before[key] if gone_official else _own(official.get(key), before.get(key)) or shared
                )
                columns["official"].append(key in official or gone_official)
                columns["pictures"].append(shown[key])
        table = pa.table(columns, schema=self.outputs)
        return table.sort_by("key")

    def _shared(self, group: str, members: list[str], before: dict[str, str], official: dict[str, str]) -> str:
        """The split of the members that have no official one."""
        known = {split for key in members if (split := _own(official.get(key), before.get(key)) or before.get(key))}
        return min(known, key=SPLITS.index) if known else self._drawn(group)

    def _drawn(self, group: str) -> str:
        digest = hashlib.sha256(f"split:{self.config.seed}:{group}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        if place < self.config.train:
            return "train"
        return "dev" if place < self.config.train + self.config.dev else "test"


def official_split(name: str | None, record: str = "") -> str | None:
    """train, dev or test for what a source calls it; None when it assigns none.

    Raises :class:`StageError` for other names: of a source of the user's own, or crawled by a release that took them.
    """
    if not name or not name.strip():
        return None
    split = known_split(name)
    if split is None:
        raise StageError(
            f"fit splits, record {record}: official split {name!r} is unknown; known are {ALLOWED_SPLITS}; "
            "correct the record's 'split' in its source and crawl again"
        )
    return split


def crossing(ledger: pa.Table) -> list[str]:
    """Groups whose members stand in more than one split (official splits alone can do that)."""
    seen: dict[str, set[str]] = {}
    for row in ledger.to_pylist():
        seen.setdefault(row["group"], set()).add(row["split"])
    return sorted(group for group, splits in seen.items() if len(splits) > 1)


def oversized(ledger: pa.Table, share: float = 0.01) -> dict[str, int]:
    """Groups that hold more than ``share`` of all records (and more than one), with their sizes."""
    sizes: dict[str, int] = {}
    for group in ledger["group"].to_pylist():
        sizes[group] = sizes.get(group, 0) + 1
    return {group: n for group, n in sorted(sizes.items()) if n > 1 and n > share * len(ledger)}


def _own(official: str | None, before: str | None) -> str | None:
    """A record's official split, unless the ledger protects the record more."""
    known = [split for split in (official, before) if split]
    return min(known, key=SPLITS.index) if official else None


def _rows(partials: Sequence[pa.Table]) -> list[tuple[str, list[str], str | None]]:
    rows = {}
    for part in partials:
        for row in part.to_pylist():
            rows[row["key"]] = (row["key"], row["pictures"], row["official"])
    return [rows[key] for key in sorted(rows)]
