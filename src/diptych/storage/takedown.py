"""Takedowns: what was asked to be forgotten, as a small file each, and the hashes that keep it from coming back.

``raw/takedowns/<id>.json`` is written before anything else happens and says how far it went, so that a killed
``forget`` is completed by the next one. While a purge is due it names records, images and addresses in the clear,
because they have to be found; when it is done only their hashes stand there. ``raw/forgotten.parquet`` is the union
of all takedowns' hashes: what crawls, snapshots and gc look at.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from diptych.exceptions import Corrupt
from diptych.storage.lists import encode_table
from diptych.storage.log import now
from diptych.storage.snapshot import FORGOTTEN, read_forgotten

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["Holder", "Takedown", "due", "new_takedown_id", "read_takedowns", "remember", "save"]

FOLDER = "raw/takedowns"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Holder(_Model):
    """Something that contains what was forgotten and that only a person can remove, or keeps on purpose."""

    kind: Literal["version", "export", "run", "record", "page", "fit", "dataset"]
    name: str
    text: str = ""
    """Where it is, or why it stays."""


class Takedown(_Model):
    """One takedown; everything but ``hashes``, ``holders`` and the dates is emptied when its purge is done."""

    id: str
    created_at: str
    reason: str = ""
    hashes: tuple[str, ...]
    """Of record ids, addresses and image keys, sorted."""
    purge: bool = False
    done: bool = False
    """The version without it is committed and, where a purge was asked for, its bytes are gone."""
    counts: dict[str, int] = {}
    records: tuple[str, ...] = ()
    """Record ids."""
    touched: tuple[str, ...] = ()
    """Other records that show, or once showed, a picture of it."""
    urls: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    """Blobs of the records' texts: what mentions are looked for with."""
    sentences: tuple[str, ...] = ()
    """Row keys of their sentences."""
    holders: tuple[Holder, ...] = ()
    """What contained it when it was asked for."""

    def finished(self) -> Takedown:
        """Without anything in the clear."""
        empty = dict.fromkeys(("records", "touched", "urls", "images", "documents", "sentences"), ())
        return self.model_copy(update={**empty, "done": True})


def new_takedown_id() -> str:
    """Sorts by time; nobody else has it."""
    return f"{now().replace(':', '').replace('-', '')}-{secrets.token_hex(4)}"


def save(store: Store, takedown: Takedown) -> None:
    """Write (or replace) its file."""
    store.home.put(f"{FOLDER}/{takedown.id}.json", takedown.model_dump_json(indent=1).encode())


def read_takedowns(store: Store) -> list[Takedown]:
    """All takedowns, oldest first; :class:`Corrupt` names a file that is none."""
    found = []
    for name in store.home.list(FOLDER):
        path = f"{FOLDER}/{name}"
        try:
            found.append(Takedown.model_validate_json(store.home.read(path)))
        except ValidationError as error:
            raise Corrupt(f"{path} in {store.home.url} is not a takedown: {error}; restore it from a copy") from error
    return found


def due(store: Store) -> list[Takedown]:
    """Those that are not finished."""
    return [takedown for takedown in read_takedowns(store) if not takedown.done]


def remember(store: Store) -> frozenset[str]:
    """Bring ``raw/forgotten.parquet`` up to all takedowns; hashes that stand in it stay. Returns them all.

    Two of these at once lose nothing: each looks again after it has written, and takedowns are only ever added.
    """
    while True:
        held = read_forgotten(store).hashes
        wanted = held | _hashes(read_takedowns(store))
        if wanted == held:
            return held
        table = pa.table({"hash": pa.array(sorted(wanted), pa.string())})
        store.home.put(FORGOTTEN, encode_table(table))


def _hashes(takedowns: Iterable[Takedown]) -> frozenset[str]:
    return frozenset(hash_ for takedown in takedowns for hash_ in takedown.hashes)
