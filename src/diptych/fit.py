"""The fit contract: what is computed from the whole corpus, one small table; the only barrier in the graph.

A *keyed* fit (``key`` set: near-duplicate groups, splits) has one result row a key; a stage that reads it
reads its row alone, and only the columns it names enter that row's input hash. An *unkeyed* fit (word
counts, word vectors) is treated like weights: fitted by the first build, then pinned until ``refit``; the
digest of its result enters the stage key of whoever reads it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa

from diptych.naming import Key
from diptych.stage import StageConfig

__all__ = ["Fit"]


class Fit(ABC):
    """A computation over all rows: ``partial`` per shard, ``merge`` over the shards' partial tables."""

    name: ClassVar[str]
    version: ClassVar[int]
    rows: ClassVar[Key]
    """Which rows ``partial`` is given, with ``inputs`` joined as for a stage."""
    fetched: ClassVar[bool] = False
    """As for a stage: every fetched row, or only accepted ones."""
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[pa.Schema]
    """Columns of the result; a keyed fit's result has also ``key: string``, first, sorted and unique."""
    on: ClassVar[Literal["train", "all"]] = "train"
    """The split it may see; ``all`` only for groups and splits."""
    key: ClassVar[Key | None] = None
    refit: ClassVar[Literal["pinned", "always"]] = "pinned"
    ledger: ClassVar[bool] = False
    """True when ``merge`` continues the parent version's result (the split ledger)."""
    Config: ClassVar[type[StageConfig]] = StageConfig
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: StageConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    def check(self) -> None:  # noqa: B027 - optional to override
        """Raise now what would stop it: a package that is not there. Asked before a crawl begins."""

    @abstractmethod
    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """What one shard contributes; rows whose inputs are not ok are left out before."""

    @abstractmethod
    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """The result from all shards' partials, in shard order, the same for any number of shards.

        ``previous`` is the parent version's result when ``ledger`` is set, else None.
        """
