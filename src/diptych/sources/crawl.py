"""One crawl of all sources of a recipe into one store's fetch log.

A source's records are taken as they come; their pictures are fetched by the pool meanwhile, with a bound on
how many wait. Every record becomes a document row, with its document as a blob. A killed crawl is continued by
the next call: what it settled is answered from the log.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from diptych.exceptions import NothingCommitted, RecipeError
from diptych.naming import record_id
from diptych.records import Found, clean_surrogates
from diptych.sources.answers import Fetched, FetchMode
from diptych.sources.base import Missed, Read, Source
from diptych.sources.fetch import Fetcher
from diptych.sources.hand import Orders
from diptych.sources.hands import Hands, usual_count
from diptych.sources.limits import Lanes
from diptych.sources.local import LocalFiles
from diptych.sources.settings import read_secrets
from diptych.sources.shortfall import Vanishing, check_success, vanished
from diptych.sources.tally import CrawlReport, Tally
from diptych.sources.transport import Transport
from diptych.sources.urls import origin_of
from diptych.storage.alive import SignOfLife
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, Journal, Mark
from diptych.storage.snapshot import Forgotten, read_forgotten
from diptych.storage.store import Store

__all__ = ["Progress", "crawl"]

_PICTURES_WAITING = 512
_THREADS = 32
_EVERY = 1.0
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class _Pool:
    """What does the requests: threads, and worker processes when one is too slow."""

    threads: int
    hands: int


@dataclass(frozen=True)
class Progress:
    """A moment of a running crawl, given to ``progress`` at most once a second."""

    source: str
    settled: int
    waiting: int
    """Pictures that were named and are not settled yet."""
    success_rate: float
    reasons: tuple[tuple[str, int], ...]
    bytes: int
    seconds: float


def crawl(
    store: Store,
    sources: Sequence[Source],
    *,
    refresh: bool = False,
    retry_failed: bool = False,
    offline: bool = False,
    only: Collection[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    environ: Mapping[str, str] | None = None,
    threads: int = _THREADS,
    hands: int | None = None,
    vanishing: Vanishing | None = None,
) -> CrawlReport:
    """Crawl all sources; what the log has is asked for with conditional requests.

    ``refresh`` asks for everything unconditionally; ``retry_failed`` asks only for what failed; ``offline`` sends
    no request and reads the stored pages again (after a change of the extractor). With ``only``, just these URLs are
    asked for; what the log knows of all others stands. ``environ`` holds the variables
    that ``fetch.*_from`` keys name. At most ``threads`` requests are under way, in ``hands`` worker processes once one
    process is too slow (default: one a core, at most four; fewer than two: none). Raises :class:`NothingCommitted` when
    a source's share of well-fetched URLs is below its ``min_success`` (unless only failed ones are asked for), or more
    of its records answer 404 or 410 than ``vanishing`` allows (what was fetched stays in the log), :class:`Conflict`
    while another crawl runs.
    """
    if sum((refresh, retry_failed, offline)) > 1:
        raise RecipeError("crawl: refresh, retry_failed and offline exclude each other; give one")
    mode: FetchMode = (
        "refresh" if refresh else "retry_failed" if retry_failed else "offline" if offline else "conditional"
    )
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise RecipeError(f"sources: every name must be different, found {sorted(names)}; names are part of record ids")
    for source in sources:
        source.check()
    transports = {source.name: _transport(source, environ or {}) for source in sources}
    with SignOfLife(store, f"crawl-{secrets.token_hex(6)}", "crawl"):
        pool = _Pool(threads, usual_count() if hands is None else hands)
        report, gone = _run(store, sources, transports, mode, progress, pool, only, vanishing)
    if mode != "retry_failed":  # what failed once is not the share of a source that min_success is about
        check_success(sources, report)
    if gone:
        raise NothingCommitted("\n".join(gone))
    return report


def _run(
    store: Store,
    sources: Sequence[Source],
    transports: Mapping[str, Transport | None],
    mode: FetchMode,
    progress: Callable[[Progress], None] | None,
    pool: _Pool,
    only: Collection[str] | None,
    vanishing: Vanishing | None,
) -> tuple[CrawlReport, list[str]]:
    """The crawl itself: to its end mark, or left to be continued; with what vanishes."""
    journal = FetchLog(store.home).begin(mode if only is None else "only")
    running: _Crawl | None = None
    try:
        running = _Crawl(store, journal, mode, read_forgotten(store), progress, pool, only)
        for source in sources:
            running.source(source, transports[source.name])
        store.blobs.sync()
        report = running.report()
        watched = sources if vanishing is not None and mode != "offline" and only is None else ()
        gone = [line for source in watched for line in vanished(journal.index, source.name, vanishing or Vanishing())]
        running.close()
        journal.finish(json.dumps({"success": report.success}))
    except BaseException:
        try:
            if running is not None:
                running.close(patience=2.0)
        finally:
            journal.leave()  # another try in this process needs the lock
        raise
    finally:
        for transport in transports.values():
            if transport is not None:
                transport.close()
    return report, gone


def _transport(source: Source, environ: Mapping[str, str]) -> Transport | None:
    settings = source.fetch_settings()
    if settings is None:
        return None
    own = frozenset(origin_of(url) for url in source.own_urls())
    return Transport(settings, read_secrets(settings, environ, source.name), own)


class _Crawl:
    """The state of one crawl: pool, tally, pictures on their way."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        mode: FetchMode,
        forgotten: Forgotten,
        progress: Callable[[Progress], None] | None,
        pool: _Pool,
        only: Collection[str] | None,
    ) -> None:
        self.only, self.pool = only, pool
        self.store, self.journal, self.forgotten = store, journal, forgotten
        self.mode: FetchMode = mode
        self.tally = Tally()
        self.started = time.monotonic()
        self.continued = False
        self._guard = threading.Lock()
        self._places = threading.Semaphore(_PICTURES_WAITING)
        self._waiting = 0
        self._progress = progress
        self._told = self.started
        for row in FetchLog(store.home).rows(journal.crawl):
            self.continued = self.continued or not isinstance(row, Mark)
            self.tally.add(row)
        self.lanes = Lanes(pool.threads)  # last: it starts threads

    def source(self, source: Source, transport: Transport | None) -> None:
        """Crawl one source to its end."""
        hands = self._hands(transport) if transport is not None else None
        try:
            self._records(source, transport, hands)
        finally:
            if hands is not None:
                hands.close()

    def _hands(self, transport: Transport) -> Hands:
        threads = -(-self.pool.threads // max(1, self.pool.hands))
        orders = Orders(
            self.store.home.url,
            transport.settings,
            transport.secrets,
            transport.own_origins,
            self.forgotten.hashes,
            threads,
        )
        return Hands(orders, self.pool.hands, self.lanes.fail)

    def _records(self, source: Source, transport: Transport | None, hands: Hands | None) -> None:
        folder = source.files()
        fetcher = Fetcher(
            self.store,
            self.journal,
            self.lanes,
            source.name,
            transport=transport,
            files=LocalFiles(folder) if folder is not None else None,
            mode=self.mode,
            forgotten=self.forgotten,
            on_row=self._count,
            only=self.only,
            hands=hands,
        )
        for found in source.crawl(fetcher):
            record = record_id(source.name, found.source_id)
            if record in self.forgotten or self.forgotten.address(source.name, found.url):
                continue
            if isinstance(found, Missed):
                self._document(source, record, found, "", "", None)
            else:
                self._found(source, record, fetcher, found)
            self._tell(source.name)
        while self._waiting:
            self._raise_error()
            time.sleep(0.005)
            self._tell(source.name)
        self._raise_error()
        malformed: list[str] = getattr(source, "malformed", [])
        self.tally.malformed += [f"source {source.name!r}: {line}" for line in malformed]
        self.journal.write(Mark(self.journal.crawl, "source", source.name, time.time()))

    def _found(self, source: Source, record: str, fetcher: Fetcher, found: Found) -> None:
        content = self.store.blobs.put(found.document.to_bytes())
        pictures = [p for p in found.pictures if not self.forgotten.address(source.name, p.url)]
        images = _ENCODE([[p.url, p.caption, p.alt, p.extra] for p in pictures]) if pictures else ""
        self._document(source, record, found, content, images, found)
        for picture in pictures:
            while not self._places.acquire(timeout=0.5):
                self._raise_error()
                self._tell(source.name)
            with self._guard:
                self._waiting += 1
            fetcher.submit(picture.url, "image").add_done_callback(self._picture_done)

    def _picture_done(self, future: Future[Fetched]) -> None:
        with self._guard:
            self._waiting -= 1
        self._places.release()

    def _document(
        self, source: Source, record: str, found: Found | Missed, content: str, images: str, read: Found | None
    ) -> None:
        """Write a document row, unless this crawl wrote the same one before it was killed."""
        before = self.journal.index.record(record)
        missed = found if isinstance(found, Missed) else None
        if missed and not (source.complete or missed.outcome == "left" or self._asked(missed.url)):
            return  # an old failure, read from the log: it counts once
        row = DocumentRow(
            crawl=self.journal.crawl,
            source=source.name,
            subset=source.subset,
            record=record,
            source_id=clean_surrogates(found.source_id),
            url=clean_surrogates(found.url),
            outcome=missed.outcome if missed else "ok",
            code=missed.code if missed else "",
            document=content,
            images=images,
            split=read.split if read else "",
            extractor=read.extractor if isinstance(read, Read) else "",
            page=read.page if isinstance(read, Read) else "",
        )
        if before is not None and before.crawl == row.crawl and before.outcome == row.outcome:
            if missed or (before.document, before.images, before.split) == (row.document, row.images, row.split):
                return
        self.journal.write(row)
        with self._guard:
            self.tally.add(row)
            if not missed:
                if before is None or not before.document:
                    self.tally.documents["new"] += 1
                elif (before.document, before.images) != (row.document, row.images):
                    self.tally.documents["changed"] += 1

    def _asked(self, url: str) -> bool:
        """Whether this crawl may ask for the URL, so that its failure is news."""
        return self.mode != "offline" and (self.only is None or url in self.only)

    def _count(self, row: Attempt) -> None:
        with self._guard:
            self.tally.add(row)

    def _raise_error(self) -> None:
        if self.lanes.error is not None:
            raise self.lanes.error

    def _tell(self, source: str) -> None:
        now = time.monotonic()
        if self._progress is None or now - self._told < _EVERY:
            return
        self._told = now
        with self._guard:
            report = self.tally.report(self.journal.crawl, self.continued, now - self.started)
            settled, waiting = self.tally.settled, self._waiting
        self._progress(
            Progress(source, settled, waiting, report.success_rate, report.reasons[:5], report.bytes, report.seconds)
        )

    def report(self) -> CrawlReport:
        """The totals."""
        with self._guard:
            return self.tally.report(self.journal.crawl, self.continued, time.monotonic() - self.started)

    def close(self, patience: float | None = None) -> None:
        """Stop the pool; requests that are still on their way after ``patience`` seconds are left to end alone."""
        self.lanes.close(patience)
