"""The record of exports: ``exports/<id>.json`` says what was written where, ``<id>.parquet`` whom it contains.

Only hashes of record ids and image keys stand there (as ``forget`` remembers them), so that it can be said for ever
which exports hold a record, also when their version is no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from diptych.storage.lists import encode_table
from diptych.storage.parquet import opened
from diptych.storage.snapshot import Forgotten

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["ExportRecord", "exports_holding", "read_exports", "record_export"]

FOLDER = "exports"
_BYTES = 16


class ExportRecord(BaseModel):
    """One finished export."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    version: int
    created_at: str
    place: str
    """Where it was written, as an absolute path."""
    format: str
    redacted: bool = False
    records: int
    images: int
    manifest_sha256: str
    """Of its ``export.json``."""


def record_export(store: Store, entry: ExportRecord, members: Iterable[str]) -> None:
    """Note an export and the record ids and image keys that it contains; the list of members is written first."""
    hashes = sorted({bytes.fromhex(Forgotten.hash(name))[:_BYTES] for name in members})
    table = pa.table({"hash": pa.array(hashes, pa.binary(_BYTES))})
    store.home.put(f"{FOLDER}/{entry.id}.parquet", encode_table(table))
    store.home.put(f"{FOLDER}/{entry.id}.json", entry.model_dump_json(indent=1).encode())


def read_exports(store: Store) -> list[ExportRecord]:
    """All exports of the dataset, oldest first."""
    names = [name for name in store.home.list(FOLDER) if name.endswith(".json")]
    found = [ExportRecord.model_validate_json(store.home.read(f"{FOLDER}/{name}")) for name in names]
    return sorted(found, key=lambda e: (e.created_at, e.id))


def exports_holding(store: Store, hashes: Collection[str]) -> list[ExportRecord]:
    """Exports that contain a record or image with one of these hashes (SHA-256, hexadecimal)."""
    wanted = pa.array(sorted({bytes.fromhex(h)[:_BYTES] for h in hashes}), pa.binary(_BYTES))
    found = []
    for entry in read_exports(store):
        with opened(store.home, f"{FOLDER}/{entry.id}.parquet", "restore it from a backup, or export again") as file:
            members = file.read(["hash"])["hash"]
        if pc.any(pc.is_in(members, value_set=wanted)).as_py():
            found.append(entry)
    return found
