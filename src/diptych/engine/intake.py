"""What a build starts from: the recipe's sources, a crawl when it needs one, the snapshot cut from the fetch log."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from diptych.engine.context import BuildContext
from diptych.exceptions import NothingCommitted
from diptych.recipe import Recipe, parse_recipe
from diptych.sources.base import Source
from diptych.sources.registry import open_source, source_class
from diptych.storage.overrides import FILE, read_overrides
from diptych.storage.snapshot import (
    Snapshot,
    cut_snapshot,
    read_forgotten,
    read_snapshot,
    shrink,
    without_forgotten,
)
from diptych.storage.store import Store

__all__ = ["check_shrink", "cut_recipe", "planned_snapshot", "sources_of", "take_snapshot"]

SHOWN = 20
_LOG = logging.getLogger(__name__)


def sources_of(recipe: Recipe, folder: str | Path) -> list[Source]:
    """The sources of a recipe; relative paths in it start at ``folder``, where the recipe's file is."""
    contact = {"contact": recipe.contact} if recipe.contact else {}
    found = []
    for n, settings in enumerate(recipe.sources):
        kind = settings.get("kind")
        wants = contact if isinstance(kind, str) and "contact" in source_class(kind).Config.model_fields else {}
        found.append(open_source({**wants, **settings}, Path(folder), f"sources[{n}]"))
    return found


def take_snapshot(store: Store, recipe: Recipe, folder: str | Path) -> str:
    """Cut the snapshot of what the fetch log and ``overrides.csv`` hold now; its digest."""
    return cut_recipe(store, recipe, sources_of(recipe, folder)).digest


def planned_snapshot(store: Store, digest: str) -> str:
    """A snapshot that was cut when the work was planned, without what was forgotten since; its digest."""
    forgotten = read_forgotten(store)
    return without_forgotten(store, digest, forgotten).digest if forgotten.hashes else digest


def cut_recipe(store: Store, recipe: Recipe, sources: Sequence[Source]) -> Snapshot:
    """The snapshot of a recipe's sources with what people decided about it; warns of decisions about nothing."""
    overrides = read_overrides(store.home)
    snapshot = cut_snapshot(store, sources, gone_after=recipe.limits.gone_after, overrides=overrides)
    if overrides.unused:
        names = ", ".join(overrides.unused[:SHOWN])
        _LOG.warning("%s/%s: %d keys met no record or picture: %s", store.name, FILE, len(overrides.unused), names)
    return snapshot


def check_shrink(store: Store, context: BuildContext) -> None:
    """Raise :class:`NothingCommitted` when the build would drop more of the parent's records than the recipe allows.

    A first build must have a record.
    """
    if context.options.allow_shrink:
        return
    if context.parent is None:
        _check_found(store, context)
        return
    limit = parse_recipe(context.recipe).limits.max_shrink
    old = store.log.manifest(context.parent).snapshot
    if old == context.snapshot:
        return
    before = read_snapshot(store, old)
    found = shrink(before, read_snapshot(store, context.snapshot))
    if found.share > limit:
        rest = len(found.dropped) - SHOWN
        names = ", ".join(before.known(r)["url"] or r for r in found.dropped[:SHOWN]) + (
            f" and {rest} more" if rest > 0 else ""
        )
        raise NothingCommitted(
            f"dataset {context.dataset}: {len(found.dropped)} records of version {context.parent} ({found.share:.1%}, "
            f"limits.max_shrink is {limit:.1%}) would leave: {names}. Nothing was committed; when this is right, "
            "run the build with --allow-shrink"
        )


def _check_found(store: Store, context: BuildContext) -> None:
    found = read_snapshot(store, context.snapshot)
    if found.records:
        return
    outcomes = Counter(row["outcome"] for row in found.iter_rows(["outcome"]))
    lost = ", ".join(f"{code} {n}" for code, n in outcomes.most_common(SHOWN)) or "its sources named none"
    raise NothingCommitted(
        f"dataset {context.dataset}: a first version needs at least one record, found was none ({lost}). Nothing was "
        "committed; `diptych crawl RECIPE` says why. For a dataset that is empty on purpose run the build with "
        "--allow-shrink"
    )
