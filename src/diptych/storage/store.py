"""A store: one dataset in a root, and the doors to its blobs, lists and log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from diptych.exceptions import NotFound, UsageError
from diptych.storage.blobs import Blobs
from diptych.storage.lists import Lists
from diptych.storage.log import Log
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.part_reader import PartReader
from diptych.storage.parts import Part, groups, read_chunk
from diptych.storage.root import Root, open_root

__all__ = ["Store", "datasets", "open_store"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FOLDERS = ("log", "snapshots", "raw", "parts")


class Store:
    """One dataset; ``home`` is the dataset's own folder, and every stored path is relative to it."""

    def __init__(self, root: Root, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(f"not a dataset's name: {name!r} (lower-case letters, digits, '_' and '-', at most 64)")
        self.root = root
        self.name = name
        self.home: Root = root.at(name)
        self.blobs = Blobs(self.home)
        self.log = Log(self.home, name)
        self.lists = Lists(self.home, self.log)
        self.chunks: dict[str, tuple[Part, ...]] = {}
        """Part lists read last (see ``read_chunk``); they never change."""

    def __repr__(self) -> str:
        return f"Store({self.root.url!r}, {self.name!r})"

    def path(self, *names: str) -> str:
        """A path of this dataset relative to the root: ``store.path("raw", "fetches")``."""
        return "/".join((self.name, *names))

    def exists(self) -> bool:
        """Whether anything of the dataset is there."""
        return any(self.home.exists(folder) for folder in _FOLDERS)

    def parts(self, stage: StageEntry) -> Iterator[Part]:
        """All parts of a stage, in shard order."""
        for chunk in stage.chunks:
            yield from read_chunk(self, chunk)

    def part(self, manifest: Manifest, stage: str, shard: int) -> PartReader:
        """One shard of one stage of a version; reads one chunk."""
        if not 0 <= shard < manifest.shards:
            raise NotFound(f"version {manifest.version} has shards 0 to {manifest.shards - 1}, not {shard}")
        ranges = groups(manifest.shards)
        number = shard // len(ranges[0])
        chunk = read_chunk(self, manifest.stage(stage).chunks[number])
        return PartReader(self, chunk[shard - ranges[number].start], manifest.stage(stage).arrow_schema())


def open_store(root: str | Path | Root, name: str, *, must_exist: bool = False) -> Store:
    """The dataset of that name; with ``must_exist``, :class:`NotFound` naming the datasets there are."""
    place = open_root(root) if isinstance(root, str | Path) else root
    store = Store(place, name)
    if must_exist and not store.exists():
        known = datasets(place)
        raise NotFound(f"no dataset {name!r} in {place.url}; there are: {', '.join(known) or 'none'}")
    return store


def datasets(root: str | Path | Root) -> list[str]:
    """Names of the datasets in a root."""
    place = open_root(root) if isinstance(root, str | Path) else root
    names = [name for name in place.list("") if _NAME.fullmatch(name)]
    return [name for name in names if any(place.exists(f"{name}/{folder}") for folder in _FOLDERS)]
