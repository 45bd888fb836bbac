"""Web pages: from start pages, sitemaps and feeds, along links, within one site.

Pages are asked for in parallel but taken in the order in which they were found, so that which of two addresses
of one page becomes the record does not depend on who answered first. A record's own id is the canonical form
of the address that was asked for. Records of earlier crawls are asked for again also when nothing links to them
any more: a feed forgets, a dataset does not.

A page that moves for good (301, 308) keeps its id; one whose address for now leads to another page is missed as
``gone`` (``redirected``): a night of maintenance changes nothing, and after ``gone_after`` crawls the record leaves.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from diptych.exceptions import DiptychError, StoreError
from diptych.naming import record_id
from diptych.records import Document, Found, Picture
from diptych.sources.answers import Fetched
from diptych.sources.base import Missed, Read, Source
from diptych.sources.extract import EXTRACTOR, extract
from diptych.sources.feeds import Listed, read_feed
from diptych.sources.fetch import Fetcher
from diptych.sources.html import Html
from diptych.sources.robots import forbidden
from diptych.sources.settings import FetchSettings, RemoteConfig
from diptych.sources.sniff import is_feed
from diptych.sources.urls import BadUrl, canonical_url, host_of, join_url, site_of

__all__ = ["CrawlItem", "Web", "WebConfig", "WebCrawl"]

_WINDOW = 128
_SITEMAPS = 2000


class WebConfig(RemoteConfig):
    """Settings of a web source; patterns are regular expressions searched for in the whole address."""

    kind: Literal["web"] = "web"  # pyright: ignore[reportIncompatibleVariableOverride]
    start: tuple[str, ...] = Field(default=(), description="Pages to begin with")
    sitemaps: tuple[str, ...] = Field(default=(), description="Sitemaps or sitemap indexes")
    feeds: tuple[str, ...] = Field(default=(), description="RSS or Atom feeds")
    discover: bool = Field(default=False, description="Also the sitemaps that robots.txt of the start pages names")
    depth: int = Field(default=1, ge=0, le=50, description="Links followed from a start page; 0 takes start pages only")
    pagination: bool = Field(default=True, description="Follow rel=next from start pages without using up depth")
    same: Literal["host", "site", "any"] = Field(
        default="site", description="Where pages may be; images may be anywhere"
    )
    include: tuple[str, ...] = Field(default=(), description="Only addresses that one of these matches are followed")
    exclude: tuple[str, ...] = Field(default=(), description="Addresses that one of these matches are left out")
    records: tuple[str, ...] = Field(
        default=(), description="Only these pages become records; else all but start pages"
    )
    max_pages: int = Field(default=100_000, ge=1, description="Pages asked for in one crawl")
    min_text: int = Field(default=140, ge=0, description="Letters below which a page has no text")

    @field_validator("include", "exclude", "records")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("start", "sitemaps", "feeds")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(canonical_url(url) for url in urls)
        except BadUrl as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _somewhere(self) -> WebConfig:
        if not (self.start or self.sitemaps or self.feeds):
            raise ValueError("a web source needs at least one of start, sitemaps, feeds")
        return self


@dataclass
class CrawlItem:
    """A page to take: how many links may still be followed from it, and whether it only lists others."""

    url: str
    depth: int
    listing: bool


class Web(Source):
    """Pages of web sites."""

    Config = WebConfig
    complete = False
    config: WebConfig

    def fetch_settings(self) -> FetchSettings:
        """The politeness settings."""
        return self.config.fetch_settings()

    def own_urls(self) -> tuple[str, ...]:
        """Start pages, sitemaps and feeds."""
        return (*self.config.start, *self.config.sitemaps, *self.config.feeds)

    @property
    def extractor(self) -> str:
        """What a stored document was read with; another one reads stored pages again."""
        return f"web {EXTRACTOR} {self.config.min_text}"

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """Every page that becomes a record, in the order found."""
        yield from WebCrawl(self, fetcher).run()


class WebCrawl:
    """One crawl of one web source."""

    def __init__(self, source: Web, fetcher: Fetcher) -> None:
        self.source, self.config, self.fetcher = source, source.config, fetcher
        self.settings = source.fetch_settings()
        key = host_of if self.config.same == "host" else site_of
        self._key = key
        self._sites = {key(url) for url in source.own_urls()}
        self._include, self._exclude, self._records = (
            re.compile("|".join(f"(?:{p})" for p in patterns)) if patterns else None
            for patterns in (self.config.include, self.config.exclude, self.config.records)
        )
        self._seen: set[str] = set()
        self._frontier: deque[CrawlItem] = deque()
        self._asked = 0
        self._found_all = True
        """Whether every list was read: only then does an address that is missing there mean something."""

    def run(self) -> Iterator[Found | Missed]:
        """Lists, start pages and links; then the records of earlier crawls that were not met."""
        self._seed()
        yield from self._take(())
        yield from self._take(self._unmet())
        if self._found_all and self._asked < self.config.max_pages:
            yield from self._lost()

    # --- what to ask for ---------------------------------------------------------------------------------

    def _seed(self) -> None:
        sitemaps = list(self.config.sitemaps)
        if self.config.discover:
            for url in self.config.start:
                sitemaps += [found for name in self.fetcher.sitemaps(url) if (found := _address(url, name))]
        self._read_lists(sitemaps)
        self._read_lists(self.config.feeds)
        for url in self.config.start:
            self._add(url, self.config.depth, listing=self.config.depth > 0, asked_for=True)

    def _read_lists(self, urls: Iterable[str]) -> None:
        """Add the pages of sitemaps and feeds, in order, with the sitemaps that they name."""
        waiting, read = deque(dict.fromkeys(urls)), set[str]()
        while waiting and len(read) < _SITEMAPS:
            url = waiting.popleft()
            if url in read:
                continue
            read.add(url)
            fetched = self.fetcher.fetch(url, "sitemap")
            listed = _listed(fetched.data) if fetched.ok and fetched.data is not None else None
            if listed is None or not listed.readable:
                self._found_all = False
                continue
            waiting.extend(found for name in listed.sitemaps if (found := _address(url, name)))
            for name in listed.pages:
                if found := _address(url, name):
                    self._add(found, 0, listing=False)

    def _add(self, url: str, depth: int, *, listing: bool, asked_for: bool = False) -> None:
        if url in self._seen or not (asked_for or self._in_scope(url)):
            return
        if self._asked + len(self._frontier) >= self.config.max_pages:
            return  # it will not be asked for, and a page may have a million links
        self._seen.add(url)
        self._frontier.append(CrawlItem(url, depth, listing))

    def _in_scope(self, url: str) -> bool:
        if self.config.same != "any" and self._key(url) not in self._sites:
            return False
        if self._exclude is not None and self._exclude.search(url):
            return False
        return self._include is None or bool(self._include.search(url))

    def _unmet(self) -> Iterator[CrawlItem]:
        """Pages of records that earlier crawls read and this one did not meet."""
        for state in self.fetcher.known_records():
            if state.document and state.outcome != "left" and state.source_id not in self._seen:
                if self._in_scope(state.source_id):
                    self._seen.add(state.source_id)
                    yield CrawlItem(state.source_id, 0, False)

    def _lost(self) -> Iterator[Missed]:
        """Records that never had content and are named nowhere any more, or that the recipe now excludes."""
        for state in self.fetcher.known_records():
            if state.source_id not in self._seen and state.outcome != "left":
                yield Missed(state.source_id, state.url, "left", "out_of_scope" if state.document else "not_linked")

    # --- what came ---------------------------------------------------------------------------------------

    def _take(self, more: Iterable[CrawlItem]) -> Iterator[Found | Missed]:
        """Ask for the frontier (and then ``more``), a window at a time; answers are taken in that order."""
        rest = iter(more)
        waiting: deque[tuple[CrawlItem, Future[Fetched]]] = deque()
        while True:
            while len(waiting) < _WINDOW and self._asked < self.config.max_pages:
                item = self._frontier.popleft() if self._frontier else next(rest, None)
                if item is None:
                    break
                self._asked += 1
                steady = not item.listing and self._has_content(item.url)
                waiting.append((item, self.fetcher.submit(item.url, "page", steady=steady)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield from self._page(item, self.fetcher.result(future))

    def _page(self, item: CrawlItem, fetched: Fetched) -> Sequence[Found | Missed]:
        """What a page comes to; one that our code stumbles over is missed for that, and the crawl goes on."""
        try:
            return tuple(self._judge(item, fetched))
        except (StoreError, OSError, MemoryError):
            raise
        except Exception as error:
            self._found_all = self._found_all and not item.listing
            code = f"error_{type(error).__name__}"
            return (Missed(item.url, item.url, "failed_permanent", code),) if self._is_record(item) else ()

    def _is_record(self, item: CrawlItem) -> bool:
        return not item.listing if self._records is None else bool(self._records.search(item.url))

    def _judge(self, item: CrawlItem, fetched: Fetched) -> Iterator[Found | Missed]:
        record = self._is_record(item)
        if not fetched.ok or fetched.data is None:
            self._found_all = self._found_all and not item.listing
            if record:
                outcome, code = ("failed_permanent", "not_a_page") if fetched.ok else (fetched.outcome, fetched.code)
                yield Missed(item.url, item.url, outcome, code)
            return
        if fetched.final_url != item.url:
            recorded = self._has_content(fetched.final_url)
            if recorded and not item.listing:
                self._add(fetched.final_url, item.depth, listing=False)  # an older record is read as itself
            if fetched.final_url in self._seen:  # another address of a page that is, or will be, taken
                if self._known(item.url):
                    yield self._alias(item.url, fetched.final_url)
                return
            if not recorded:
                self._seen.add(fetched.final_url)
            if not self._in_scope(fetched.final_url):
                if record:
                    yield Missed(item.url, item.url, "failed_permanent", "off_site")
                return
        if is_feed(fetched.data) and not self._known(item.url):
            return  # a link to a feed or sitemap that nobody named as one
        page = Html.parse(fetched.data, fetched.content_type, fetched.final_url)
        found = page.directives(fetched.robots, self.settings.agent)
        self._follow(item, page, "nofollow" in found or "none" in found)
        if not record:
            return
        if code := forbidden(found, self.settings.respect, image=False):
            yield Missed(item.url, item.url, "refused", code)
            return
        read = self._read(item.url, fetched, page)
        if isinstance(read, Found) and forbidden(found, self.settings.respect, image=True):
            read = Read(item.url, item.url, read.document, (), page=fetched.key, extractor=self.source.extractor)
        if read is not None:
            yield read

    def _follow(self, item: CrawlItem, page: Html, nofollow: bool) -> None:
        if nofollow or not (item.depth > 0 or item.listing):
            return
        for url, following in page.links():
            if following and item.listing and self.config.pagination:
                self._add(url, item.depth, listing=True)
            elif item.depth > 0:
                self._add(url, item.depth - 1, listing=False)

    def _read(self, url: str, fetched: Fetched, page: Html) -> Found | Missed | None:
        """The record of a page: as stored when neither the page nor the extractor changed."""
        extractor = self.source.extractor
        state = self.fetcher.index.record(record_id(self.source.name, url))
        if state is not None and state.outcome == "ok" and (state.page, state.extractor) == (fetched.key, extractor):
            try:
                document = Document.from_bytes(self.fetcher.store.blobs.get(state.document))
                pictures = tuple(Picture(*image) for image in json.loads(state.images or "[]"))
                return Read(url, url, document, pictures, page=fetched.key, extractor=extractor)
            except DiptychError:
                pass  # a blob is gone or torn: read the page again
        extracted = extract(page, self.config.min_text)
        if extracted.reason == "listing" and not self._known(url):
            return None
        if extracted.reason:
            return Missed(url, url, "failed_permanent", extracted.reason)
        return Read(url, url, extracted.document, extracted.pictures, page=fetched.key, extractor=extractor)

    def _alias(self, url: str, final: str) -> Missed:
        """A record whose address leads to a page that is taken: it leaves when that is a record, else in time."""
        state = self.fetcher.index.record(record_id(self.source.name, final))
        if self._has_content(url) and (state is None or not state.document or state.outcome != "ok"):
            return Missed(url, url, "gone", "redirected")
        return Missed(url, url, "left", "alias")

    def _has_content(self, url: str) -> bool:
        state = self.fetcher.index.record(record_id(self.source.name, url))
        return state is not None and state.outcome != "left" and bool(state.document)

    def _known(self, url: str) -> bool:
        state = self.fetcher.index.record(record_id(self.source.name, url))
        return state is not None and state.outcome != "left"


def _listed(data: bytes) -> Listed:
    """What a feed lists; one that our code stumbles over counts as one that cannot be read."""
    try:
        return read_feed(data)
    except MemoryError:
        raise
    except Exception:  # whoever wrote the feed must not end the crawl, whatever the parser raises
        return Listed(readable=False)


def _address(base: str, reference: str) -> str | None:
    try:
        return join_url(base, reference)
    except BadUrl:
        return None
