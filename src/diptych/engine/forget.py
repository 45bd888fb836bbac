"""Forgetting: remember the hashes, commit a version without it, and on request purge its bytes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from diptych.engine.build import ATTEMPTS, Watcher, build
from diptych.engine.context import BuildOptions, graph_of
from diptych.engine.purge import PurgeReport, purge
from diptych.engine.rebuild import check_code
from diptych.exceptions import Conflict, UsageError
from diptych.storage.forgetting import Asked, find, versions_with
from diptych.storage.log import RetireEntry
from diptych.storage.snapshot import Forgotten, read_forgotten
from diptych.storage.store import Store, open_store
from diptych.storage.takedown import Holder, Takedown, due, remember, save

__all__ = ["ForgetReport", "forget"]

_TRIES = 20


@dataclass(frozen=True)
class ForgetReport:
    """What was forgotten, the version without it, and everything that contains it."""

    dataset: str
    takedowns: tuple[Takedown, ...]
    dry_run: bool
    version: int | None
    """The version without it; None when the latest one did not contain it."""
    purged: PurgeReport | None

    @property
    def counts(self) -> dict[str, int]:
        """Records, images and addresses that were forgotten."""
        names = ("records", "images", "addresses")
        return {name: sum(t.counts.get(name, 0) for t in self.takedowns) for name in names}

    @property
    def holders(self) -> tuple[Holder, ...]:
        """What contains it: after a purge what is left, else everything there is."""
        if self.purged is not None:
            return self.purged.left
        return tuple(dict.fromkeys(h for t in self.takedowns for h in t.holders))


def forget(
    root: str,
    dataset: str,
    asked: Asked,
    *,
    reason: str = "",
    purge_bytes: bool = False,
    keep_shared: bool = False,
    force: bool = False,
    dry_run: bool = False,
    options: BuildOptions | None = None,
    watcher: Watcher | None = None,
) -> ForgetReport:
    """Forget what was asked for, or (nothing asked) go on with what earlier calls left.

    Once the hashes are written no crawl fetches it and no build keeps it, whatever fails later; the call may be
    repeated until it succeeds. :class:`UsageError` when nothing was asked for and nothing is due.
    """
    store = open_store(root, dataset, must_exist=True)
    new = find(store, asked, reason=reason, purge=purge_bytes, keep_shared=keep_shared) if asked else None
    if new is None and not due(store):
        raise UsageError(_nothing_due(store))
    if dry_run:
        return ForgetReport(dataset, (new,) if new else tuple(due(store)), True, None, None)
    if new is not None:
        save(store, new)
    remember(store)
    _announce(store)
    open_ones = due(store)
    version = _commit_without(store, root, options, watcher)
    purged = purge(store, force=force) if purge_bytes else None
    return ForgetReport(dataset, tuple(open_ones), False, version, purged)


def _nothing_due(store: Store) -> str:
    """What to do when nothing was named; takedowns were once called finished although a tagged version had it."""
    kept = versions_with(store, read_forgotten(store))
    if kept:
        numbers = " ".join(map(str, kept))
        return (
            f"no takedown is unfinished, but versions of {store.name} with what was forgotten were kept: {numbers}; "
            f"diptych retire {store.name} {numbers} --force, then diptych gc {store.name} --grace 0 delete it"
        )
    return f"name what dataset {store.name} shall forget: --url, --record, --image or --file; no takedown is unfinished"


def _announce(store: Store) -> None:
    """A log entry of its own: builds whose snapshot is older than the hashes lose the race and cut another one."""
    for _ in range(_TRIES):
        with suppress(Conflict):
            store.log.append(RetireEntry(reason="forgotten"), after=store.log.head())
            return
    raise Conflict(f"dataset {store.name}: lost {_TRIES} races for the next log entry; run diptych forget again")


def _commit_without(store: Store, root: str, options: BuildOptions | None, watcher: Watcher | None) -> int | None:
    """Commit the latest version without anything forgotten; None when it has nothing of it."""
    forgotten: Forgotten = read_forgotten(store)
    for _ in range(ATTEMPTS):
        versions = store.log.versions()
        if not versions or max(versions) not in versions_with(store, forgotten):
            return None
        manifest = versions[max(versions)]
        try:
            check_code(graph_of(manifest.recipe), manifest)
        except UsageError as error:
            raise UsageError(
                f"{error}. What was asked for is remembered: the build leaves it out; "
                f"then run diptych forget {store.name} --purge, if its bytes have to go"
            ) from error
        given = options or BuildOptions()
        accept = manifest.accepted_failures is not None
        try:
            report = build(
                manifest.recipe,
                root,
                BuildOptions(
                    workers=given.workers, device=given.device, retry="none",
                    accept_failures=accept, allow_shrink=True,
                ),
                snapshot=manifest.snapshot,
                planned_on=manifest.version,
                watcher=watcher,
            )  # fmt: skip
        except Conflict:
            continue
        return report.committed.version
    raise Conflict(f"dataset {store.name}: {ATTEMPTS} other commits came first; run diptych forget {store.name} again")
