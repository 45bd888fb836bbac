"""An encyclopedia's pages, a record a picture: its section's text, or the whole article's for a picture of the lead.

Found by the crawl of :mod:`diptych.sources.web`. A record's own id is the page's canonical address, ``#`` and the
picture's, so that an edited section stays the same record. A page without pictures makes none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from diptych.records import Document, Found
from diptych.sources.answers import Fetched
from diptych.sources.base import Missed, Read
from diptych.sources.extract import EXTRACTOR
from diptych.sources.fetch import Fetcher
from diptych.sources.html import Html
from diptych.sources.sections import page_sections
from diptych.sources.web import CrawlItem, Web, WebConfig, WebCrawl

__all__ = ["Wiki", "WikiConfig"]


class WikiConfig(WebConfig):
    """Settings of an encyclopedia; those of ``web``."""

    kind: Literal["wiki"] = "wiki"  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]


class Wiki(Web):
    """Illustrated sections of web pages."""

    Config = WikiConfig
    config: WikiConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def extractor(self) -> str:
        """What a stored section was read with."""
        return f"wiki {EXTRACTOR} {self.config.min_text}"

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """Every illustrated section, page by page in the order found."""
        yield from _WikiCrawl(self, fetcher).run()


class _WikiCrawl(WebCrawl):
    """The crawl of pages, each page's record made into those of its pictures."""

    def __init__(self, source: Web, fetcher: Fetcher) -> None:
        super().__init__(source, fetcher)
        self._made: dict[str, list[Read]] = {}
        self._before: defaultdict[str, list[str]] = defaultdict(list)
        """Page to the ids of its records that earlier crawls made and that have not left."""
        for state in fetcher.known_records():
            if state.outcome != "left":
                self._before[_page_of(state.source_id)].append(state.source_id)

    def run(self) -> Iterator[Found | Missed]:
        """Records of sections; what a page no longer has leaves."""
        for item in super().run():
            yield from self._read_well(item) if isinstance(item, Found) else self._missed(item)

    def _read_well(self, page: Found) -> Iterator[Found | Missed]:
        made = self._made.pop(page.source_id, []) if page.pictures else []
        yield from made
        kept = {record.source_id for record in made}
        for name in self._before.get(page.source_id, ()):
            if name not in kept:
                yield Missed(name, page.url, "left", "no_section")

    def _missed(self, page: Missed) -> Iterator[Missed]:
        for name in self._before.get(page.source_id) or [page.source_id]:
            yield replace(page, source_id=name)

    def _read(self, url: str, fetched: Fetched, page: Html) -> Found | Missed | None:
        found = super()._read(url, fetched, page)
        if not isinstance(found, Read):
            return found
        sections = page_sections(page)
        whole = found.document.text
        self._made[url] = [
            Read(
                f"{url}#{picture.url}",
                url,
                Document(
                    title=" - ".join(t for t in (found.document.title, section.title) if t),
                    text=section.text if section.title else whole,
                    language=found.document.language,
                ),
                (picture,),
                page=fetched.key,
                extractor=found.extractor,
            )
            for section in sections
            for picture in section.pictures
            if section.text or not section.title
        ]
        return found

    def _unmet(self) -> Iterator[CrawlItem]:
        """Pages of records that earlier crawls read and this one did not meet."""
        for page in self._before:
            if page not in self._seen and self._in_scope(page):
                self._seen.add(page)
                yield CrawlItem(page, 0, False)

    def _lost(self) -> Iterator[Missed]:
        """Pages whose records are named nowhere any more, or that the recipe now excludes."""
        for page in self._before:
            if page not in self._seen:
                yield Missed(page, page, "left", "out_of_scope")

    def _known(self, url: str) -> bool:
        return url in self._before


def _page_of(source_id: str) -> str:
    return source_id.partition("#")[0]
