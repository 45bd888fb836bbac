"""Crawl the sources of a recipe into its dataset's fetch log."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from diptych.engine.intake import cut_recipe, sources_of
from diptych.exceptions import NothingCommitted, UsageError
from diptych.recipe import parse_recipe
from diptych.sources.base import Source
from diptych.sources.crawl import Progress, crawl
from diptych.sources.shortfall import Vanishing, check_success
from diptych.sources.tally import CrawlReport, counted, summarise
from diptych.storage.fetch_log import FetchLog, LogIndex, Mark
from diptych.storage.manifest import Manifest
from diptych.storage.snapshot import read_snapshot, replace_records
from diptych.storage.store import Store, open_store

__all__ = ["check_last_crawl", "crawl_recipe", "needs_crawl", "refetch_records"]


_NAMED = 20
"""Addresses that an error lists."""
PLACE = "raw/recipe.json"
"""Where the recipe's relative paths started when it was last crawled (this machine's business, in no version)."""


def needs_crawl(recipe: str, root: str, folder: str | Path) -> bool:
    """Whether a build should ask the sources first: always when all are local, or none ever gave a record.

    Else when one was never read.
    """
    parsed = parse_recipe(recipe)
    sources = sources_of(parsed, folder)
    if all(source.fetch_settings() is None for source in sources):
        return True
    store = open_store(root, parsed.name)
    index = FetchLog(store.home).index()
    try:
        return any(index.done_crawl(source.name) == "" for source in sources) or not _gave(index, sources)
    finally:
        index.close()


def check_last_crawl(recipe: str, root: str, folder: str | Path) -> None:
    """Raise :class:`NothingCommitted` as the last crawl did, if it asked all URLs and too few were fetched well."""
    parsed = parse_recipe(recipe)
    log = FetchLog(open_store(root, parsed.name).home)
    for last in log.crawls()[-1:]:
        start = next((row.text for row in log.rows(last) if isinstance(row, Mark) and row.mark == "start"), "")
        if start in ("conditional", "refresh", "offline"):
            check_success(sources_of(parsed, folder), summarise(log, last))


def crawl_recipe(
    recipe: str,
    root: str,
    folder: str | Path,
    *,
    refresh: bool = False,
    retry_failed: bool = False,
    offline: bool = False,
    allow_shrink: bool = False,
    say: Callable[[str], None] = lambda text: None,
    environ: Mapping[str, str] | None = None,
) -> CrawlReport:
    """Crawl every source of the recipe; ``say`` gets a line now and then while it runs.

    Raises :class:`NothingCommitted` as :func:`diptych.sources.crawl.crawl` does, and when no source gave a record now
    or before, unless ``allow_shrink``; what was fetched stays.
    """
    parsed = parse_recipe(recipe)
    store = open_store(root, parsed.name)
    store.home.put(PLACE, json.dumps({"folder": str(Path(folder).resolve())}).encode(), durable=False)

    sources = sources_of(parsed, folder)
    remote = {source.name for source in sources if source.fetch_settings() is not None}

    def tell(now: Progress) -> None:
        what = counted(now.settled, *(("address", "addresses") if now.source in remote else ("file",)))
        reasons = ", ".join(f"{code} {n}" for code, n in now.reasons)
        say(
            f"crawl {now.source}: {what} done, {counted(now.waiting, 'picture')} waiting, "
            f"{now.success_rate:.1%} fetched{'; ' + reasons if reasons else ''}"
        )

    report = crawl(
        store,
        sources,
        refresh=refresh,
        retry_failed=retry_failed,
        offline=offline,
        progress=tell,
        environ=environ,
        vanishing=None if allow_shrink else Vanishing(parsed.limits.max_shrink, parsed.limits.gone_after),
    )
    if not allow_shrink:
        _check_found(store, sources, report)
    return report


def _check_found(store: Store, sources: Sequence[Source], report: CrawlReport) -> None:
    """Raise :class:`NothingCommitted` with the reasons when no source gave a record in this crawl or an earlier one."""
    if report.documents.get("ok"):
        return
    index = FetchLog(store.home).index()
    try:
        if _gave(index, sources):
            return
    finally:
        index.close()
    raise NothingCommitted(
        "\n".join(
            [
                f"dataset {store.name}: no source of the recipe gave a record, expected at least one:",
                *report.lines(),
                *(f"missed {url}: {code}" for url, code in report.missed[:_NAMED]),
                "nothing was committed; what was asked for is in the fetch log. When recipe or source is mended run "
                "`diptych build RECIPE`; for a dataset that is empty on purpose use --allow-shrink",
            ]
        )
    )


def _gave(index: LogIndex, sources: Sequence[Source]) -> bool:
    """Whether any of the sources ever gave a record with content."""
    return any(state.document for source in sources for state in index.records(source.name))


def refetch_records(
    store: Store, manifest: Manifest, records: Collection[str], environ: Mapping[str, str] | None = None
) -> str:
    """Fetch the pages and images of these records again; the version's snapshot with their new rows, its digest."""
    recipe = parse_recipe(manifest.recipe)
    if not store.home.exists(PLACE):
        raise UsageError(f"dataset {store.name} was never crawled on this machine; run diptych crawl RECIPE")
    sources = sources_of(recipe, json.loads(store.home.read(PLACE))["folder"])
    snapshot = read_snapshot(store, manifest.snapshot)
    rows = [row for record in records if (row := snapshot.record(record)) is not None]
    urls = {u for row in rows for u in (row["url"], *(i["url"] for i in row["images"] or ()))}
    crawl(store, sources, refresh=True, only=urls, environ=environ)
    cut = cut_recipe(store, recipe, sources)
    return replace_records(store, manifest.snapshot, cut.digest, records).digest
