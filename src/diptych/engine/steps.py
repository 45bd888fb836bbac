"""The steps of a build, each a plain function over plain values: a Prefect task, a Ray task or a loop calls them.

``run_group`` computes one stage over one group of shards, ``run_fit_group`` a fit's partials, ``merge_fit``
its result. What was finished before is named by :class:`~diptych.engine.context.Done`.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pyarrow as pa

from diptych.engine.compute import PartResult, compute_part
from diptych.engine.context import BuildContext, Done, Progress, graph_of
from diptych.engine.fitting import fit_partial, merge_partials, read_partials, write_partials
from diptych.engine.graph import Graph, Node
from diptych.engine.view import FitResult, ShardView
from diptych.engine.workbench import Workbench
from diptych.storage.manifest import Manifest
from diptych.storage.parts import Part, groups, read_chunk, write_chunk
from diptych.storage.snapshot import read_snapshot
from diptych.storage.store import Store

__all__ = ["close", "merge_fit", "node_key", "run_fit_group", "run_group"]

_BENCH = Workbench()
_VIEWS: OrderedDict[tuple[str, str, str, int, int], ShardView] = OrderedDict()
_VIEWS_KEPT = 16
_RESULTS: OrderedDict[tuple[str, str], FitResult] = OrderedDict()
_RESULTS_KEPT = 8
_LOCK = Lock()


def close() -> None:
    """Release every loaded stage and every cached shard of this process."""
    _BENCH.close()
    with _LOCK:
        _VIEWS.clear()
        _RESULTS.clear()


def node_key(graph: Graph, node: Node, done: Mapping[str, Done]) -> str:
    """The stage key of a node, given what it reads."""
    return graph.key(node, {name: done[name].key for name in node.producers})


def _parent(store: Store, context: BuildContext) -> Manifest | None:
    return store.log.manifest(context.parent) if context.parent is not None else None


def _view(context: BuildContext, store: Store, graph: Graph, shard: int, done: Mapping[str, Done]) -> ShardView | None:
    """The shard with every finished part; None when a part it needs was left out."""
    name = (context.root, context.dataset, context.build, context.head, shard)
    with _LOCK:
        view = _VIEWS.get(name)
        if view is None:
            records = read_snapshot(store, context.snapshot).shard(shard, context.shards)
            view = ShardView(store, graph, records, {}, {})
            _VIEWS[name] = view
            while len(_VIEWS) > _VIEWS_KEPT:
                _VIEWS.popitem(last=False)
    group = _group_of(context, shard)
    for item in done.values():
        if item.result and item.name not in view.fits:
            view.fits = {**view.fits, item.name: _fit_result(store, item.result)}
        if item.chunks and not item.result and item.name not in view.parts:
            if not item.chunks[group]:
                return None
            part = next((p for p in read_chunk(store, item.chunks[group]) if p.shard == shard), None)
            if part is None:
                return None
            view.parts = {**view.parts, item.name: part}
    return view


def _fit_result(store: Store, digest: str) -> FitResult:
    """A fit's table, shared by all shards of this process."""
    name = (store.root.url, digest)
    with _LOCK:
        if name not in _RESULTS:
            _RESULTS[name] = FitResult(store.lists.get(digest))
            while len(_RESULTS) > _RESULTS_KEPT:
                _RESULTS.popitem(last=False)
        return _RESULTS[name]


def _group_of(context: BuildContext, shard: int) -> int:
    return next(i for i, shards in enumerate(groups(context.shards)) if shard in shards)


def _parent_parts(store: Store, context: BuildContext, node: Node, key: str, shards: range) -> dict[int, list[Part]]:
    """The parent's parts that hold rows of these shards; after a reshard these are other shards' parts."""
    manifest = _parent(store, context)
    entry = next((s for s in manifest.stages if s.name == node.name and s.key == key), None) if manifest else None
    found: dict[int, list[Part]] = {shard: [] for shard in shards}
    if manifest is None or entry is None:
        return found
    before, after = manifest.shards, context.shards
    first, last = shards.start * before // after, -(-shards.stop * before // after)
    for chunk, old in zip(entry.chunks, groups(before), strict=True):
        if old.start < last and first < old.stop:
            parts: tuple[Part, ...] = ()
            with store.lists.or_damaged(chunk):
                parts = read_chunk(store, chunk)
            for part in parts:
                for shard in shards:
                    if part.shard * after < (shard + 1) * before and shard * before < (part.shard + 1) * after:
                        found[shard].append(part)
    return found


def _needed(graph: Graph, node: Node, done: Mapping[str, Done]) -> dict[str, Done]:
    """What a node's rows and values depend on, directly or through which rows are accepted."""
    wanted = set(graph.waits_for(node))
    pending = list(wanted)
    while pending:
        for name in graph.waits_for(graph[pending.pop()]):
            if name not in wanted:
                wanted.add(name)
                pending.append(name)
    return {name: done[name] for name in wanted if name in done}


def run_group(
    context: BuildContext,
    name: str,
    group: int,
    done: Mapping[str, Done],
    on_rows: Callable[[int], None] = lambda n: None,
) -> Progress:
    """One stage over one group of shards: its parts written, its chunk named."""
    started = time.monotonic()
    store, graph = context.store(), graph_of(context.recipe, context.build)
    node = graph[name]
    needed = _needed(graph, node, done)
    key = node_key(graph, node, done)
    parents = _parent_parts(store, context, node, key, groups(context.shards)[group])
    retired = frozenset(store.log.retired().segments)
    parts: list[Part] = []
    totals: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    compared: list[tuple[str, str, str]] = []
    options = context.options

    def fits() -> Mapping[str, pa.Table]:
        unkeyed = [p for p in node.producers if graph[p].fit and graph.key_of(p) is None]
        return {p: store.lists.get(done[p].result) for p in unkeyed}

    with ThreadPoolExecutor(max(1, options.workers), thread_name_prefix="blobs") as pool:
        for shard in groups(context.shards)[group]:
            compute = (not options.only_shards or shard in options.only_shards) and (
                not options.only_stages or name in options.only_stages
            )
            view = _view(context, store, graph, shard, needed)
            if view is None:
                totals["unknown"] += 1
                continue
            result = compute_part(
                context, view, node, key, shard, parents[shard], retired, _BENCH, fits, pool,
                changed={n: frozenset(d.changed) for n, d in needed.items() if d.changed},
                compute=compute and not options.dry,
                on_rows=on_rows,
            )  # fmt: skip
            if not isinstance(result, PartResult):
                totals.update(missing=result.missing, reused=result.rows - result.missing, rows=result.rows)
                continue
            parts.append(result.part)
            counts.update(result.part.counts.as_dict())
            codes.update(result.codes)
            compared += result.compared
            totals.update(
                rows=result.part.counts.total,
                computed=result.computed,
                reused=result.reused,
                written=result.bytes_written,
            )
            totals["bytes"] += result.part.bytes
    return Progress(
        name=name,
        group=group,
        chunk=write_chunk(store, parts) if parts else "",
        rows=totals["rows"],
        computed=totals["computed"],
        reused=totals["reused"],
        counts=dict(counts),
        codes=dict(codes),
        bytes_written=totals["written"],
        bytes_total=totals["bytes"],
        seconds=time.monotonic() - started,
        compared=tuple(compared),
        missing=totals["missing"],
        unknown=totals["unknown"],
    )


def run_fit_group(context: BuildContext, name: str, group: int, done: Mapping[str, Done]) -> Progress:
    """A fit's partials over one group of shards."""
    started = time.monotonic()
    store, graph = context.store(), graph_of(context.recipe, context.build)
    node = graph[name]
    needed = _needed(graph, node, done)
    key = node_key(graph, node, done)
    manifest = _parent(store, context)
    entry = next((f for f in manifest.fits if f.name == name and f.key == key), None) if manifest else None
    same = manifest is not None and manifest.shards == context.shards
    chunk = entry.partials[group] if entry and same and entry.partials else None
    known = {}
    if chunk:
        with store.lists.or_damaged(chunk):
            known = {p.shard: p for p in read_partials(store.lists, chunk)}
    splits = None
    if node.fit is not None and node.fit.on == "train":
        splits = _fit_result(store, done["splits"].result)
    found, computed, unknown = [], 0, 0
    with ThreadPoolExecutor(max(1, context.options.workers), thread_name_prefix="blobs") as pool:
        for shard in groups(context.shards)[group]:
            view = _view(context, store, graph, shard, needed)
            if view is None:
                unknown += 1
                continue
            partial, new = fit_partial(view, node, shard, known, splits, pool)
            found.append(partial)
            computed += new
    return Progress(
        name=name,
        group=group,
        chunk=write_partials(store.lists, found),
        kind="fit",
        rows=sum(p.rows for p in found),
        computed=computed,
        reused=len(found) - computed,
        seconds=time.monotonic() - started,
        unknown=unknown,
    )


def merge_fit(context: BuildContext, name: str, done: Mapping[str, Done], chunks: Sequence[str]) -> Done:
    """The fit's result over all shards; of a pinned fit the parent's result while its key is the same."""
    store, graph = context.store(), graph_of(context.recipe, context.build)
    node = graph[name]
    key = node_key(graph, node, done)
    pinned = pinned_result(context, name, done)
    if pinned:
        return pinned
    manifest = _parent(store, context)
    previous = None
    if node.fit is not None and node.fit.ledger and manifest is not None:
        entry = next((f for f in manifest.fits if f.name == name), None)
        previous = store.lists.get(entry.result) if entry else None
    partials = [p for chunk in chunks for p in read_partials(store.lists, chunk)]
    result = merge_partials(node, store.lists, partials, previous)
    return Done(name, _fit_key(node, key, result), tuple(chunks), result)


def pinned_result(context: BuildContext, name: str, done: Mapping[str, Done]) -> Done | None:
    """The parent's result of a pinned fit whose key is unchanged; None when it has to be fitted."""
    store, graph = context.store(), graph_of(context.recipe, context.build)
    node = graph[name]
    if node.fit is None or node.fit.refit != "pinned" or name in context.refit:
        return None
    manifest = _parent(store, context)
    key = node_key(graph, node, done)
    entry = next((f for f in manifest.fits if f.name == name and f.key == key), None) if manifest else None
    if entry is None:
        return None
    same = manifest is not None and manifest.shards == context.shards
    return Done(name, _fit_key(node, key, entry.result), entry.partials if same else (), entry.result)


def _fit_key(node: Node, key: str, result: str) -> str:
    """A keyed fit enters its readers' keys by its own key, an unkeyed one by its result."""
    return key if node.fit is not None and node.fit.key else f"{key}:{result.partition('~')[0]}"
