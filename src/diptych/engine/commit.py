"""The last step of a build: the manifest, and one new entry in the log; nothing when nothing changed."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from pydantic import JsonValue

from diptych import weights as weights_registry
from diptych.engine.compute import stage_entry
from diptych.engine.context import BuildContext, Done, graph_of
from diptych.engine.drive import Finished
from diptych.engine.graph import Graph, Node
from diptych.engine.steps import node_key
from diptych.releases import git_commit, release
from diptych.stage import Status
from diptych.storage.canonical import table_digest
from diptych.storage.log import CommitEntry, new_commit_id, now
from diptych.storage.manifest import (
    Code,
    Digests,
    FitEntry,
    Manifest,
    StageEntry,
    WeightsEntry,
    manifest_digests,
    successor,
)
from diptych.storage.parts import read_chunk, stage_totals
from diptych.storage.snapshot import read_snapshot
from diptych.storage.store import Store

__all__ = ["Committed", "commit", "commit_rewritten", "would_commit"]

CORE_PACKAGES = ("numpy", "pyarrow", "pillow")


@dataclass(frozen=True)
class Committed:
    """The version a build made, or None and why not."""

    version: int | None
    reason: str
    parent: int | None = None


def commit(store: Store, context: BuildContext, finished: Finished) -> Committed:
    """Write the next log entry; nothing when the parent has the same input and content digests.

    Raises :class:`~diptych.exceptions.Conflict` when another entry came first: plan again on the new head.
    """
    stages, fits, digests = _entries(store, context, finished)
    parent = store.log.manifest(context.parent) if context.parent is not None else None
    if parent is not None and _unchanged(parent, context, finished, digests):
        return Committed(None, f"nothing changed since version {parent.version}; nothing committed", parent.version)
    accepted = context.options.accept_failures or (parent is not None and parent.accepted_failures is not None)
    weights = tuple({w.name: w for s in stages for w in s.weights}.values())
    manifest = Manifest(
        version=store.log.next_version(context.head),
        parent=context.parent,
        commit_id=new_commit_id(),
        created_at=now(),
        dataset=context.dataset,
        snapshot=context.snapshot,
        shards=context.shards,
        stages=stages,
        fits=fits,
        recipe=context.recipe,
        code=Code(version=release("diptych"), commit=git_commit()),
        packages={"python": platform.python_version(), **{p: release(p) for p in CORE_PACKAGES}},
        weights=weights,
        statistics=statistics(store, context, finished),
        input_digest=digests.input,
        exact_digest=digests.exact,
        floats_digest=digests.floats,
        accepted_failures=_failed_share(finished) if accepted else None,
    )
    store.log.append(CommitEntry(manifest=manifest), after=context.head)
    return Committed(manifest.version, f"committed version {manifest.version}", context.parent)


def would_commit(store: Store, context: BuildContext, finished: Finished) -> bool:
    """Whether :func:`commit` would write a version now."""
    parent = store.log.manifest(context.parent) if context.parent is not None else None
    return parent is None or not _unchanged(parent, context, finished, _entries(store, context, finished)[2])


def _entries(
    store: Store, context: BuildContext, finished: Finished
) -> tuple[tuple[StageEntry, ...], tuple[FitEntry, ...], Digests]:
    graph = graph_of(context.recipe, context.build)
    stages = tuple(_stage_entry(store, graph, n, finished) for n in graph.stages)
    fits = tuple(_fit_entry(store, graph, n, finished) for n in graph.fits)
    return stages, fits, manifest_digests(context.snapshot, stages, fits)


def _unchanged(parent: Manifest, context: BuildContext, finished: Finished, digests: Digests) -> bool:
    same = (parent.input_digest, parent.exact_digest, parent.floats_digest)
    repaired = any(what == "repaired" for p in finished.progress.values() for _, what, _ in p.compared)
    return (
        parent.shards == context.shards
        and same == (digests.input, digests.exact, digests.floats)
        and not repaired
        and not _refreshed(parent, context)
    )


def _refreshed(parent: Manifest, context: BuildContext) -> bool:
    """Whether stages were computed again by other releases: then a version says so, though no value changed."""
    return any(
        s.packages != {p: release(p) for p in s.packages} for s in parent.stages if s.name in context.force.stages
    )


def commit_rewritten(
    store: Store,
    manifest: Manifest,
    stages: tuple[StageEntry, ...],
    head: int,
    fits: tuple[FitEntry, ...] | None = None,
) -> int:
    """Commit the same rows in other segments; digests and everything else stay as they are.

    ``fits``: the same results with other partials.
    """
    number = store.log.next_version(head)
    new = successor(manifest, version=number, commit_id=new_commit_id(), created_at=now(), stages=stages, fits=fits)
    store.log.append(CommitEntry(manifest=new), after=head)
    return number


def _stage_entry(store: Store, graph: Graph, node: Node, finished: Finished) -> StageEntry:
    stage = node.stage
    assert stage is not None
    done = finished.done[node.name]
    totals = stage_totals(p for chunk in done.chunks for p in read_chunk(store, chunk))
    return stage_entry(node, done.key).model_copy(
        update={
            "chunks": done.chunks,
            "counts": totals.counts,
            "bytes": totals.bytes,
            "input": totals.input,
            "exact": totals.exact,
            "floats": totals.floats,
            "packages": {p: release(p) for p in stage.packages},
            "weights": tuple(_weights_entry(n) for n in stage.weight_names()),
        }
    )


def _weights_entry(name: str) -> WeightsEntry:
    return WeightsEntry(name=name, sha256=weights_registry.digest(name), random=weights_registry.is_random(name))


def _fit_entry(store: Store, graph: Graph, node: Node, finished: Finished) -> FitEntry:
    fit = node.fit
    assert fit is not None
    done: Done = finished.done[node.name]
    table = store.lists.get(done.result)
    return FitEntry(
        name=node.name,
        key=node_key(graph, node, finished.done),
        version=fit.version,
        config=fit.config.model_dump(mode="json"),
        reads=node.producers,
        result=done.result,
        exact=table_digest(table, floats=False),
        rows=table.num_rows,
        pinned=fit.refit == "pinned",
        keyed=fit.key is not None,
        ledger=fit.ledger,
        partials=done.chunks,
        packages={p: release(p) for p in fit.packages},
    )


def statistics(store: Store, context: BuildContext, finished: Finished) -> dict[str, JsonValue]:
    """Plain counts of a version: the snapshot's records and images by outcome, each stage's rows by status and code.

    ``rates`` has the rows that this build computed and the seconds that took: what ``diptych plan`` goes by.
    """
    records, images = read_snapshot(store, context.snapshot).outcomes()
    stages: dict[str, JsonValue] = {
        name: {"rows": p.rows, **{k: v for k, v in p.counts.items() if v}, "codes": dict(sorted(p.codes.items()))}
        for name, p in finished.progress.items()
        if graph_of(context.recipe, context.build)[name].stage
    }
    rates: dict[str, JsonValue] = {
        p.name: {"rows": p.computed, "seconds": round(p.seconds, 3)}
        for p in finished.progress.values()
        if p.kind == "stage" and p.computed
    }
    counted: dict[str, JsonValue] = {"stages": stages, "rates": rates}
    for name, found in (("records", records), ("images", images)):
        counted[name] = {str(k): n for k, n in sorted(found.items())}
    return counted


def _failed_share(finished: Finished) -> float:
    failed = sum(n for p in finished.progress.values() for s, n in p.counts.items() if Status(s).failed)
    return failed / max(1, sum(p.rows for p in finished.progress.values()))
