"""The record of exports: ``exports/<id>.json`` says what was written where, ``<id>.parquet`` whom it contains.

Both are written before the export appears, so that none stands anywhere that nobody knows of.
Only hashes of record ids and image keys stand there (as ``forget`` remembers them), so that it can be said for ever
which exports hold a record, also when their version is no more.
"""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from diptych.exceptions import StoreError
from diptych.storage.lists import encode_table
from diptych.storage.parquet import opened
from diptych.storage.snapshot import Forgotten

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = [
    "ExportRecord",
    "check_writable",
    "drop_export",
    "exports_holding",
    "place_of",
    "read_exports",
    "record_export",
]

FOLDER = "exports"
_BYTES = 16


class ExportRecord(BaseModel):
    """One export, finished or about to be."""

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


def check_writable(store: Store) -> None:
    """:class:`StoreError` when no export can be noted in the dataset, as where it is read-only."""
    probe = f"{FOLDER}/probe-{secrets.token_hex(8)}"
    try:
        store.home.put(probe, b"")
    except (OSError, StoreError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise StoreError(
            f"dataset {store.name}: nothing was exported: {store.home.url}/{FOLDER}, where it has to be noted so that "
            f"`diptych forget` can name it, cannot be written ({getattr(cause, 'strerror', None) or cause}); make it "
            "writable while you export, or copy the dataset and export the copy"
        ) from error
    store.home.delete(probe)


def record_export(store: Store, entry: ExportRecord, members: Iterable[str]) -> None:
    """Note an export and the record ids and image keys that it contains; the list of members is written first."""
    hashes = sorted({bytes.fromhex(Forgotten.hash(name))[:_BYTES] for name in members})
    table = pa.table({"hash": pa.array(hashes, pa.binary(_BYTES))})
    store.home.put(f"{FOLDER}/{entry.id}.parquet", encode_table(table))
    store.home.put(f"{FOLDER}/{entry.id}.json", entry.model_dump_json(indent=1).encode())


def drop_export(store: Store, name: str) -> None:
    """Take back the note of an export that did not come about."""
    store.home.delete(f"{FOLDER}/{name}.json")
    store.home.delete(f"{FOLDER}/{name}.parquet")


def place_of(entry: ExportRecord) -> str:
    """Where an export is, for people: its folder and format, and what is found there now if it is not the export."""
    path, said = Path(entry.place), f"{entry.place} ({entry.format})"
    if os.path.exists(path):  # unlike Path.exists, no error where nobody may look
        return said
    parts = sorted(path.parent.glob(f".{glob.escape(path.name)}.part-*")) if os.path.isdir(path.parent) else []
    if parts:
        return f"{said}: it was not finished, and {parts[0]} is left of it"
    return f"{said}: not there now; moved, deleted, never finished, or on another machine"


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
