"""Retiring versions: which ones may leave, and the log entry that says so. Bytes are gc's business."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diptych.exceptions import Conflict, Corrupt, NotFound, UsageError
from diptych.storage.log import RetireEntry
from diptych.storage.references import named_by

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["RetirePlan", "retire", "retire_unnamed", "versions_in_use"]


@dataclass(frozen=True)
class RetirePlan:
    """What ``retire`` did or would do; ``entry`` is None when nothing was written."""

    versions: tuple[int, ...]
    protected: dict[int, str]
    """Versions that were asked for but stay, and why."""
    entry: int | None


def versions_in_use(store: Store) -> dict[int, list[str]]:
    """Version to the training runs that used it: ``version`` in ``runs/<model>/<run id>/run.json``.

    :class:`Corrupt` for a run that does not say which: its version must not go unseen.
    """
    used: dict[int, list[str]] = {}
    for model in store.home.list("runs"):
        for run in store.home.list(f"runs/{model}"):
            path = f"runs/{model}/{run}/run.json"
            try:
                version = json.loads(store.home.read(path)).get("version")
            except NotFound:
                continue
            except (ValueError, AttributeError) as error:
                raise Corrupt(
                    f"{path} in {store.home.url} does not say which version the run used ({error}); "
                    "restore it from a backup, or delete the run's folder"
                ) from error
            if isinstance(version, int):
                used.setdefault(version, []).append(f"{model}/{run}")
    return used


def retire(
    store: Store,
    *,
    keep_last: int | None = None,
    versions: Sequence[int] | None = None,
    force: bool = False,
    dry_run: bool = False,
    reason: str = "",
) -> RetirePlan:
    """Commit a retire entry for these versions, or for all but the last ``keep_last``.

    The latest version always stays. Tagged versions and those that a training run used stay unless ``force``;
    a forced one loses its tags' meaning (they name a version that is no more).
    """
    if (keep_last is None) == (versions is None):
        raise UsageError("retire needs either --keep-last N or the versions to retire")
    if keep_last is not None and keep_last < 1:
        raise UsageError(f"--keep-last must be at least 1, not {keep_last}: the latest version always stays")
    for _ in range(20):
        head = store.log.head()
        existing = store.log.versions()
        asked = list(existing)[:-keep_last] if keep_last is not None else list(dict.fromkeys(versions or ()))
        plan = _plan(store, asked, existing, force)
        if dry_run or not plan.versions:
            return plan
        try:
            entry = store.log.append(RetireEntry(versions=plan.versions, reason=reason), after=head)
            return RetirePlan(plan.versions, plan.protected, entry)
        except Conflict:
            continue
    raise Conflict(f"dataset {store.name}: lost twenty races for the next log entry; try again")


def _plan(store: Store, asked: Sequence[int], existing: Collection[int], force: bool) -> RetirePlan:
    for version in asked:
        if version not in existing:
            store.log.manifest(version)  # raises NotFound naming what exists
    protected: dict[int, str] = {}
    latest = max(existing, default=0)
    used = {} if force else versions_in_use(store)
    tags = store.log.tags()
    for version in asked:
        names = [name for name, number in tags.items() if number == version]
        if version == latest:
            protected[version] = "it is the latest version"
        elif names and not force:
            protected[version] = f"tagged {', '.join(names)} (--force retires it all the same)"
        elif version in used:
            protected[version] = f"used by the run {used[version][0]} (--force retires it all the same)"
    return RetirePlan(tuple(v for v in asked if v not in protected), protected, None)


def retire_unnamed(store: Store, stages: Collection[str], reason: str) -> int | None:
    """Commit an entry for all segments of these stages that no version names; its number, None without any.

    No build takes rows from them any more, and one under way that did loses the race for its commit.
    """
    for _ in range(20):
        head = store.log.head()
        kept = (
            named_by(store, store.log.versions().values(), blobs=False).segments | store.log.retired().segments.keys()
        )
        folders = {path.rpartition("/")[0] for stage in stages for path, _ in store.home.walk(f"parts/{stage}")}
        if not folders - kept:
            return None
        try:
            return store.log.append(RetireEntry(segments=tuple(sorted(folders - kept)), reason=reason), after=head)
        except Conflict:
            continue
    raise Conflict(f"dataset {store.name}: lost 20 races for the next log entry; try again when fewer builds commit")
