"""Crawling: tried again when it fails, because the network heals."""

from __future__ import annotations

import os

from prefect import task
from prefect.cache_policies import NO_CACHE

from diptych.engine.crawling import crawl_recipe
from diptych.engine.intake import take_snapshot
from diptych.recipe import parse_recipe
from diptych.storage.store import open_store

__all__ = ["crawl_sources", "cut"]


@task(name="crawl", retries=2, retry_delay_seconds=5, cache_policy=NO_CACHE)
def crawl_sources(
    recipe: str,
    root: str,
    folder: str,
    retry_failed: bool = False,
    refresh: bool = False,
    allow_shrink: bool = False,
) -> str:
    """Fetch what the recipe's sources name; the crawl's totals in words."""
    report = crawl_recipe(
        recipe,
        root,
        folder,
        refresh=refresh,
        retry_failed=retry_failed,
        allow_shrink=allow_shrink,
        environ=os.environ,
    )
    return "\n".join(report.lines())


@task(name="snapshot", cache_policy=NO_CACHE)
def cut(recipe: str, root: str, folder: str) -> str:
    """Cut the snapshot a build starts from; its digest."""
    parsed = parse_recipe(recipe)
    return take_snapshot(open_store(root, parsed.name), parsed, folder)
