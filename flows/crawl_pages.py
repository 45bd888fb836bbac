"""Crawl: ask the sources of a recipe for what is new; every attempt is a row of the dataset's fetch log."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from diptych.engine.context import graph_of
from diptych.engine.intake import sources_of
from diptych.parameters import CrawlParameters
from diptych.recipe import load_recipe
from flows.environment import root_to_write
from flows.notify import notify
from tasks.compute import use_environment
from tasks.crawl import crawl_sources

__all__ = ["crawl_pages"]


@flow(name="crawl-pages", log_prints=False, on_failure=[notify], on_crashed=[notify])
def crawl_pages(parameters: CrawlParameters) -> dict[str, Any]:
    """Fetch what is new; a run that comes while another crawls the same dataset leaves the work to that one."""
    use_environment()
    file = load_recipe(parameters.recipe)
    with file.named():
        graph_of(file.text)
        sources_of(file.recipe, file.folder)
    lines = crawl_sources.with_options(timeout_seconds=3600 * parameters.crawl_hours)(
        file.text,
        root_to_write(parameters.root),
        str(file.folder),
        retry_failed=parameters.retry_failed,
        refresh=parameters.refresh,
        allow_shrink=parameters.allow_shrink,
        wait=False,
    )
    create_markdown_artifact(f"```\n{lines}\n```\n", key="crawl", description=f"{file.recipe.name}: the crawl's totals")
    get_run_logger().info("%s", lines)
    return {"dataset": file.recipe.name, "totals": lines}
