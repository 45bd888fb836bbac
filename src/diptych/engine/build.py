"""Build a dataset in this process: plan, run every step, commit; plan again when somebody else committed first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from diptych.engine.commit import Committed, commit
from diptych.engine.context import BuildContext, BuildOptions, Done, Force, Progress, graph_of, new_build_id
from diptych.engine.crew import working
from diptych.engine.drive import Finished, Step, drive
from diptych.engine.groups import run_step
from diptych.engine.intake import check_shrink, planned_snapshot, take_snapshot
from diptych.engine.space import check_space
from diptych.exceptions import Conflict, NotFound
from diptych.recipe import parse_recipe
from diptych.storage.alive import SignOfLife
from diptych.storage.retire import retire_unnamed
from diptych.storage.store import Store, open_store

__all__ = [
    "ATTEMPTS",
    "BuildReport",
    "Watcher",
    "build",
    "check_parent",
    "retire_uncommitted",
    "make_context",
    "run_here",
]

ATTEMPTS = 5
"""How often a build plans again after losing the race for the next log number."""


class Watcher(Protocol):
    """Who is told how a build goes on."""

    def started(self, name: str, groups: int) -> None:
        """A stage or fit begins."""

    def rows(self, name: str, count: int) -> None:
        """So many rows more were computed."""

    def finished(self, progress: Progress) -> None:
        """A stage or fit has ended."""


class Silent:
    """A watcher that watches nothing."""

    def started(self, name: str, groups: int) -> None:
        """Ignored."""

    def rows(self, name: str, count: int) -> None:
        """Ignored."""

    def finished(self, progress: Progress) -> None:
        """Ignored."""


@dataclass(frozen=True)
class BuildReport:
    """What a build did."""

    dataset: str
    build: str
    snapshot: str
    committed: Committed
    progress: Mapping[str, Progress]
    incomplete: tuple[str, ...]

    @property
    def computed(self) -> int:
        """Rows computed, over all stages."""
        return sum(p.computed for p in self.progress.values() if p.kind == "stage")


def make_context(
    recipe: str,
    root: str,
    snapshot: str,
    options: BuildOptions,
    *,
    build_id: str | None = None,
    force: Force | None = None,
    refit: tuple[str, ...] = (),
    shards: int | None = None,
    pinned: Mapping[str, str] | None = None,
    head: int | None = None,
) -> BuildContext:
    """A build on a head of the log; a dataset keeps its number of shards unless ``shards`` is given.

    Who means to commit reads ``head`` before the snapshot is cut (default: the present one): what is committed or
    forgotten while it is cut then makes the build lose the race instead of being undone by it.
    """
    parsed = parse_recipe(recipe)
    store = open_store(root, parsed.name)
    head = store.log.head() if head is None else head
    later = store.log.next_version(head)
    versions = {number: manifest for number, manifest in store.log.versions().items() if number < later}
    parent = max(versions) if versions else None
    return BuildContext(
        root=root,
        dataset=parsed.name,
        build=build_id or new_build_id(),
        recipe=recipe,
        snapshot=snapshot,
        shards=shards or (versions[parent].shards if parent else parsed.shards),
        head=head,
        parent=parent,
        options=options,
        force=force or Force(),
        refit=refit,
        pinned=pinned or {},
    )


def run_here(context: BuildContext, watcher: Watcher) -> Callable[[Sequence[Step], Mapping[str, Done]], list[Progress]]:
    """Run the steps of a wave on this machine, one after another."""

    def run(steps: Sequence[Step], done: Mapping[str, Done]) -> list[Progress]:
        found: list[Progress] = []
        for (kind, names), some in groupby(steps, lambda step: (step.kind, step.names)):
            numbers = [step.group for step in some]
            for name in names:
                watcher.started(name, len(numbers))
            found += run_step(kind, context, names, numbers, done, watcher.rows)
        return found

    return run


def build(
    recipe: str,
    root: str,
    options: BuildOptions | None = None,
    *,
    force: Force | None = None,
    refit: tuple[str, ...] = (),
    snapshot: str | None = None,
    planned_on: int | None = None,
    folder: str | Path = ".",
    shards: int | None = None,
    pinned: Mapping[str, str] | None = None,
    watcher: Watcher | None = None,
) -> BuildReport:
    """Build the recipe's dataset from its snapshot (cut now unless given, without what is forgotten) and commit it.

    ``folder`` is where the recipe's relative paths start. ``planned_on`` is the version that a given snapshot and
    recipe were taken from: when another was committed since, the build raises Conflict instead of undoing it.
    ``pinned`` are results of unkeyed fits that another version made (lists of this store, by the fit's name).

    Raises :class:`~diptych.exceptions.NothingCommitted` above the recipe's limits and
    :class:`~diptych.exceptions.Conflict` after losing the race for the log five times.
    """
    options = options or BuildOptions()
    watcher = watcher or Silent()
    parsed = parse_recipe(recipe)
    graph_of(recipe)
    store = open_store(root, parsed.name)
    build_id = new_build_id()
    with SignOfLife(store, build_id, "build"), working(build_id, options.processes):
        retire_uncommitted(store, recipe, force)
        for _ in range(ATTEMPTS):
            head = store.log.head()
            taken = planned_snapshot(store, snapshot) if snapshot else take_snapshot(store, parsed, folder)
            context = make_context(
                recipe, root, taken, options, build_id=build_id, force=force, refit=refit, shards=shards, pinned=pinned,
                head=head,
            )  # fmt: skip
            check_parent(context, planned_on)
            check_shrink(store, context)
            check_space(store, context)
            try:
                finished = drive(context, run_here(context, watcher), watcher.finished)
                return report_of(store, context, finished)
            except Conflict:
                continue
            except NotFound:
                if store.log.head() == context.head:
                    raise  # nobody took it away: it really is missing
    raise Conflict(
        f"dataset {parsed.name}: {ATTEMPTS} other commits came first; the finished rows are kept, run the build again"
    )


def retire_uncommitted(store: Store, recipe: str, force: Force | None) -> None:
    """Before whole stages are computed again: no row that no version names is used, theirs or of what reads them.

    Else, were this build cut off after the first stage, the next one would put such rows beside the new ones that they
    were not made from.
    """
    if force and force.stages:
        retire_unnamed(store, graph_of(recipe).downstream(set(force.stages)), "refresh")


def check_parent(context: BuildContext, planned_on: int | None) -> None:
    """Raise :class:`Conflict` when the version that a rebuild was planned on is no longer the latest."""
    if planned_on is not None and context.parent != planned_on:
        raise Conflict(
            f"dataset {context.dataset}: version {context.parent} was committed while this was planned on version "
            f"{planned_on}; run the command again"
        )


def report_of(store: Store, context: BuildContext, finished: Finished) -> BuildReport:
    """Commit what was finished and say what happened; raises Conflict when another entry took the number."""
    committed = (
        Committed(None, "not every shard has every stage yet: " + ", ".join(finished.incomplete))
        if finished.incomplete
        else commit(store, context, finished)
    )
    return BuildReport(
        context.dataset, context.build, context.snapshot, committed, finished.progress, finished.incomplete
    )
