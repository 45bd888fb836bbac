"""The proof that no near-duplicate group crosses splits, from the results and not from the code that made them.

Two independent counts: every record group of the ledger lies in one split; and every group of like pictures
(recurring ones apart, because they join nothing) is shown by records of one split only.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from diptych.version import Version

__all__ = ["Crossing", "SplitProof", "split_proof"]

_RECORD = 32
_SHOWN = 20


@dataclass(frozen=True)
class Crossing:
    """A group whose members stand in several splits; official splits alone can do that."""

    group: str
    splits: tuple[str, ...]
    members: int
    official: bool


@dataclass(frozen=True)
class SplitProof:
    """Sizes of groups and what crosses; picture counts are None when the version has no near-duplicate fit."""

    records: int
    groups: int
    joined: int
    """Groups of more than one record."""
    largest: int
    crossing: int
    crossings: tuple[Crossing, ...]
    """At most twenty of them."""
    picture_groups: int | None
    shared_pictures: int | None
    """Groups of like pictures that more than one record shows."""
    recurring: int | None
    picture_crossing: int | None

    @property
    def holds(self) -> bool:
        """Whether nothing crosses."""
        return not self.crossing and not self.picture_crossing


def split_proof(version: Version) -> SplitProof | None:
    """The proof of a version; None when it has no split ledger."""
    ledger = next((f for f in version.manifest.fits if f.ledger and f.keyed), None)
    if ledger is None:
        return None
    table = version.store.lists.get(ledger.result)
    official = table["official"] if "official" in table.schema.names else pa.nulls(table.num_rows, pa.bool_())
    table = pa.table({n: table[n] for n in ("key", "group", "split")} | {"official": pc.fill_null(official, False)})
    groups = table.group_by("group").aggregate(
        [("key", "count"), ("split", "count_distinct"), ("split", "distinct"), ("official", "max")]
    )
    sizes = groups["key_count"]
    bad = groups.filter(pc.greater(groups["split_count_distinct"], 1)).sort_by("group")
    crossings = tuple(
        Crossing(r["group"], tuple(sorted(r["split_distinct"])), r["key_count"], bool(r["official_max"]))
        for r in bad.slice(0, _SHOWN).to_pylist()
    )
    return SplitProof(
        records=table.num_rows,
        groups=groups.num_rows,
        joined=pc.sum(pc.greater(sizes, 1)).as_py() or 0,
        largest=pc.max(sizes).as_py() or 0,
        crossing=bad.num_rows,
        crossings=crossings,
        **_pictures(version, table),
    )


def _pictures(version: Version, ledger: pa.Table) -> dict[str, int | None]:
    fit = next((f for f in version.manifest.fits if f.name == "near_duplicates"), None)
    if fit is None:
        return dict.fromkeys(("picture_groups", "shared_pictures", "recurring", "picture_crossing"))
    pairs = version.store.lists.get(fit.result)
    joins = pc.invert(pairs["recurring"])
    record = pc.utf8_slice_codeunits(pairs["key"], 0, _RECORD)
    all_groups = pc.count_distinct(pairs["group"]).as_py()
    recurring = pc.count_distinct(pairs["group"].filter(pairs["recurring"])).as_py()
    shown = pa.table({"record": record, "picture": pairs["group"]}).filter(joins)
    joined = shown.join(ledger.select(["key", "split"]), "record", "key", "inner")
    groups = joined.group_by("picture").aggregate([("record", "count_distinct"), ("split", "count_distinct")])
    return {
        "picture_groups": all_groups,
        "shared_pictures": pc.sum(pc.greater(groups["record_count_distinct"], 1)).as_py() or 0,
        "recurring": recurring,
        "picture_crossing": pc.sum(pc.greater(groups["split_count_distinct"], 1)).as_py() or 0,
    }
