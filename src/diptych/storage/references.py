"""What versions and the fetch log name: segments, lists, snapshots and blobs that must stay.

Nothing here guesses: when a list of a kept version cannot be read, the error ends whoever asked, and gc
deletes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from diptych.exceptions import NotFound
from diptych.storage.manifest import Manifest
from diptych.storage.parquet import SNAPSHOT_ADVICE, opened
from diptych.storage.parts import read_chunk

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["Named", "fetched_blobs", "named_by", "snapshot_blobs", "snapshot_path"]


@dataclass
class Named:
    """Names that versions use."""

    segments: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)


def snapshot_path(digest: str) -> str:
    """Where a snapshot is, relative to the dataset."""
    return f"snapshots/{digest}.parquet"


def named_by(store: Store, manifests: Iterable[Manifest], *, blobs: bool = True) -> Named:
    """Everything these versions name, directly or through lists; each list and snapshot is read once."""
    store.chunks.clear()  # what is on the disk counts, not what was read before
    named = Named()
    known = {name.removesuffix(".parquet") for name in store.home.list("lists")}
    for manifest in manifests:
        for stage in manifest.stages:
            for chunk in stage.chunks:
                if chunk not in named.lists:
                    named.lists.add(chunk)
                    for part in read_chunk(store, chunk):
                        named.lists.add(part.rows)
                        named.segments.update(s.path for s in part.segments)
        for fit in manifest.fits:
            named.lists.add(fit.result)
            for partial in fit.partials:
                _follow(store, partial, known, named.lists)
        if manifest.snapshot not in named.snapshots:
            named.snapshots.add(manifest.snapshot)
            if blobs:
                named.blobs.update(snapshot_blobs(store, manifest.snapshot))
    return named


def _follow(store: Store, name: str, known: set[str], found: set[str]) -> None:
    """Add a list and the lists it names: any of its texts that is the name of an existing list counts as one."""
    if name in found:
        return
    found.add(name)
    table = store.lists.get(name)
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for value in set(column.unique().to_pylist()) & known:
                _follow(store, value, known, found)


def snapshot_blobs(store: Store, digest: str) -> Iterator[str]:
    """SHA-256 of every blob a snapshot names (documents and images), repeated as often as it does."""
    path = snapshot_path(digest)
    try:
        with opened(store.home, path, SNAPSHOT_ADVICE) as file:
            for batch in file.iter_batches(8192, columns=["content", "images"]):
                yield from batch.column("content").drop_null().to_pylist()
                keys = batch.column("images").flatten().field("key")
                yield from keys.drop_null().to_pylist()
    except NotFound:
        raise NotFound(f"{path} is missing in {store.home.url}; versions built from it cannot be checked") from None


def fetched_blobs(store: Store) -> set[str]:
    """Blobs of the last good answer of every URL and of every record's last reading, but for what is forgotten."""
    from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, scope_of
    from diptych.storage.snapshot import read_forgotten

    forgotten = read_forgotten(store)
    log = FetchLog(store.home)
    pages: dict[tuple[str, str], str] = {}
    records: dict[str, tuple[str, str]] = {}
    for crawl in [*log.crawls(), *log.unfinished()]:
        for row in log.rows(crawl):
            if not isinstance(row, Attempt | DocumentRow) or row.outcome != "ok":
                continue
            if forgotten.address(row.source, row.url):
                continue
            if isinstance(row, Attempt):
                pages[scope_of(row.source, row.url), row.url] = row.sha256
            elif row.record not in forgotten:
                records[row.record] = (row.document, row.page)
    found = set(pages.values()) | {sha for pair in records.values() for sha in pair}
    return {sha for sha in found if sha and sha not in forgotten}
