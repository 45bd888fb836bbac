"""Resharding by reference: twice or half as many shards, new row tables over the old segments.

A shard is a contiguous range of the record id's hash, so a new shard takes its rows from one old shard
(doubling) or two (halving). Which rows a shard has, and in which order, is the engine's rule; it is given as
``keys``, and the result is what a build with that many shards would name, without a byte of values written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from diptych.exceptions import UsageError
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.part_reader import PartReader
from diptych.storage.parts import Part, assemble, groups, make_part, read_chunk, stage_totals, write_chunk

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["reshard"]

KeysOf = Callable[[str, int], Sequence[str]]


def reshard(store: Store, manifest: Manifest, shards: int, keys: KeysOf) -> tuple[StageEntry, ...]:
    """Entries for a manifest with ``shards`` shards (twice or half as many as now).

    ``keys(stage, new shard)`` gives that shard's row keys in order. A row that occurs in several old shards (the
    same picture) is taken from the last; its values are equal. Commit the entries as a new version.
    """
    if shards not in (manifest.shards * 2, manifest.shards // 2) or shards < 1:
        raise UsageError(
            f"version {manifest.version} has {manifest.shards} shards; reshard doubles or halves them, not {shards}"
        )
    return tuple(_stage(store, stage, manifest.shards, shards, keys) for stage in manifest.stages)


def _stage(store: Store, stage: StageEntry, before: int, after: int, keys: KeysOf) -> StageEntry:
    length = len(groups(before)[0])
    loaded: dict[int, tuple[Part, ...]] = {}

    def old(shard: int) -> Part:
        number = shard // length
        if number not in loaded:
            loaded.clear()  # shards come in order: one chunk at a time is enough
            loaded[number] = read_chunk(store, stage.chunks[number])
        return loaded[number][shard - number * length]

    chunks, parts = [], []
    for group in groups(after):
        new = [_part(store, stage, shard, _sources(shard, before, after), old, keys) for shard in group]
        chunks.append(write_chunk(store, new))
        parts.extend(new)
    totals = stage_totals(parts)
    update = {"chunks": tuple(chunks), "counts": totals.counts, "bytes": totals.bytes}
    return stage.model_copy(update=update | {"input": totals.input, "exact": totals.exact, "floats": totals.floats})


def _sources(shard: int, before: int, after: int) -> list[int]:
    return [shard // 2] if after > before else [2 * shard, 2 * shard + 1]


def _part(
    store: Store, stage: StageEntry, shard: int, sources: Sequence[int], old: Callable[[int], Part], keys: KeysOf
) -> Part:
    readers = [PartReader(store, old(source)) for source in sources]
    rows, segments = assemble(keys(stage.name, shard), [(r.rows, r.part.segments) for r in readers])
    return make_part(store, shard, rows, segments)
