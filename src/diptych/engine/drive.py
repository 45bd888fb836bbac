"""The order of a build: waves of steps that can run together, whoever runs them.

The embedded build runs a wave in a loop, the Prefect flow submits it as tasks; neither knows what a step
does, this module does not know how it is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from diptych.engine.context import BuildContext, Done, Progress, graph_of
from diptych.engine.steps import merge_fit, node_key, pinned_result
from diptych.exceptions import NothingCommitted
from diptych.recipe import parse_recipe
from diptych.storage.parts import groups

__all__ = ["Finished", "Step", "check_failures", "drive", "merged"]


@dataclass(frozen=True)
class Step:
    """One stage or fit over one group of shards."""

    kind: Literal["stage", "fit"]
    name: str
    group: int


@dataclass(frozen=True)
class Finished:
    """Every node of a build that ran to its end."""

    done: Mapping[str, Done]
    progress: Mapping[str, Progress]
    incomplete: tuple[str, ...]
    """Stages and fits some of whose shards were left out (``--shards``, ``--stages``)."""


RunWave = Callable[[Sequence[Step], Mapping[str, Done]], Sequence[Progress]]


def drive(context: BuildContext, run: RunWave, on_done: Callable[[Progress], None] = lambda p: None) -> Finished:
    """Run every node, wave by wave; :class:`NothingCommitted` as soon as a stage fails above the recipe's limit."""
    graph = graph_of(context.recipe)
    done: dict[str, Done] = {}
    progress: dict[str, Progress] = {}
    left = list(graph.nodes)
    incomplete: set[str] = set()
    while left:
        ready = [n for n in left if graph.waits_for(n) <= set(done) | incomplete]
        left = [n for n in left if n not in ready]
        stuck = [n for n in ready if any(graph[name].fit for name in graph.waits_for(n) & incomplete)]
        stuck += [n for n in ready if n.fit and graph.waits_for(n) & incomplete and n not in stuck]
        incomplete.update(n.name for n in stuck)
        waiting = []
        for node in (n for n in ready if n not in stuck):
            pinned = pinned_result(context, node.name, done) if node.fit else None
            if pinned:
                done[node.name] = pinned
                progress[node.name] = Progress(node.name, -1, "", kind="fit")
            else:
                waiting.append(node)
        steps = [
            Step("fit" if n.fit else "stage", n.name, g) for n in waiting for g in range(len(groups(context.shards)))
        ]
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
                changed = tuple(row for row, what, _ in total.compared if what not in ("equal", "new"))
                done[node.name] = Done(node.name, node_key(graph, node, done), chunks, changed=changed)
            on_done(total)
            check_failures(context, total)
    return Finished(done, progress, tuple(sorted(incomplete)))


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
    tried = progress.rows - progress.counts.get("skipped", 0)
    if failed / max(1, tried) > limit:
        top = sorted(((n, c) for c, n in progress.codes.items() if c.startswith("failed")), reverse=True)[:5]
        reasons = ", ".join(f"{code} {n}" for n, code in top)
        raise NothingCommitted(
            f"stage {progress.name}: {failed} of {tried} rows failed ({failed / tried:.1%}, limits.max_failed is "
            f"{limit:.1%}): {reasons}. Nothing was committed; the finished rows are kept. "
            "`diptych build --accept-failures` commits all the same, `--retry-failed` tries them again"
        )
