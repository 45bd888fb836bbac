"""One stage over one shard: reuse every row whose inputs are as they were, compute the others, write one segment.

Four things happen at once, with two batches between them: inputs are read, they are prepared (pictures decoded), a
batch is computed, outputs are written. Files of rows are independent of it, because each of them keeps the rows' order.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from diptych.engine.context import BuildContext
from diptych.engine.devices import Place
from diptych.engine.graph import Node
from diptych.engine.view import ShardView
from diptych.engine.workbench import Workbench
from diptych.exceptions import Corrupt, NotFound
from diptych.naming import row_hash
from diptych.releases import release
from diptych.stage import Batch, Output, RowState, Status
from diptych.storage.compact import compact_part, needs_compaction
from diptych.storage.manifest import Schema, StageEntry, tensor_entries
from diptych.storage.parts import Part, make_part
from diptych.storage.rows import ROWS_SCHEMA, Counts
from diptych.storage.segments import SegmentRef, SegmentWriter, find_segments, read_segment
from diptych.storage.store import Store

__all__ = ["PartResult", "Row", "ShardPlan", "Shortfall", "computing_part", "plan_part", "stage_entry"]

NOT_SELECTED = "not_selected"
AHEAD = 2
"""Batches that are prepared before their turn, and outputs that wait to be written."""


@dataclass(frozen=True)
class Row:
    """Where a finished row stands and what its values hash to."""

    segment: SegmentRef
    row: int
    input_hash: bytes
    status: str
    code: str
    exact: bytes
    floats: bytes


@dataclass
class ShardPlan:
    """What one shard of one stage needs: the rows in order, those at hand, those to compute."""

    keys: list[str]
    hashes: list[bytes]
    settled: dict[str, RowState] = field(default_factory=dict)
    """Rows that need no computing: not selected, or what they read is not ok."""
    found: dict[str, Row] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    forced: frozenset[str] = frozenset()
    """Rows computed again although they stand somewhere: a rebuild asked, or what they read changed under them."""


@dataclass(frozen=True)
class PartResult:
    """A finished part and what it took."""

    part: Part
    computed: int
    reused: int
    codes: Mapping[str, int]
    bytes_written: int
    seconds: float
    compared: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Shortfall:
    """A part that was not made because rows are missing and were not to be computed."""

    rows: int
    missing: int


def stage_entry(node: Node, key: str) -> StageEntry:
    """The manifest's entry of a stage, still without parts."""
    stage = node.stage
    assert stage is not None
    return StageEntry(
        name=node.name,
        key=key,
        version=stage.version,
        rows=stage.key,
        gate=stage.gate,
        config=stage.config.model_dump(mode="json"),
        reads=node.producers,
        chunks=(),
        counts=Counts(),
        bytes=0,
        input="",
        exact="",
        floats="",
        columns=Schema.of(stage.output_schema()),
        tensors=tensor_entries(stage.tensor_schema()),
    )


def _rows_of(part: Part, store: Store) -> Iterator[tuple[str, Row]]:
    table = store.lists.get(part.rows)
    columns = (table[n].to_pylist() for n in ROWS_SCHEMA.names)
    for key, segment, row, input_hash, status, code, exact, floats in zip(*columns, strict=True):
        yield key, Row(part.segments[segment], row, input_hash, status, code, exact, floats)


def _rows_in(store: Store, ref: SegmentRef) -> Iterator[tuple[str, Row]]:
    names = ["key", "input_hash", "status", "code", "exact", "floats"]
    table = read_segment(store, ref).table(names)
    for i, (key, *rest) in enumerate(zip(*(table[n].to_pylist() for n in names), strict=True)):
        yield key, Row(ref, i, *rest)


def _readable_rows(store: Store, ref: SegmentRef) -> Iterator[tuple[str, Row]]:
    """The rows of a segment found by its address; none when it is damaged or was collected meanwhile."""
    try:
        yield from _rows_in(store, ref)
    except (NotFound, Corrupt):
        return


def plan_part(
    context: BuildContext,
    view: ShardView,
    node: Node,
    key: str,
    shard: int,
    parents: Sequence[Part],
    retired: frozenset[str],
    changed: Mapping[str, frozenset[str]],
) -> ShardPlan:
    """Which rows the shard has, which stand in the parent's parts or in a finished segment at this address."""
    keys = view.rows(node.rows, node.work.fetched)
    plan = ShardPlan(keys, [])
    again = set(keys if node.name in context.force.stages else context.force.of(node.name, shard))
    for row in keys:
        if not view.selected(node, row):
            plan.settled[row] = RowState(Status.SKIPPED, NOT_SELECTED)
            plan.hashes.append(row_hash([NOT_SELECTED]))
            continue
        reads = view.reads(node, row)
        if changed and any(ref.key in changed.get(producer, ()) for producer, refs in reads for ref in refs):
            again.add(row)
        plan.hashes.append(view.input_hash(node, row, reads))
        blocked = view.blocked(node, reads)
        if blocked:
            plan.settled[row] = RowState(Status.SKIPPED, f"input:{blocked}")
    wanted = dict(zip(keys, plan.hashes, strict=True))

    def take(rows: Iterator[tuple[str, Row]]) -> None:
        for row, at in rows:
            if wanted.get(row) == at.input_hash and _reusable(at.status, context):
                held = plan.found.get(row)
                if held is None or (Status(held.status).failed and at.status == Status.OK):
                    plan.found[row] = at

    for part in parents:
        if not any(s.path in retired for s in part.segments):
            with view.store.lists.or_damaged(part.rows):
                take(_rows_of(part, view.store))
    if len(plan.found) < len(keys) or any(Status(r.status).failed for r in plan.found.values()):
        for found in find_segments(view.store, node.name, key, shard, context.shards, retired):
            take(_readable_rows(view.store, found.ref))
    plan.forced = frozenset(again & set(keys))
    plan.found = {k: v for k, v in plan.found.items() if k not in plan.forced}
    plan.missing = [i for i, row in enumerate(keys) if row not in plan.found]
    return plan


def _reusable(status: str, context: BuildContext) -> bool:
    if context.options.retry == "none":
        return True
    if status == Status.FAILED_TRANSIENT:
        return False
    return not (status == Status.FAILED_PERMANENT and context.options.retry == "failed")


def computing_part(
    context: BuildContext,
    view: ShardView,
    node: Node,
    key: str,
    shard: int,
    parents: Sequence[Part],
    retired: frozenset[str],
    bench: Workbench,
    fits: Callable[[], Mapping[str, pa.Table]],
    pool: ThreadPoolExecutor,
    ahead: ThreadPoolExecutor,
    preparing: ThreadPoolExecutor,
    place: Place,
    *,
    changed: Mapping[str, frozenset[str]],
    compute: bool = True,
) -> Generator[int, None, PartResult | Shortfall]:
    """Computes the shard's part, yielding after the plan (0) and after each batch its number of rows.

    With ``compute=False`` nothing is computed; a :class:`Shortfall` when rows are then missing. ``pool`` reads blobs,
    ``ahead`` is the one thread that reads from ``view`` while this is suspended, ``preparing`` prepares what it has
    read, ``place`` is where the stage runs.
    """
    started = time.monotonic()
    plan = plan_part(context, view, node, key, shard, parents, retired, changed)
    yield 0
    if plan.missing and not compute:
        return Shortfall(len(plan.keys), len(plan.missing))
    before = dict(plan.found)
    written = 0
    compared: list[tuple[str, str, str]] = []
    if plan.missing:
        assert node.stage is not None
        stage = node.stage
        meta = {
            "weights": list(stage.weight_names()),
            "packages": {p: release(p) for p in stage.packages},
            "version": stage.version,
        }
        writer = SegmentWriter(
            view.store,
            stage=node.name,
            stage_key=key,
            shard=shard,
            shards=context.shards,
            build=context.build,
            schema=stage.output_schema(),
            tensors=stage.tensor_schema(),
            meta=meta,
        )
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="writer") as writing:
                waiting: deque[Future[None]] = deque()
                for output, hashes in _outputs(
                    context, view, node, key, plan, bench, fits, pool, ahead, preparing, place
                ):
                    waiting.append(writing.submit(writer.append, output, hashes))
                    if len(waiting) > AHEAD:
                        waiting.popleft().result()
                    yield len(output.keys)
                for future in waiting:
                    future.result()
            done = writer.close()
        except BaseException:
            writer.abort()
            raise
        written = sum(f.size for f in done.ref.files)
        for row, at in _rows_in(view.store, done.ref):
            plan.found[row] = at
        if plan.forced:
            compared = _compare(view.store, parents, plan, [k for k in plan.keys if k in plan.forced])
    part = _assemble(view.store, shard, plan)
    if written and needs_compaction(part):
        part = compact_part(view.store, stage_entry(node, key), part, context.shards, context.build)
    codes = Counter(f"{r.status}:{r.code}" for k in plan.keys if (r := plan.found[k]).status != Status.OK or r.code)
    computed = sum(1 for i in plan.missing if plan.keys[i] not in plan.settled)
    return PartResult(part, computed, len(before), dict(codes), written, time.monotonic() - started, tuple(compared))


def _outputs(
    context: BuildContext,
    view: ShardView,
    node: Node,
    key: str,
    plan: ShardPlan,
    bench: Workbench,
    fits: Callable[[], Mapping[str, pa.Table]],
    pool: ThreadPoolExecutor,
    ahead: ThreadPoolExecutor,
    preparing: ThreadPoolExecutor,
    place: Place,
) -> Iterator[tuple[Output, list[bytes]]]:
    """Outputs of the missing rows; the next batches are read and prepared while one is computed."""
    assert node.stage is not None
    stage = node.stage
    settled = [i for i in plan.missing if plan.keys[i] in plan.settled]
    if settled:
        output = Batch(tuple(plan.keys[i] for i in settled), {}, stage).output()
        output.states = [plan.settled[plan.keys[i]] for i in settled]
        yield output, [plan.hashes[i] for i in settled]
    todo = [i for i in plan.missing if plan.keys[i] not in plan.settled]
    left = deque(todo)

    def read(rows: Sequence[int]) -> Batch:
        keys = tuple(plan.keys[i] for i in rows)
        kept = tuple(view.keeps(node, key) for key in keys)
        return Batch(keys, view.columns(node, keys, pool), stage, kept)

    def prepare(batch: Future[Batch]) -> Batch:
        return bench.prepare(node, key, place, fits, batch.result())

    coming: deque[tuple[list[int], Future[Batch], Future[Batch]]] = deque()

    def ask() -> None:
        if left:
            size = context.options.batch_size or bench.rows_at_once(node, key, place)
            rows = [left.popleft() for _ in range(min(size, len(left)))]
            batch = ahead.submit(read, rows)
            coming.append((rows, batch, preparing.submit(prepare, batch)))

    try:
        for _ in range(AHEAD):
            ask()
        while coming:
            ask()
            rows, _, ready = coming.popleft()
            batch = ready.result()
            output = bench.process(node, key, place, fits, batch)
            output.keep(batch.kept)
            yield output, [plan.hashes[i] for i in rows]
    finally:
        for _, batch, ready in coming:
            ready.cancel()
            batch.cancel()


def _assemble(store: Store, shard: int, plan: ShardPlan) -> Part:
    segments: dict[str, SegmentRef] = {}
    columns: dict[str, list[object]] = {n: [] for n in ROWS_SCHEMA.names}
    index: dict[str, int] = {}
    for key in plan.keys:
        at = plan.found[key]
        if at.segment.path not in index:
            index[at.segment.path] = len(index)
            segments[at.segment.path] = at.segment
        values = (key, index[at.segment.path], at.row, at.input_hash, at.status, at.code, at.exact, at.floats)
        for name, value in zip(ROWS_SCHEMA.names, values, strict=True):
            columns[name].append(value)
    table = pa.table(columns, schema=ROWS_SCHEMA)
    return make_part(store, shard, table, tuple(segments.values()))


def _compare(store: Store, parents: Sequence[Part], plan: ShardPlan, rows: list[str]) -> list[tuple[str, str, str]]:
    """Each recomputed row against the parent's; equal rows keep their old place, so nothing changes by them.

    A row that the parent lacks is "new", also in a first build: a build that committed nothing may have left another
    value of it, and rows made of that.
    """
    old: dict[str, Row] = {}
    for part in parents:
        with store.lists.or_damaged(part.rows):
            old.update(_rows_of(part, store))
    whole: dict[str, bool] = {}
    found = []
    for row in rows:
        was, now = old.get(row), plan.found[row]
        if was is None or was.input_hash != now.input_hash:
            found.append((row, "changed" if was else "new", "input" if was else ""))
        elif not _whole(store, was.segment, whole):
            found.append((row, "repaired", "damaged segment"))
        elif was.status == Status.OK and now.status == Status.FAILED_TRANSIENT:
            plan.found[row] = was
            found.append((row, "kept", now.code))
        elif (was.status, was.code, was.exact, was.floats) == (now.status, now.code, now.exact, now.floats):
            plan.found[row] = was
            found.append((row, "equal", ""))
        elif was.status != Status.OK and now.status == Status.OK:
            found.append((row, "repaired", ""))
        elif was.status == Status.OK and now.status != Status.OK:
            found.append((row, "broken", now.code))
        else:
            found.append((row, "changed", ", ".join(_changed_columns(store, was, now))))
    return found


def _whole(store: Store, ref: SegmentRef, known: dict[str, bool]) -> bool:
    """Whether every file of a segment is there with the SHA-256 it should have."""
    if ref.path not in known:
        try:
            read_segment(store, ref, verify=True)
            known[ref.path] = True
        except (NotFound, Corrupt):
            known[ref.path] = False
    return known[ref.path]


def _changed_columns(store: Store, was: Row, now: Row) -> list[str]:
    a, b = read_segment(store, was.segment), read_segment(store, now.segment)
    skip = {"key", "input_hash", "exact", "floats"}
    names = [n for n in b.table().schema.names if n not in skip and not n.endswith((".start", ".count"))]
    one, two = a.table(names).slice(was.row, 1).to_pylist()[0], b.table(names).slice(now.row, 1).to_pylist()[0]
    changed = [n for n in names if one[n] != two[n]]
    tensors = [f.name.removesuffix(".npy") for f in now.segment.files if f.name.endswith(".npy")]
    for name in tensors:
        left, right = a.tensor_rows(name)[was.row], b.tensor_rows(name)[now.row]
        same = (left is None) == (right is None) and (
            left is None or right is None or (left.shape == right.shape and left.tobytes() == right.tobytes())
        )
        if not same:
            changed.append(name)
    return changed or ["status"]
