"""The order of a build: waves of steps that can run together, whoever runs them.

The embedded build runs a wave in a loop, the Prefect flow submits it as tasks; neither knows what a step
does, this module does not know how it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from diptych.engine.context import BuildContext, Done, Kind, Progress, graph_of
from diptych.engine.graph import Graph, Node
from diptych.engine.steps import merge_fit, node_key, pinned_result
from diptych.exceptions import NothingCommitted
from diptych.recipe import parse_recipe
from diptych.storage.parts import MAX_CHUNKS, groups

__all__ = [
    "MAX_TASKS",
    "TASKS_AT_ONCE",
    "Bundle",
    "Finished",
    "Step",
    "bundles",
    "check_failures",
    "drive",
    "merged",
    "task_runs",
    "tasks_a_step",
]

MAX_TASKS = 500
"""Task runs of one build at most, whatever its size: groups grow, tasks do not."""
TASKS_AT_ONCE = 2
"""Tasks at a time where threads of one machine run them, unless the form says otherwise."""
TASKS_A_THREAD = 4
"""Tasks of a stage for each of those: it costs some 40 ms of processors to have one more."""
RESERVED = 20
"""Of them, those that are no step: crawl, snapshots, publishing."""


@dataclass(frozen=True)
class Step:
    """One fit, one stage, or stages that look at the same pictures, over one group of shards."""

    kind: Kind
    names: tuple[str, ...]
    group: int


@dataclass(frozen=True)
class Finished:
    """Every node of a build that ran to its end."""

    done: Mapping[str, Done]
    progress: Mapping[str, Progress]
    incomplete: tuple[str, ...]
    """Stages and fits some of whose shards were left out (``--shards``, ``--stages``)."""


@dataclass(frozen=True)
class Bundle:
    """What one task does: the same stages or fit over some groups of shards, one after another."""

    kind: Kind
    names: tuple[str, ...]
    groups: tuple[int, ...]


def tasks_a_step(nodes: int, attempt: int, attempts: int, threads: int | None = None, processes: int = 1) -> int:
    """Into how many tasks at most one stage's groups go, so that all ``attempts`` to commit stay below ``MAX_TASKS``.

    The first attempt gets all that leaves later ones a task a node: they find nearly every row finished. ``threads``
    run at once on one machine and need fewer; None: the tasks go to the machines of a cluster. Fewer still where each
    has to keep ``processes`` busy.
    """
    budget, later = MAX_TASKS - RESERVED, attempts - 1
    useful = MAX_CHUNKS if threads is None else min(MAX_CHUNKS, max(1, TASKS_A_THREAD * threads // processes))
    first = max(1, min(useful, budget // nodes - later))
    return first if attempt == 0 else max(1, min(useful, (budget - first * nodes) // (later * nodes)))


def task_runs(graph: Graph, shards: int, attempts: int, threads: int | None = None) -> int:
    """Task runs of a first build that commits at once: its steps, and crawl, snapshot and publishing."""
    length = len(groups(shards))
    size = -(-length // tasks_a_step(len(graph.nodes), 0, attempts, threads))
    left, done, steps = list(graph.nodes), set[str](), 0
    while left:
        ready = [node for node in left if graph.waits_for(node) <= done]
        left = [node for node in left if node not in ready]
        done |= {node.name for node in ready}
        steps += len(_together(ready))
    return steps * -(-length // size) + 3


def bundles(steps: Sequence[Step], most: int) -> list[Bundle]:
    """The steps of a wave as at most ``most`` tasks for each stage or fit; neighbouring groups stay together."""
    found = []
    for names in dict.fromkeys(step.names for step in steps):
        own = [step for step in steps if step.names == names]
        size = -(-len(own) // most)
        for start in range(0, len(own), size):
            some = own[start : start + size]
            found.append(Bundle(some[0].kind, names, tuple(step.group for step in some)))
    return found


RunWave = Callable[[Sequence[Step], Mapping[str, Done]], Sequence[Progress]]


def drive(context: BuildContext, run: RunWave, on_done: Callable[[Progress], None] = lambda p: None) -> Finished:
    """Run every node, wave by wave; :class:`NothingCommitted` as soon as a stage fails above the recipe's limit."""
    graph = graph_of(context.recipe, context.build)
    done: dict[str, Done] = {}
    progress: dict[str, Progress] = {}
    left = list(graph.nodes)
    incomplete: set[str] = set()
    stuck: set[str] = set()
    while left:
        for node in left:  # in order: what waits for a stuck node comes after it
            waits = graph.waits_for(node)
            if waits & stuck or (node.fit and waits & incomplete):
                stuck.add(node.name)
        ready = [n for n in left if n.name not in stuck and graph.waits_for(n) <= set(done)]
        left = [n for n in left if n.name not in stuck and n not in ready]
        waiting = []
        for node in ready:
            pinned = pinned_result(context, node.name, done) if node.fit else None
            if pinned:
                done[node.name] = pinned
                progress[node.name] = Progress(node.name, -1, "", kind="fit")
            else:
                waiting.append(node)
        steps = [Step(kind, names, g) for kind, names in _together(waiting) for g in range(len(groups(context.shards)))]
        results = run(steps, dict(done)) if steps else []
        for node in waiting:
            own = sorted((p for p in results if p.name == node.name), key=lambda p: p.group)
            total = progress[node.name] = merged(own)
            if not total.complete:
                incomplete.add(node.name)
            chunks = tuple(p.chunk for p in own)
            if node.fit and total.complete:
                done[node.name] = merge_fit(context, node.name, done, chunks)
            elif node.stage:
                changed = tuple(row for row, what, _ in total.compared if what not in ("equal", "kept"))
                done[node.name] = Done(node.name, node_key(graph, node, done), chunks, changed=changed)
            on_done(total)
            check_failures(context, total)
    return Finished(done, progress, tuple(sorted(incomplete | stuck)))


def _together(nodes: Sequence[Node]) -> list[tuple[Kind, tuple[str, ...]]]:
    """Kind and names of the steps: accelerator stages that read pictures form one, which decodes them once."""
    vision = [n.name for n in nodes if n.stage and n.stage.accelerator and "images.bytes" in n.stage.inputs]
    found: list[tuple[Kind, tuple[str, ...]]] = []
    for node in nodes:
        if node.name not in vision:
            found.append(("fit" if node.fit else "stage", (node.name,)))
        elif node.name == vision[0]:
            found.append(("stage", tuple(vision)))
    return found


def merged(parts: Sequence[Progress]) -> Progress:
    """The sum over groups."""
    counts: dict[str, int] = {}
    codes: dict[str, int] = {}
    for part in parts:
        for total, own in ((counts, part.counts), (codes, part.codes)):
            for name, n in own.items():
                total[name] = total.get(name, 0) + n
    return Progress(
        name=parts[0].name,
        group=-1,
        chunk="",
        kind=parts[0].kind,
        rows=sum(p.rows for p in parts),
        computed=sum(p.computed for p in parts),
        reused=sum(p.reused for p in parts),
        counts=counts,
        codes=codes,
        bytes_written=sum(p.bytes_written for p in parts),
        bytes_total=sum(p.bytes_total for p in parts),
        seconds=sum(p.seconds for p in parts),
        compared=tuple(c for p in parts for c in p.compared),
        missing=sum(p.missing for p in parts),
        unknown=sum(p.unknown for p in parts),
    )


def check_failures(context: BuildContext, progress: Progress) -> None:
    """Raise :class:`NothingCommitted` when more rows of a stage failed than the recipe allows."""
    failed = sum(n for status, n in progress.counts.items() if status.startswith("failed"))
    if not failed or context.options.accept_failures:
        return
    limit = parse_recipe(context.recipe).limits.max_failed
    if failed <= _accepted(context, progress.name):
        return
    tried = progress.rows - progress.counts.get("skipped", 0)
    if failed / max(1, tried) > limit:
        top = sorted(((n, c) for c, n in progress.codes.items() if c.startswith("failed")), reverse=True)[:5]
        reasons = ", ".join(f"{code} {n}" for n, code in top)
        raise NothingCommitted(
            f"stage {progress.name}: {failed} of {tried} rows failed ({failed / tried:.1%}, limits.max_failed is "
            f"{limit:.1%}): {reasons}. Nothing was committed; the finished rows are kept. "
            "`diptych build --accept-failures` commits all the same, `--retry-failed` tries them again"
        )


def _accepted(context: BuildContext, stage: str) -> int:
    """Failed rows of a stage that the parent version was committed with, on purpose."""
    if context.parent is None:
        return 0
    manifest = context.store().log.manifest(context.parent)
    if manifest.accepted_failures is None:
        return 0
    return next((s.counts.failed for s in manifest.stages if s.name == stage), 0)
