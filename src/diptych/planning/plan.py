"""``diptych plan``: what a build of a recipe would compute now, and what one of any size would take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from diptych.engine.context import BuildOptions, graph_of
from diptych.engine.dry_run import DryRun, dry_run
from diptych.engine.graph import Graph
from diptych.exceptions import UsageError
from diptych.planning.estimate import Estimate, Machine, estimate
from diptych.planning.rates import Rate, packaged_shape, rates_of
from diptych.planning.shape import shape_of
from diptych.recipe import RecipeFile
from diptych.releases import release
from diptych.storage.manifest import Manifest
from diptych.storage.store import open_store

__all__ = ["Mixed", "Next", "Plan", "plan"]


@dataclass(frozen=True)
class Mixed:
    """A package whose release changed since rows were computed that the next build would take over."""

    stage: str
    package: str
    before: str
    now: str


@dataclass(frozen=True)
class Next:
    """What the next build would compute of a stage; ``open`` when more may follow from earlier stages."""

    stage: str
    rows: int
    missing: int
    seconds: float | None
    bytes: int | None
    open: bool


@dataclass(frozen=True)
class Plan:
    """The next build of what was crawled, where anything was; and a first build of ``size.documents``."""

    dataset: str
    parent: int | None
    next: tuple[Next, ...]
    mixed: tuple[Mixed, ...]
    size: Estimate


def plan(
    file: RecipeFile,
    root: str | Path,
    *,
    documents: int | None = None,
    shards: int | None = None,
    machine: Machine | None = None,
) -> Plan:
    """Estimate from the dataset's own builds where they measured, from packaged rates where not.

    ``documents`` defaults to what the dataset holds; :class:`UsageError` when it holds none and no number is given.
    Nothing is computed, committed or written.
    """
    with file.named():
        graph = graph_of(file.text)
    store = open_store(root, file.recipe.name)
    versions = store.log.versions()
    parent = versions[max(versions)] if versions else None
    rates = rates_of(graph, versions.values())
    shape = shape_of(store, parent) if parent else packaged_shape()
    coming: DryRun | None = None
    if store.exists():
        with file.named():
            coming = dry_run(file.text, str(root), BuildOptions(), file.folder)
    held = max((s.rows for s in coming.stages if _is_document(graph, s.name)), default=0) if coming else 0
    if documents is None and not held:
        raise UsageError(f"{file.recipe.name}: nothing was crawled yet; say how many: --documents 1000")
    if parent and not any(s.rows == "sentence" for s in parent.stages):
        shape = replace(shape, sentences=_sentences(graph, coming, held))
    size = estimate(graph, rates, shape, documents or held, shards=shards, machine=machine)
    return Plan(
        dataset=file.recipe.name,
        parent=parent.version if parent else None,
        next=_next(coming, rates) if coming else (),
        mixed=_mixed(graph, parent, coming) if parent and coming else (),
        size=size,
    )


def _sentences(graph: Graph, coming: DryRun | None, held: int) -> float:
    """Sentences of a document where no stage of the version has any: as the next build will see them, else packaged."""
    stages = coming.stages if coming and held else ()
    counts = (s.rows / held for s in stages if not s.open and (w := graph[s.name].stage) and w.key == "sentence")
    return next(counts, packaged_shape().sentences)


def _is_document(graph: Graph, name: str) -> bool:
    stage = graph[name].stage
    return stage is not None and stage.key == "document"


def _next(coming: DryRun, rates: dict[str, Rate | None]) -> tuple[Next, ...]:
    found = []
    for stage in coming.stages:
        rate = rates.get(stage.name)
        seconds = stage.missing * rate.seconds if rate else None
        size = int(stage.missing * rate.bytes) if rate else None
        found.append(Next(stage.name, stage.rows, stage.missing, seconds, size, stage.open))
    return tuple(found)


def _mixed(graph: Graph, parent: Manifest, coming: DryRun) -> tuple[Mixed, ...]:
    """Releases that differ, of stages that would take rows of the parent over."""
    reused = {s.name for s in coming.stages if s.reused}
    before = {s.name: s.packages for s in parent.stages}
    return tuple(
        Mixed(node.name, package, before[node.name][package], release(package))
        for node in graph.stages
        if node.stage is not None and node.name in reused
        for package in node.stage.packages
        if before.get(node.name, {}).get(package, release(package)) != release(package)
    )
