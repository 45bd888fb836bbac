"""Crawl the sources of a recipe into its dataset's fetch log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from diptych.engine.intake import sources_of
from diptych.recipe import parse_recipe
from diptych.sources.crawl import Progress, crawl
from diptych.sources.tally import CrawlReport
from diptych.storage.fetch_log import FetchLog
from diptych.storage.store import open_store

__all__ = ["crawl_recipe", "needs_crawl"]


def needs_crawl(recipe: str, root: str, folder: str | Path) -> bool:
    """Whether a build should ask the sources first: always when all are local, else when one was never read."""
    parsed = parse_recipe(recipe)
    sources = sources_of(parsed, folder)
    if all(source.fetch_settings() is None for source in sources):
        return True
    store = open_store(root, parsed.name)
    index = FetchLog(store.home).index()
    try:
        return any(index.done_crawl(source.name) == "" for source in sources)
    finally:
        index.close()


def crawl_recipe(
    recipe: str,
    root: str,
    folder: str | Path,
    *,
    refresh: bool = False,
    retry_failed: bool = False,
    offline: bool = False,
    say: Callable[[str], None] = lambda text: None,
    environ: Mapping[str, str] | None = None,
) -> CrawlReport:
    """Crawl every source of the recipe; ``say`` gets a line now and then while it runs."""
    parsed = parse_recipe(recipe)
    store = open_store(root, parsed.name)

    def tell(now: Progress) -> None:
        reasons = ", ".join(f"{code} {n}" for code, n in now.reasons)
        say(
            f"crawl {now.source}: {now.settled} addresses settled, {now.waiting} pictures waiting, "
            f"{now.success_rate:.1%} fetched{'; ' + reasons if reasons else ''}"
        )

    return crawl(
        store,
        sources_of(parsed, folder),
        refresh=refresh,
        retry_failed=retry_failed,
        offline=offline,
        progress=tell,
        environ=environ,
    )
