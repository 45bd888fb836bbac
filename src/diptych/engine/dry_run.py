"""What a build would do: rows at hand and rows to compute, without computing, committing or writing anything.

Rows that depend on rows still to be computed (accepted images, sentences, groups) cannot be known before
those exist; such stages are counted as far as they can be and marked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from diptych.engine.build import Silent, make_context, run_here
from diptych.engine.context import BuildOptions, Force, graph_of
from diptych.engine.drive import drive
from diptych.engine.intake import take_snapshot
from diptych.engine.space import expected_bytes
from diptych.recipe import parse_recipe
from diptych.storage.overlay import Overlay
from diptych.storage.root import LocalRoot, open_root
from diptych.storage.store import open_store

__all__ = ["DryRun", "StagePlan", "dry_run"]


@dataclass(frozen=True)
class StagePlan:
    """Rows of one stage; ``open`` when more may appear once an earlier stage has run."""

    name: str
    rows: int
    reused: int
    missing: int
    open: bool


@dataclass(frozen=True)
class DryRun:
    """What a build of this recipe would start from and do."""

    dataset: str
    snapshot: str
    stages: tuple[StagePlan, ...]
    bytes: int
    """About how much it would write."""


def dry_run(
    recipe: str, root: str, options: BuildOptions, folder: str | Path = ".", force: Force | None = None
) -> DryRun:
    """Plan a build of what the fetch log holds now; the store is only read."""
    parsed = parse_recipe(recipe)
    with TemporaryDirectory(prefix="diptych-dry-run-") as scratch:
        store = open_store(Overlay(open_root(root), LocalRoot(scratch)), parsed.name)
        taken = take_snapshot(store, parsed, folder)
        context = make_context(recipe, root, taken, replace(options, dry=True), force=force)
        context = replace(context, scratch=scratch)
        finished = drive(context, run_here(context, Silent()))
        written = expected_bytes(store, context)
    stages = []
    for node in graph_of(recipe).stages:
        p = finished.progress.get(node.name)
        known = p is not None and not p.unknown
        counts = (p.rows, p.reused, p.missing) if p is not None else (0, 0, 0)
        stages.append(StagePlan(node.name, *counts, open=not known))
    return DryRun(parsed.name, context.snapshot, tuple(stages), written)
