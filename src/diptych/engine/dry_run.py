"""What a build would do: rows at hand and rows to compute, without computing or committing anything.

Rows that depend on rows still to be computed (accepted images, sentences, groups) cannot be known before
those exist; such stages are counted as far as they can be and marked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from diptych.engine.build import Silent, make_context, run_here
from diptych.engine.context import BuildOptions, Force, graph_of
from diptych.engine.drive import drive
from diptych.engine.intake import take_snapshot
from diptych.engine.space import expected_bytes
from diptych.recipe import parse_recipe
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
    """Plan a build of what the fetch log holds now."""
    parsed = parse_recipe(recipe)
    store = open_store(root, parsed.name)
    context = make_context(recipe, root, take_snapshot(store, parsed, folder), replace(options, dry=True), force=force)
    finished = drive(context, run_here(context, Silent()))
    stages = []
    for node in graph_of(recipe).stages:
        p = finished.progress.get(node.name)
        known = p is not None and not p.unknown
        counts = (p.rows, p.reused, p.missing) if p is not None else (0, 0, 0)
        stages.append(StagePlan(node.name, *counts, open=not known))
    return DryRun(parsed.name, context.snapshot, tuple(stages), expected_bytes(store, context))
