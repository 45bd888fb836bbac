"""Which rows a rebuild names, found in the latest version; the build then computes them again and compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from diptych.engine.context import BuildOptions, Force, graph_of
from diptych.engine.crawling import refetch_records
from diptych.engine.graph import Graph
from diptych.exceptions import UsageError
from diptych.naming import shard_of
from diptych.stage import Status
from diptych.storage.lookup import find_records, record_rows
from diptych.storage.manifest import Manifest
from diptych.storage.parts import Part, read_chunk
from diptych.storage.snapshot import read_snapshot
from diptych.storage.store import Store, open_store

__all__ = ["RebuildPlan", "check_code", "plan_rebuild", "refreshing"]


@dataclass(frozen=True)
class RebuildPlan:
    """A build of the latest version's recipe from its snapshot, some rows of which are computed again."""

    recipe: str
    snapshot: str
    options: BuildOptions
    force: Force
    rows: int
    """How many rows were named."""
    version: int
    """The version it was planned on; when another is committed first, it has to be planned again."""


def refreshing(graph: Graph, package: str) -> Force:
    """All rows of the stages that a release of ``package`` can change; :class:`UsageError` when there is none."""
    stages = tuple(n.name for n in graph.stages if n.stage is not None and package in n.stage.packages)
    if not stages:
        known = sorted({p for n in graph.stages if n.stage is not None for p in n.stage.packages})
        raise UsageError(
            f"--refresh {package}: no stage names it; the recipe's stages name {', '.join(known) or 'none'}"
        )
    return Force(stages=stages)


def plan_rebuild(
    root: str,
    dataset: str,
    *,
    shard: int | None = None,
    record: str | None = None,
    failed: bool = False,
    stage: str | None = None,
    refetch: bool = False,
    options: BuildOptions | None = None,
    environ: Mapping[str, str] | None = None,
) -> RebuildPlan:
    """Name the rows; :class:`UsageError` when nothing or more than one kind of thing is asked for."""
    if sum([shard is not None, record is not None, failed]) != 1:
        raise UsageError("name exactly one of --shard N, --record KEY or --failed")
    store = open_store(root, dataset, must_exist=True)
    manifest = store.log.manifest("latest")
    names = [s.name for s in manifest.stages]
    if stage is not None and stage not in names:
        raise UsageError(f"--stage {stage}: version {manifest.version} has {', '.join(names)}")
    if shard is not None and not 0 <= shard < manifest.shards:
        raise UsageError(f"--shard {shard}: version {manifest.version} has shards 0 to {manifest.shards - 1}")
    records = find_records(store, manifest, record) if record is not None else ()
    snapshot = manifest.snapshot
    if refetch:
        snapshot = refetch_records(store, manifest, _refetched(store, manifest, shard, records), environ)
    home = {shard} if shard is not None else {shard_of(r, manifest.shards) for r in records}
    rows: dict[str, tuple[str, ...]] = {}
    for entry in manifest.stages:
        if stage is not None and entry.name != stage:
            continue
        parts = [p for c in entry.chunks for p in read_chunk(store, c) if not home or p.shard in home]
        found = tuple(k for p in parts for k in _named(store, manifest, entry.name, p, records, failed))
        if found:
            rows[entry.name] = found
    built = replace(options or BuildOptions(), retry="none")
    check_code(graph_of(manifest.recipe), manifest)
    # a record's rows are forced in every shard: a picture of it may stand in another record's shard, too
    force = Force(rows, (shard,) if shard is not None else ())
    return RebuildPlan(manifest.recipe, snapshot, built, force, sum(map(len, rows.values())), manifest.version)


def check_code(graph: Graph, manifest: Manifest) -> None:
    """Raise :class:`UsageError` when a stage means something else now: then a build, not a rebuild, is due."""
    keys = {f.name: f.key if f.keyed else f"{f.key}:{f.result.partition('~')[0]}" for f in manifest.fits}
    for node in graph.stages:
        old = next((s for s in manifest.stages if s.name == node.name), None)
        if old is not None and graph.key(node, keys) != old.key:
            raise UsageError(
                f"stage {node.name} has another version, weights or defaults than in version {manifest.version}; "
                "run diptych build first"
            )
        keys[node.name] = old.key if old is not None else ""


def _refetched(store: Store, manifest: Manifest, shard: int | None, records: tuple[str, ...]) -> tuple[str, ...]:
    """The records whose bytes are fetched again: those named, a shard's, or all whose page or image failed."""
    if records:
        return records
    snapshot = read_snapshot(store, manifest.snapshot)
    if shard is not None:
        return tuple(snapshot.shard(shard, manifest.shards, ["record"])["record"].to_pylist())
    rows = snapshot.iter_rows(["record", "outcome", "images"])
    return tuple(
        row["record"]
        for row in rows
        if row["outcome"] != "ok" or any(i["outcome"] != "ok" for i in row["images"] or ())
    )


def _named(
    store: Store, manifest: Manifest, stage: str, part: Part, records: tuple[str, ...], failed: bool
) -> list[str]:
    table = store.lists.get(part.rows)
    keys, statuses = table["key"].to_pylist(), table["status"].to_pylist()
    if failed:
        return [k for k, s in zip(keys, statuses, strict=True) if Status(s).failed]
    if not records:
        return keys
    kind = manifest.stage(stage).rows
    wanted = _keys_of(store, manifest, kind or "document", part, records)
    return [k for k in keys if k in wanted]


def _keys_of(store: Store, manifest: Manifest, kind: str, part: Part, records: tuple[str, ...]) -> set[str]:
    """The row keys of some records in one shard."""
    return {key for record in records for key in record_rows(store, manifest, record)[kind]}
