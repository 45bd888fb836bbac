"""Crawl the sources of a recipe into its dataset's fetch log."""

from __future__ import annotations

from collections.abc import Callable

from diptych.recipe import parse_recipe
from diptych.sources import load_sources
from diptych.sources.crawl import CrawlReport, crawl
from diptych.storage.store import open_store

__all__ = ["crawl_recipe", "needs_crawl"]
