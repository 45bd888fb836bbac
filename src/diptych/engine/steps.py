"""The steps of a build, each a plain function over plain values: a Prefect task, a Ray task or a loop calls them.

``run_group`` computes stages over one group of shards, ``run_fit_group`` a fit's partials, ``merge_fit``
its result. What was finished before is named by :class:`~diptych.engine.context.Done`. One file, because the
three share how a node's inputs, parents and places are found.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock

import pyarrow as pa

from diptych.engine.compute import PartResult, Shortfall, computing_part
from diptych.engine.context import BuildContext, Done, OnRows, Progress, Stop, graph_of
from diptych.engine.devices import Place, Places, places
from diptych.engine.fitting import fit_partial, merge_partials, read_partials, write_partials
from diptych.engine.graph import Graph, Node
from diptych.engine.view import FitResult, ShardView
from diptych.engine.waiting import results
from diptych.engine.workbench import Workbench
from diptych.stages.pool import sharing
from diptych.storage.manifest import Manifest
from diptych.storage.parts import Part, groups, read_chunk, write_chunk
from diptych.storage.snapshot import read_snapshot
from diptych.storage.store import Store

__all__ = ["close", "lanes_of", "merge_fit", "node_key", "run_fit_group", "run_group", "stage_places"]

_BENCH = Workbench()
_VIEWS: OrderedDict[tuple[str, str, str, int, int], ShardView] = OrderedDict()
_VIEWS_KEPT = 16
_RESULTS: OrderedDict[tuple[str, str], FitResult] = OrderedDict()
_RESULTS_KEPT = 8
_PLACES = Places()
_LOCK = Lock()
LANES = 2
"""Shards of accelerator stages on their way at once, for each device."""


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


@dataclass
class _Work:
    """One stage of a group on its way: what it starts from, and what was counted so far."""

    node: Node
    needed: dict[str, Done]
    key: str
    parents: dict[int, list[Part]]
    parts: list[Part] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    compared: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, result: PartResult | Shortfall | None, seconds: float) -> None:
        """Count one shard; None: its rows cannot be known yet."""
        self.seconds += seconds
        if result is None:
            self.totals["unknown"] += 1
            return
        if not isinstance(result, PartResult):
            self.totals.update(missing=result.missing, reused=result.rows - result.missing, rows=result.rows)
            return
        self.parts.append(result.part)
        self.counts.update(result.part.counts.as_dict())
        self.codes.update(result.codes)
        self.compared += result.compared
        self.totals.update(
            rows=result.part.counts.total, computed=result.computed, reused=result.reused,
            written=result.bytes_written, bytes=result.part.bytes,
        )  # fmt: skip

    def progress(self, store: Store, group: int, seconds: float) -> Progress:
        """What happened to the group."""
        totals = self.totals
        return Progress(
            name=self.node.name,
            group=group,
            chunk=write_chunk(store, self.parts) if self.parts else "",
            rows=totals["rows"],
            computed=totals["computed"],
            reused=totals["reused"],
            counts=dict(self.counts),
            codes=dict(self.codes),
            bytes_written=totals["written"],
            bytes_total=totals["bytes"],
            seconds=seconds,
            compared=tuple(self.compared),
            missing=totals["missing"],
            unknown=totals["unknown"],
        )


_PROCESSOR = (Place("cpu"),)


def stage_places(context: BuildContext, names: Sequence[str]) -> tuple[Place, ...]:
    """Where the stages of one step run: on the build's devices if one of them wants an accelerator."""
    graph = graph_of(context.recipe, context.build)
    stages = [graph[name].stage for name in names]
    if any(stage is not None and stage.accelerator for stage in stages):
        return places(context.options.device, compiled=context.options.compile)
    return _PROCESSOR


def lanes_of(some: Sequence[Place]) -> int:
    """How many shards are on their way at once at these places."""
    return 1 if some is _PROCESSOR else LANES * len(some)


Computing = Generator[int, None, PartResult | Shortfall]
_Ended = tuple[_Work, PartResult | Shortfall | None, float]
"""A stage, what became of one shard of it, and the seconds that took."""


def run_group(
    context: BuildContext,
    names: Sequence[str],
    group: int,
    done: Mapping[str, Done],
    on_rows: OnRows = lambda name, n: None,
    *,
    lanes: int | None = None,
    stop: Stop | None = None,
) -> list[Progress]:
    """Stages of one wave over one group of shards: their parts written, their chunks named.

    Several stages go through a shard side by side, so that each picture is decoded once for all of them. Each shard
    runs on one of the devices; while one keeps a device busy, another is planned or finished (``lanes`` shards at once;
    None: two a device). Once ``stop`` is set it ends at its next batch, with parts missing.
    """
    started = time.monotonic()
    store, graph = context.store(), graph_of(context.recipe, context.build)
    shards, options = groups(context.shards)[group], context.options
    retired = frozenset(store.log.retired().segments)
    works = [_work(context, store, graph, graph[name], shards, done) for name in names]
    stop = stop or Event()
    some = stage_places(context, names)
    with ExitStack() as stack:
        stack.enter_context(_BENCH.holding([(work.key, place) for work in works for place in some]))
        pool = stack.enter_context(ThreadPoolExecutor(max(1, options.workers), thread_name_prefix="blobs"))
        ahead = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="inputs"))
        if len(works) > 1:
            stack.enter_context(sharing())

        def run(shard: int) -> list[_Ended]:
            if stop.is_set():
                return []
            # one thread prepares for the stages of a shard, else two of them could decode a picture at the same time
            with _PLACES.one_of(some) as place, ThreadPoolExecutor(1, thread_name_prefix="prepare") as preparing:
                return run_at(place, preparing, shard)

        def run_at(place: Place, preparing: ThreadPoolExecutor, shard: int) -> list[_Ended]:
            running: list[tuple[_Work, Computing]] = []
            unknown: list[_Ended] = []
            for work in works:
                name = work.node.name
                view = _view(context, store, graph, shard, work.needed)
                if view is None:
                    unknown.append((work, None, 0.0))
                    continue
                compute = (not options.only_shards or shard in options.only_shards) and (
                    not options.only_stages or name in options.only_stages
                )
                part = computing_part(
                    context, view, work.node, work.key, shard, work.parents[shard], retired, _BENCH,
                    partial(_fits, store, graph, work.node, done), pool, ahead, preparing, place,
                    changed={n: frozenset(d.changed) for n, d in work.needed.items() if d.changed},
                    compute=compute and not options.dry,
                )  # fmt: skip
                running.append((work, part))
            return unknown + _side_by_side(running, on_rows, stop)

        count = lanes or lanes_of(some)
        threads = ThreadPoolExecutor(count, thread_name_prefix="shards")
        try:
            shard_by_shard = results([threads.submit(run, s) for s in shards]) if count > 1 else map(run, shards)
            for ended in shard_by_shard:
                for work, result, seconds in ended:
                    work.add(result, seconds)
        except BaseException:
            stop.set()  # after an error or Ctrl-C the other shards end at their next batch
            raise
        finally:
            threads.shutdown(cancel_futures=True)
    used = sum(work.seconds for work in works) or 1.0
    wall = time.monotonic() - started
    return [work.progress(store, group, wall * work.seconds / used) for work in works]


def _work(
    context: BuildContext, store: Store, graph: Graph, node: Node, shards: range, done: Mapping[str, Done]
) -> _Work:
    key = node_key(graph, node, done)
    return _Work(node, _needed(graph, node, done), key, _parent_parts(store, context, node, key, shards))


def _fits(store: Store, graph: Graph, node: Node, done: Mapping[str, Done]) -> Mapping[str, pa.Table]:
    """Tables of the unkeyed fits that a stage reads."""
    unkeyed = [p for p in node.producers if graph[p].fit and graph.key_of(p) is None]
    return {p: store.lists.get(done[p].result) for p in unkeyed}


def _side_by_side(running: list[tuple[_Work, Computing]], on_rows: OnRows, stop: Stop) -> list[_Ended]:
    """Advance the stages of one shard in turn, always the one that is behind; plans are made before anything runs."""
    rows = {work.node.name: -1 for work, _ in running}
    seconds = dict.fromkeys(rows, 0.0)
    ended: list[_Ended] = []
    try:
        while running and not stop.is_set():
            work, part = min(running, key=lambda r: rows[r[0].node.name])
            name, started = work.node.name, time.monotonic()
            try:
                made = next(part)
            except StopIteration as end:
                ended.append((work, end.value, seconds[name] + time.monotonic() - started))
                running.remove((work, part))
            else:
                seconds[name] += time.monotonic() - started
                rows[name] = max(rows[name], 0) + made
                if made:
                    on_rows(name, made)
    finally:
        for _, part in running:
            part.close()
    return ended


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
    if name in context.pinned and node.fit is not None and not node.fit.key:
        result = context.pinned[name]
        return Done(name, _fit_key(node, node_key(graph, node, done), result), (), result)
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
