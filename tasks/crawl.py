"""Crawling: tried again when it fails, because the network heals."""

from __future__ import annotations

import time

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from diptych.engine.crawling import crawl_recipe
from diptych.engine.intake import take_snapshot
from diptych.exceptions import Conflict
from diptych.recipe import parse_recipe
from diptych.storage.store import open_store
from tasks.policies import CRAWL_RETRY_S, LIMIT_S, environment, may_heal

__all__ = ["crawl_sources", "cut"]

WAIT_S = 5.0
"""Seconds between two looks at whether another crawl of the same dataset has ended."""


@task(
    name="crawl",
    retries=2,
    retry_delay_seconds=CRAWL_RETRY_S,
    retry_condition_fn=may_heal,
    timeout_seconds=LIMIT_S["crawl"],
    cache_policy=NO_CACHE,
    persist_result=False,
)
def crawl_sources(
    recipe: str,
    root: str,
    folder: str,
    retry_failed: bool = False,
    refresh: bool = False,
    allow_shrink: bool = False,
    wait: bool = True,
) -> str:
    """Fetch what the recipe's sources name; the crawl's totals in words.

    Two crawls of one dataset never run at once: with ``wait`` this one begins when the other has ended, else it
    leaves the work to it.
    """
    log = get_run_logger()
    told = False
    while True:
        try:
            report = crawl_recipe(
                recipe,
                root,
                folder,
                refresh=refresh,
                retry_failed=retry_failed,
                allow_shrink=allow_shrink,
                say=log.info,
                environ=environment(),
            )
        except Conflict as running:
            if not wait:
                return f"nothing fetched: {running}"
            if not told:
                log.info("%s; this crawl begins when that one has ended", running)
            told = True
            time.sleep(WAIT_S)
        else:
            return "\n".join(report.lines())


@task(name="snapshot", timeout_seconds=LIMIT_S["snapshot"], cache_policy=NO_CACHE, persist_result=False)
def cut(recipe: str, root: str, folder: str) -> str:
    """Cut the snapshot a build starts from; its digest."""
    parsed = parse_recipe(recipe)
    return take_snapshot(open_store(root, parsed.name), parsed, folder)
