"""What every piece of a build knows: plain values that travel to another process as JSON."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

from diptych.engine.graph import Graph, load_graph
from diptych.recipe import parse_recipe
from diptych.storage.overlay import Overlay
from diptych.storage.root import LocalRoot, open_root
from diptych.storage.store import Store, open_store

__all__ = [
    "BuildContext",
    "BuildOptions",
    "Done",
    "Force",
    "Kind",
    "OnRows",
    "Progress",
    "Stop",
    "graph_of",
    "new_build_id",
]

Kind = Literal["stage", "fit"]
OnRows = Callable[[str, int], None]
"""Told of rows that were computed: the stage's name, how many."""


class Stop(Protocol):
    """As :class:`threading.Event`: whether work is to end at its next batch."""

    def set(self) -> None:
        """Say so."""

    def is_set(self) -> bool:
        """Whether it was said."""
        ...


@dataclass(frozen=True)
class BuildOptions:
    """How a build runs; nothing here changes what it computes."""

    batch_size: int | None = None
    """Rows at once; None: each stage's own, grown on an accelerator while that pays (``engine/batch_size.py``)."""
    workers: int = 2
    """Threads that read files beside each stage."""
    processes: int = 1
    """Worker processes that compute groups of shards side by side (``engine/crew.py``); 1: none, this one does."""
    device: str = "cpu"
    """One device or several: ``cuda:0,cuda:1``, ``cuda:*`` (``engine/devices.py``)."""
    compile: bool = False
    """Networks go through torch.compile where that works."""
    retry: Literal["none", "transient", "failed"] = "transient"
    accept_failures: bool = False
    allow_shrink: bool = False
    only_shards: tuple[int, ...] = ()
    only_stages: tuple[str, ...] = ()
    dry: bool = False
    """Compute nothing: only find out what is missing."""


@dataclass(frozen=True)
class Force:
    """Rows that a rebuild computes again although their address exists."""

    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Row keys by stage."""
    shards: tuple[int, ...] = ()
    """Only in these shards; empty: in any."""
    stages: tuple[str, ...] = ()
    """Stages all of whose rows are computed again."""

    def of(self, stage: str, shard: int) -> frozenset[str]:
        """The forced rows of a stage in a shard."""
        if self.shards and shard not in self.shards:
            return frozenset()
        return frozenset(self.rows.get(stage, ()))


@dataclass(frozen=True)
class BuildContext:
    """One build of one dataset from one snapshot on one parent."""

    root: str
    dataset: str
    build: str
    recipe: str
    snapshot: str
    shards: int
    head: int
    """The log's last number when the build was planned; its commit takes the next one or is planned again."""
    parent: int | None
    options: BuildOptions = field(default_factory=BuildOptions)
    force: Force = field(default_factory=Force)
    refit: tuple[str, ...] = ()
    """Pinned fits to make again."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Unkeyed fits that are not made but taken, by name: the list in this store that holds the result."""
    scratch: str = ""
    """Of a dry run: the folder that takes what would be written to the store."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> BuildContext:
        """The inverse of :meth:`to_json`."""
        options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw["options"].items()}
        rows = {k: tuple(v) for k, v in raw["force"]["rows"].items()}
        force = Force(rows, tuple(raw["force"]["shards"]), tuple(raw["force"]["stages"]))
        return cls(**{**raw, "options": BuildOptions(**options), "force": force, "refit": tuple(raw["refit"])})

    def store(self) -> Store:
        """The dataset's store; of a dry run one that writes nothing there."""
        root = open_root(self.root)
        return open_store(Overlay(root, LocalRoot(self.scratch)) if self.scratch else root, self.dataset)


@dataclass(frozen=True)
class Done:
    """A finished stage or fit of a build: what later steps need of it."""

    name: str
    key: str
    """As it enters the key of whoever reads it."""
    chunks: tuple[str, ...] = ()
    result: str = ""
    """A fit's table in ``lists/``."""
    changed: tuple[str, ...] = ()
    """Rows computed again whose values are not, or may not be, those that stood: their readers are computed again."""


@dataclass(frozen=True)
class Progress:
    """What happened to the rows of one stage (or fit) in one group of shards."""

    name: str
    group: int
    chunk: str
    kind: Kind = "stage"
    """A fit computes and reuses partial tables, one a shard, not rows."""
    rows: int = 0
    computed: int = 0
    reused: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    """Rows by ``status:code`` for every status but ok, and of those for which a rule was overridden."""
    bytes_written: int = 0
    bytes_total: int = 0
    seconds: float = 0.0
    compared: tuple[tuple[str, str, str], ...] = ()
    """Of rows computed again: (row, equal | kept | new | changed | repaired | broken, the columns that changed)."""
    missing: int = 0
    """Rows neither computed nor found, because the build was told to leave this shard or stage alone."""
    unknown: int = 0
    """Shards whose rows cannot be known before those of an earlier stage are computed."""

    @property
    def complete(self) -> bool:
        """Whether every row is there."""
        return not self.missing and not self.unknown


def new_build_id() -> str:
    """A build id nobody else has: 16 hex digits."""
    return secrets.token_hex(8)


def graph_of(recipe: str, build: str = "") -> Graph:
    """The graph of a recipe's text; kept for as long as one build, because settings may name files that change."""
    return _graph(recipe, build) if build else load_graph(parse_recipe(recipe))


@lru_cache(maxsize=8)
def _graph(recipe: str, build: str) -> Graph:
    return load_graph(parse_recipe(recipe))
