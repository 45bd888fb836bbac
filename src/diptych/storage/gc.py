"""Garbage collection: what no kept version names is named in a log entry, and only then deleted.

The order is the point. A build that planned to reuse something loses the race for the log number that the
retire entry takes, reads it there and makes the row again. A crash between entry and deletion leaves files
that the next gc removes without asking again: names of segments and lists never come back. Blobs and snapshots
do come back (their names are content), so they go only while no build and no crawl is alive (see ``alive``).

While a takedown is due (see ``takedown``) the grace period does not hold for what may contain it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diptych.exceptions import Conflict, NotFound
from diptych.storage.alive import GRACE, Sign, SignOfLife, alive, bury
from diptych.storage.blobs import blob_path
from diptych.storage.lists import list_path
from diptych.storage.log import RetireEntry
from diptych.storage.references import Named, fetched_blobs, named_by, snapshot_path
from diptych.storage.segment_info import covers
from diptych.storage.segment_reader import shows
from diptych.storage.takedown import due

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["GcReport", "Item", "gc"]


_IN_FLIGHT = 3600.0
"""Temporary files younger than this may still be renamed by their writer, whatever the grace."""
_DATA = ("raw", "parts", "lists", "snapshots")
"""Where only builds and crawls write: while a takedown is due and none runs, temporary files there go at once."""


@dataclass(frozen=True)
class Item:
    """Something gc deletes: a segment's folder or a file, by its path in the dataset."""

    kind: str
    """segment, list, snapshot, blob or temporary."""
    name: str
    path: str
    files: int
    bytes: int


@dataclass(frozen=True)
class GcReport:
    """What gc deleted (or would delete, when ``dry_run``), and what it spared although no version names it."""

    dry_run: bool
    entry: int | None
    """The retire entry; None when nothing new was named."""
    deleted: tuple[Item, ...]
    finished: tuple[Item, ...]
    """Leftovers of an earlier gc that was interrupted after its entry."""
    spared: dict[str, int]
    """Reason to number of things."""

    @property
    def bytes(self) -> int:
        """Bytes freed."""
        return sum(item.bytes for item in (*self.deleted, *self.finished))


def gc(
    store: Store, *, grace: float = GRACE, dry_run: bool = False, keep_blobs: Collection[str] | None = None
) -> GcReport:
    """Delete what no kept version names, except what is younger than ``grace`` seconds or a live build owns.

    ``keep_blobs`` are blobs to keep besides those of the kept versions' snapshots; by default the last good
    answers of the fetch log. Raises :class:`NotFound` or :class:`Corrupt`, deleting nothing, when a kept version
    cannot be read.
    """
    name = f"gc-{secrets.token_hex(8)}"
    with nullcontext() if dry_run else SignOfLife(store, name, "gc"):
        for _ in range(5):
            head = store.log.head()
            versions = store.log.versions()
            signs = [s for s in alive(store) if s.id != name]  # first: a crawl that ends from here on is seen
            named = named_by(store, versions.values())
            named.blobs |= fetched_blobs(store) if keep_blobs is None else set(keep_blobs)
            search = _Search(store, named, signs, time.time() - grace)
            found, finished = search.garbage(), search.leftovers()
            if dry_run:
                return GcReport(True, None, tuple(found), tuple(finished), search.spared)
            entry = None
            if found:
                try:
                    entry = store.log.append(_entry(found), after=head)
                except Conflict:
                    continue  # somebody committed: what was garbage may be named now
            swept = store.home.sweep("", max(grace, _IN_FLIGHT))
            if search.urgent and not search.workers:
                swept += [found for folder in _DATA for found in store.home.sweep(folder, 0.0)]
            temporary = [Item("temporary", p, p, 1, n) for p, n in swept]
            for item in (*finished, *found):
                _delete(store, item)
            bury(store, time.time() - grace)
            return GcReport(False, entry, (*found, *temporary), tuple(finished), search.spared)
    raise Conflict(f"dataset {store.name}: lost five races for the next log entry; run gc when fewer builds commit")


def _entry(items: list[Item]) -> RetireEntry:
    kinds = {kind: tuple(i.name for i in items if i.kind == kind) for kind in ("segment", "list", "snapshot", "blob")}
    return RetireEntry(
        segments=kinds["segment"], lists=kinds["list"], snapshots=kinds["snapshot"], blobs=kinds["blob"], reason="gc"
    )


def _delete(store: Store, item: Item) -> None:
    if item.kind != "segment":
        store.home.delete(item.path)
        return
    store.home.delete(f"{item.path}/part.json")  # first: from here on the segment does not exist
    for path in [path for path, _ in store.home.walk(item.path)]:
        store.home.delete(path)


class _Search:
    """One pass over the dataset's files, against what is named."""

    def __init__(self, store: Store, named: Named, signs: list[Sign], before: float) -> None:
        self._store = store
        self._named = named
        self._before = before
        self._retired = store.log.retired()
        self.workers = [s for s in signs if s.kind != "gc"]
        self._owners = {s.id for s in self.workers}
        self.spared: dict[str, int] = {}
        self.urgent = frozenset(r for t in due(store) if t.purge for r in (*t.records, *t.touched, *t.images))
        """What is to be purged: then no file is too young that may hold any of it."""

    def garbage(self) -> list[Item]:
        """What is to be named and deleted."""
        return [*self._segments(), *self._lists(), *self._named_by_content()]

    def leftovers(self) -> list[Item]:
        """Segments and lists that an entry has named already and that still exist."""
        segments = self._retired.segments.keys() - self._named.segments
        found = [i for path, i in self._folders().items() if path in segments]
        for name in sorted(self._retired.lists.keys() - self._named.lists):
            path = list_path(name)
            if self._store.home.exists(path):
                found.append(Item("list", name, path, 1, self._store.home.size(path)))
        return found

    def _spare(self, reason: str) -> bool:
        self.spared[reason] = self.spared.get(reason, 0) + 1
        return True

    def _pressing(self, folder: str) -> bool:
        """Whether a segment may hold rows of what is to be purged."""
        if not self.urgent or covers(self._store, folder, (r for r in self.urgent if len(r) == 32)):
            return bool(self.urgent)
        return shows(self._store, folder, {key for key in self.urgent if len(key) == 64})

    def _young(self, path: str) -> bool:
        if self.urgent and not path.startswith("parts/"):
            return False
        try:
            return self._store.home.modified(path) > self._before and self._spare("younger than the grace period")
        except NotFound:
            return self._spare("deleted meanwhile")

    def _folders(self) -> dict[str, Item]:
        folders: dict[str, Item] = {}
        for path, size in self._store.home.walk("parts"):
            folder = path.rpartition("/")[0]
            old = folders.get(folder)
            files, total = (old.files, old.bytes) if old else (0, 0)
            folders[folder] = Item("segment", folder, folder, files + 1, total + size)
        return folders

    def _segments(self) -> list[Item]:
        found = []
        for folder, item in self._folders().items():
            if folder in self._named.segments or folder in self._retired.segments:
                continue
            build = folder.rpartition("/")[2].rpartition("-")[0]
            if build in self._owners:
                self._spare("owned by a running build")
            elif self._pressing(folder) or not any(self._young(path) for path, _ in self._store.home.walk(folder)):
                found.append(item)
        return found

    def _lists(self) -> list[Item]:
        oldest = min((s.started for s in self.workers), default=None)
        found = []
        for path, size in self._store.home.walk("lists"):
            name = path.removeprefix("lists/").removesuffix(".parquet")
            if name in self._named.lists or name in self._retired.lists or self._young(path):
                continue
            if oldest is not None and self._store.home.modified(path) >= oldest - 60:
                self._spare("written since a running build began")
                continue
            found.append(Item("list", name, path, 1, size))
        return found

    def _named_by_content(self) -> list[Item]:
        found = []
        for path, size in self._store.home.walk("snapshots"):
            digest = path.removeprefix("snapshots/").removesuffix(".parquet")
            if path == snapshot_path(digest) and digest not in self._named.snapshots and not self._young(path):
                found.append(Item("snapshot", digest, path, 1, size))
        for path, size in self._store.home.walk("raw/blobs"):
            sha256 = path.rpartition("/")[2]
            ours = len(sha256) == 64 and path == blob_path(sha256)
            if ours and sha256 not in self._named.blobs and not self._young(path):
                found.append(Item("blob", sha256, path, 1, size))
        if self.workers:
            for _ in found:
                self._spare("a build or crawl is running (blobs and snapshots wait)")
            return []
        return found
