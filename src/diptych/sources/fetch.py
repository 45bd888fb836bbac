"""The fetcher: the only door through which a source reaches the network or the disk.

``submit`` gives a future for one URL. On its way stand, in this order: what must never come back, what this
crawl settled already, what may be taken from the log, the host's lane, robots.txt (again at each redirect),
the request, the checks of its answer, the blob, and last the row in the log. A row is written after its blob
is visible, so that what the log says was fetched is there.

The file is long because a task has one path, and its steps are easier to check in one place than in five.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from functools import partial

from diptych.exceptions import DiptychError, SourceError
from diptych.naming import digest_bytes
from diptych.sources.answers import Fetched, FetchMode, Kind, retry_after, unfit
from diptych.sources.asking import NOT_WHOLE, Reply, Request, ask
from diptych.sources.hands import Hands
from diptych.sources.limits import Lane, Lanes
from diptych.sources.local import LocalFiles
from diptych.sources.robots import RobotsRules, directives, forbidden, robots_url
from diptych.sources.settings import FetchSettings
from diptych.sources.sniff import looks_like_image
from diptych.sources.transport import Transport
from diptych.sources.urls import BadUrl, canonical_url, host_of, join_url, origin_of
from diptych.storage.fetch_log import GOOD, Attempt, Journal, LogIndex, RecordState, UrlState
from diptych.storage.snapshot import Forgotten
from diptych.storage.store import Store

__all__ = ["FetchMode", "Fetched", "Fetcher", "Kind"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEMPORARY = frozenset({302, 303, 307})
_HOST_RESTS = ("connect", "dns", "timeout", "tls")
_OF_KIND = ("not_a_page", "not_an_image", "noimageindex", "noimageai", "too_large")
"""Reasons that say nothing about the address when it is asked for as something else."""
_PAGES = ("text/", "application/xhtml", "application/xml")
_MOST_NOTE = 2000
"""Letters of a good answer's X-Robots-Tag that the log keeps."""


@dataclass
class _Task:
    """One URL on its way, across retries and redirects."""

    url: str
    kind: Kind
    future: Future[Fetched]
    known: UrlState | None
    current: str
    attempt: int = 1
    hops: tuple[str, ...] = ()
    started: float = 0.0
    steady: bool = False
    """Whether it is a page whose content is known, for which a page elsewhere does not stand in."""
    moved: bool = False
    """Whether one of its hops was a temporary redirect."""


class Fetcher:
    """Fetches for one source into one store; the lanes are shared by all sources of a crawl."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        lanes: Lanes,
        source: str,
        *,
        transport: Transport | None = None,
        files: LocalFiles | None = None,
        mode: FetchMode = "conditional",
        forgotten: Forgotten | None = None,
        on_row: Callable[[Attempt], None] | None = None,
        only: Collection[str] | None = None,
        hands: Hands | None = None,
    ) -> None:
        self._only, self._hands = only, hands
        self.store = store
        self.source = source
        self.mode: FetchMode = mode
        self._journal, self._lanes, self._transport, self._files = journal, lanes, transport, files
        self._forgotten = forgotten or Forgotten()
        self._on_row = on_row or (lambda row: None)
        self._lock = threading.Lock()
        self._running: dict[tuple[str, Kind], Future[Fetched]] = {}
        self._failed_as: dict[str, Kind] = {}
        """As what addresses failed, where another kind might not."""
        self._robots: dict[str, RobotsRules] = {}
        self._parked: dict[str, list[_Task]] = {}

    # --- what sources call -------------------------------------------------------------------------------

    @property
    def index(self) -> LogIndex:
        """What the log knows."""
        return self._journal.index

    def known_records(self) -> Iterator[RecordState]:
        """Records of this source that earlier crawls found."""
        return self.index.records(self.source)

    def fetch(self, url: str, kind: Kind) -> Fetched:
        """One URL, waited for."""
        return self.result(self.submit(url, kind))

    def map(self, urls: Iterable[str], kind: Kind, window: int = 256) -> Iterator[Fetched]:
        """Many URLs, at most ``window`` on their way, in the order they end."""
        waiting: set[Future[Fetched]] = set()
        for url in urls:
            waiting.add(self.submit(url, kind))
            if len(waiting) >= window:
                done = self.first(waiting)
                waiting -= done
                yield from (future.result() for future in done)
        while waiting:
            done = self.first(waiting)
            waiting -= done
            yield from (future.result() for future in done)

    def result(self, future: Future[Fetched]) -> Fetched:
        """A future's value; raises what stopped the crawl, if something did."""
        self.first({future})
        return future.result()

    def first(self, futures: set[Future[Fetched]]) -> set[Future[Fetched]]:
        """Those that are done, waiting until one is."""
        while True:
            done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
            if self._lanes.error is not None:
                raise self._lanes.error
            if done:
                return done

    def sitemaps(self, url: str) -> tuple[str, ...]:
        """Sitemaps that the robots.txt of the URL's origin names."""
        if self._transport is None or not self._transport.settings.robots:
            return ()
        origin = origin_of(url)
        if origin not in self._robots:
            self._learn_robots(origin, self.fetch(robots_url(origin), "robots"))
        return self._robots[origin].sitemaps()

    def submit(self, url: str, kind: Kind, *, steady: bool = False) -> Future[Fetched]:
        """Begin to fetch a URL (canonical, or ``file:``); the same one twice, as one kind, gives the same future.

        ``steady`` is for a page that is a record with content: when it now redirects, for a time, to a page that its
        content did not come from, it is ``gone`` (``redirected``), and what the log knows of it stays.
        """
        with self._lock:
            running = self._running.get((url, kind))
            if running is not None:
                return running
            future: Future[Fetched] = Future()
            self._running[url, kind] = future
        future.add_done_callback(lambda _: self._forget_running(url, kind))
        known = self.index.url(self.source, url)
        if self._forgotten.address(self.source, url):
            future.set_result(Fetched(url, url, "refused", "forgotten"))
        elif (answer := self._from_log(url, kind, known)) is not None:
            future.set_result(answer)
        else:
            task = _Task(url, kind, future, known, url, started=time.time(), steady=steady)
            try:
                task.current = url if url.startswith("file:") else canonical_url(url)
            except BadUrl as error:
                self._settle(task, "failed_permanent", "bad_url", text=str(error))
            else:
                self._enqueue(task)
        return future

    def keep(self, url: str, data: bytes) -> None:
        """Store a picture that a source read from inside a local file, under its own ``file:`` address.

        A later ``submit`` of that address is answered from the log; bytes that the log has are stored no second time.
        """
        known = self.index.url(self.source, url)
        if known is not None and known.crawl == self._journal.crawl:
            return
        task = _Task(url, "image", Future(), known, url, started=time.time())
        if self._forgotten.address(self.source, url):
            return  # submit refuses it
        if not data or not looks_like_image(data, "image/*"):
            self._settle(task, "failed_permanent", "not_an_image" if data else "empty")
        elif known is not None and known.sha256 == digest_bytes(data) and self._stored(known, "image") is not None:
            self._write(self._row(task, "not_modified", ""))
        else:
            self._store(task, data)

    # --- from the log ------------------------------------------------------------------------------------

    def _from_log(self, url: str, kind: Kind, known: UrlState | None) -> Fetched | None:
        """What needs no request: settled in this crawl, or not asked for in this mode."""
        good = known is not None and known.outcome in ("ok", "not_modified")
        if known is not None and known.crawl == self._journal.crawl:
            settled = True
        elif self._only is not None and url not in self._only and known is not None and kind != "robots":
            settled = True
        elif self.mode == "offline" and not url.startswith("file:"):
            if known is None:
                return Fetched(url, url, "failed_transient", "not_fetched")
            if not known.sha256 or known.gone or known.outcome == "refused":
                return Fetched(url, url, known.outcome, known.code, known.status)
            known, good, settled = replace(known, outcome="not_modified", code=""), True, True
        else:
            settled = self.mode == "retry_failed" and good and kind in ("page", "image", "api")
        if not settled or known is None:
            return None
        if not good:
            if known.crawl == self._journal.crawl and self._failed_as_another(url, kind, known.code):
                return None
            return Fetched(url, known.final_url or url, known.outcome, known.code, known.status)
        data = self._stored(known, kind)
        if data is None:
            return None
        if code := self._forbidden(kind, known.note):
            task = _Task(url, kind, Future(), known, known.final_url or url, started=time.time())
            self._settle(task, "refused", code, text=f"X-Robots-Tag: {known.note}")
            return task.future.result()
        if code := self._unfit(url, kind, known, data):
            return Fetched(url, known.final_url or url, "failed_permanent", code, known.status)
        return self._kept(url, known, known.outcome, data)

    def _failed_as_another(self, url: str, kind: Kind, code: str) -> bool:
        """Whether this crawl's failure is one of another kind: a picture is no page, but it is a picture."""
        before = self._failed_as.get(url) or {"not_a_page": "page", "too_large": kind}.get(code, "image")
        return code in _OF_KIND and before != kind

    def _forbidden(self, kind: Kind, note: str) -> str:
        """What an X-Robots-Tag forbids, as it is judged in a whole answer."""
        if not note or self._transport is None or kind not in ("page", "image"):
            return ""
        settings = self._transport.settings
        return forbidden(directives([note], settings.agent), settings.respect, kind == "image")

    def _unfit(self, url: str, kind: Kind, known: UrlState, data: bytes) -> str:
        """Why stored bytes are not of this kind; they may have been asked for as another. Files are judged as read.

        Pictures are only looked at when their type does not say that they are no page.
        """
        if url.startswith("file:") or (kind == "image" and not known.content_type.startswith(_PAGES)):
            return ""
        return unfit(kind, data or self.store.blobs.get(known.sha256), known.content_type)

    def _stored(self, known: UrlState, kind: Kind) -> bytes | None:
        """The stored bytes (empty for an image, whose bytes nobody reads here); None when they are not whole."""
        try:
            if not known.sha256 or self.store.blobs.size(known.sha256) != known.bytes:
                return None
            return b"" if kind == "image" else self.store.blobs.get(known.sha256)
        except DiptychError:
            return None

    def _kept(self, url: str, known: UrlState, outcome: str, data: bytes, note: str = "") -> Fetched:
        note = note or known.note
        final = known.final_url or url
        return Fetched(url, final, outcome, "", 200, known.sha256, known.bytes, known.content_type, note, data)

    # --- on the way --------------------------------------------------------------------------------------

    def _enqueue(self, task: _Task, after: float = 0.0) -> None:
        quick = self._hands is not None and self._hands.ready and not task.current.startswith("file:")
        self._lanes.submit(self._lane(task.current), partial(self._step, task), after, quick)

    def _lane(self, url: str) -> Lane:
        settings = self._transport.settings if self._transport is not None else None
        if url.startswith("file:") or settings is None:
            return self._lanes.lane("file:", 8)
        return self._lanes.lane(host_of(url), settings.per_host, settings.delay)

    def _step(self, task: _Task, quick: bool) -> bool | None:
        """One request of a task; ends it, or queues its next step. True when another process has the request.

        ``quick`` permits nothing that waits for a server or reads a file: None when it would have to.
        """
        task.started = time.time()
        try:
            return self._ask(task, quick)
        except Exception as error:
            self._unforeseen(task, error)
            return False

    def _unforeseen(self, task: _Task, error: Exception) -> None:
        """End a task on whose answer our code stumbled: one address's reason, not the crawl's end."""
        ours = isinstance(error, DiptychError) and not isinstance(error, BadUrl)
        if task.future.done() or ours or isinstance(error, (OSError, MemoryError)):
            raise error
        self._settle(task, "failed_permanent", f"error_{type(error).__name__}", text=str(error))

    def _ask(self, task: _Task, quick: bool) -> bool | None:
        if task.current.startswith("file:"):
            if quick:
                return None
            self._look_at_file(task)
            return False
        if self._transport is None:
            raise SourceError(f"source {self.source!r} fetches {task.url} but has no fetch settings")
        settings = self._transport.settings
        lane = self._lane(task.current)
        if lane.closed:
            self._settle(task, "failed_transient", lane.closed, text="the host rests in this crawl")
            return False
        if task.kind not in ("robots", "api") and settings.robots and not self._may_ask(task, settings):
            return False
        request = Request(task.current, task.kind, self._conditional(task))

        def then(reply: Reply | None) -> None:
            if reply is not None:
                self._replied(task, reply, lane, settings)
            self._lanes.done(lane)

        if self._hands is not None and self._hands.take(request, then):
            return True
        if quick:
            return None
        reply = ask(request, self._transport, self.store.blobs, self._forgotten)
        self._replied(task, reply, lane, settings)
        return False

    def _may_ask(self, task: _Task, settings: FetchSettings) -> bool:
        """False when the task was parked until robots.txt is there, or ended because it forbids."""
        origin = origin_of(task.current)
        with self._lock:
            rules = self._robots.get(origin)
            if rules is None:
                parked = self._parked.setdefault(origin, [])
                parked.append(task)
                if len(parked) > 1:
                    return False
        if rules is None:
            self.submit(robots_url(origin), "robots").add_done_callback(
                lambda future: self._learn_robots(origin, future.result())
            )
            return False
        if rules.allows(task.current, settings.agent):
            return True
        if rules.unreachable:
            self._settle(task, "failed_transient", "robots_unreachable", text=f"{robots_url(origin)} cannot be had")
        else:
            self._settle(task, "refused", "robots", text=f"{robots_url(origin)} forbids it")
        return False

    def _learn_robots(self, origin: str, fetched: Fetched) -> None:
        rules = RobotsRules.from_answer(fetched.outcome, fetched.status, fetched.data if fetched.ok else None)
        settings = self._transport.settings if self._transport is not None else None
        if settings is not None and (delay := rules.delay(settings.agent)) > 0:
            self._lanes.pace(self._lane(origin), min(delay, settings.max_crawl_delay))
        with self._lock:
            self._robots[origin] = rules
            parked = self._parked.pop(origin, [])
        for task in parked:
            self._enqueue(task)

    def _conditional(self, task: _Task) -> dict[str, str]:
        """Headers that let the server say that nothing changed, when the old bytes are there."""
        known = task.known
        if known is None or self.mode == "refresh" or task.current != known.final_url:
            return {}
        if not (known.etag or known.last_modified) or self._stored(known, "image") is None:
            return {}
        sent = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
        return {name: value for name, value in sent.items() if value and value.isprintable()}

    def _replied(self, task: _Task, reply: Reply, lane: Lane, settings: FetchSettings) -> None:
        """Go on with what a request came to."""
        try:
            self._judge(task, reply, lane, settings)
        except Exception as error:
            self._unforeseen(task, error)

    def _judge(self, task: _Task, reply: Reply, lane: Lane, settings: FetchSettings) -> None:
        if reply.outcome == "failed_transient" or not reply.connected:
            self._failed(task, reply, lane, settings)
            return
        lane.failures = 0
        if reply.outcome == "ok":
            self._keep(task, reply)
        elif reply.outcome:
            self._settle(task, reply.outcome, reply.code, status=reply.status, text=reply.text)
        else:
            self._answered(task, reply, lane, settings)

    def _failed(self, task: _Task, reply: Reply, lane: Lane, settings: FetchSettings) -> None:
        if reply.code in _HOST_RESTS and not reply.connected:
            lane.failures += 1
            if lane.failures >= settings.host_failures:
                lane.closed = "host_down"
        if reply.code == "timeout":
            self._lanes.hold(lane, settings.timeout)
        if reply.outcome == "failed_transient" and task.attempt <= settings.retries and not lane.closed:
            self._retry(task, reply.code, reply.text, reply.status, settings)
        else:
            self._settle(task, reply.outcome, reply.code, status=reply.status, text=reply.text)

    def _retry(
        self, task: _Task, code: str, text: str, status: int, settings: FetchSettings, at_least: float = 0.0
    ) -> None:
        """Log the attempt and queue the next one."""
        self._write(self._row(task, "failed_transient", code, status=status, text=text, settled=False))
        pause = settings.backoff * 2 ** (task.attempt - 1) * random.uniform(0.75, 1.25)
        task.attempt += 1
        task.current, task.hops, task.moved = task.url, (), False
        self._enqueue(task, max(pause, at_least, 0.001))

    def _answered(self, task: _Task, answer: Reply, lane: Lane, settings: FetchSettings) -> None:
        """A status other than success."""
        status = answer.status
        code = f"http_{status}"
        if status in _REDIRECTS:
            self._redirect(task, answer, settings)
        elif status == 304 and task.known is not None and task.known.sha256:
            self._settle_known(task, answer)
        elif status in (404, 410):
            self._settle(task, "gone", code, status=status)
        elif status in (408, 425, 429, *NOT_WHOLE) or status >= 500:
            wish = retry_after(answer.headers.get("retry-after", ""))
            if wish > settings.max_retry_after:
                lane.closed = "host_busy"
            elif wish:
                self._lanes.pause(lane, wish)
            if task.attempt <= settings.retries and not lane.closed:
                if status == 429 and not wish:
                    self._lanes.pause(lane, settings.backoff * 2**task.attempt)
                self._retry(task, code, "", status, settings, wish)
            else:
                self._settle(task, "failed_transient", code, status=status)
        else:
            self._settle(task, "failed_permanent", code, status=status)

    def _redirect(self, task: _Task, answer: Reply, settings: FetchSettings) -> None:
        status = answer.status
        location = answer.headers.get("location", "")
        task.hops = (*task.hops, task.current)
        task.moved = task.moved or status in _TEMPORARY
        try:
            target = join_url(task.current, location.encode("latin-1", "replace").decode("utf-8", "replace"))
        except BadUrl as error:
            self._settle(task, "failed_permanent", "bad_redirect", status=status, text=str(error))
            return
        if target in self._forgotten:
            self._settle(task, "refused", "forgotten", status=status)
        elif not location or target in task.hops:
            code = "redirect_loop" if location else "bad_redirect"
            self._settle(task, "failed_permanent", code, status=status, text=f"to {target}")
        elif len(task.hops) > settings.max_redirects:
            self._settle(task, "failed_permanent", "too_many_redirects", status=status, text=f"to {target}")
        else:
            task.current = target
            self._enqueue(task)

    # --- the end of a task -------------------------------------------------------------------------------

    def _keep(self, task: _Task, reply: Reply) -> None:
        """Log a body that is stored."""
        if task.steady and task.moved and task.known is not None and not _same_page(task.url, task.known, task.current):
            self._settle(task, "gone", "redirected", status=reply.status, text=f"to {task.current}")
            return
        headers = reply.headers
        content_type, tag = headers.get("content-type", "").lower(), headers.get("x-robots-tag", "")
        self._write(self._row(task, "ok", "", status=reply.status, text=tag, body=reply))
        data = None if task.kind == "image" else reply.body
        fetched = Fetched(
            task.url, task.current, "ok", "", reply.status, reply.sha256, reply.size, content_type, tag, data
        )
        task.future.set_result(fetched)

    def _store(self, task: _Task, data: bytes, fingerprint: str = "") -> None:
        """Keep the bytes of a local file, unless they must never come back."""
        sha256 = digest_bytes(data)
        if sha256 in self._forgotten:
            self._settle(task, "refused", "forgotten")
            return
        self.store.blobs.put(data, sha256)
        self._keep(task, Reply("ok", headers={"etag": fingerprint}, sha256=sha256, size=len(data), body=data))

    def _settle_known(self, task: _Task, answer: Reply) -> None:
        """304: the stored bytes are good."""
        assert task.known is not None
        note = answer.headers.get("x-robots-tag", "") or task.known.note
        if code := self._forbidden(task.kind, note):
            self._settle(task, "refused", code, status=304, text=f"X-Robots-Tag: {note}")
            return
        row = self._row(task, "not_modified", "", status=304, text=note, body=answer)
        data = self._stored(task.known, task.kind)
        if data is None:  # deleted since the request began
            task.known = None
            self._enqueue(task)
            return
        if code := self._unfit(task.url, task.kind, task.known, data):
            self._settle(task, "failed_permanent", code, status=304, text=f"Content-Type {task.known.content_type}")
            return
        self._write(row)
        task.future.set_result(self._kept(task.url, task.known, "not_modified", data, note))

    def _look_at_file(self, task: _Task) -> None:
        if self._files is None:
            raise SourceError(f"source {self.source!r} reads {task.url} but names no folder")
        same = self._files.unchanged(task.url, task.known) and self.mode != "refresh" and task.known is not None
        data = self._stored(task.known, task.kind) if same and task.known is not None else None
        if data is not None and task.known is not None:
            self._write(self._row(task, "not_modified", ""))
            task.future.set_result(self._kept(task.url, task.known, "not_modified", data))
            return
        looked = self._files.read(task.url, task.kind)
        if looked.outcome != "ok":
            self._settle(task, looked.outcome, looked.code, text=looked.text)
            return
        self._store(task, looked.data, looked.fingerprint)

    def _settle(self, task: _Task, outcome: str, code: str, status: int = 0, text: str = "") -> None:
        if code in _OF_KIND:
            self._failed_as[task.url] = task.kind
        self._write(self._row(task, outcome, code, status=status, text=text))
        task.future.set_result(Fetched(task.url, task.current, outcome, code, status))

    def _row(
        self,
        task: _Task,
        outcome: str,
        code: str,
        status: int = 0,
        text: str = "",
        settled: bool = True,
        body: Reply = Reply(),  # noqa: B008 - frozen, as its headers are for everybody here
    ) -> Attempt:
        kind = "file" if task.url.startswith("file:") else task.kind
        return Attempt(
            crawl=self._journal.crawl,
            source=self.source,
            kind=kind,
            url=task.url,
            outcome=outcome,
            final_url=task.current,
            attempt=task.attempt,
            started_at=round(task.started, 3),
            seconds=round(time.time() - task.started, 4),
            code=code,
            status=status,
            bytes=body.size,
            sha256=body.sha256,
            etag=body.headers.get("etag", ""),
            last_modified=body.headers.get("last-modified", ""),
            content_type=body.headers.get("content-type", "").lower(),
            text=text[: _MOST_NOTE if outcome in GOOD else 300],
            settled=settled,
        )

    def _write(self, row: Attempt) -> None:
        self._journal.write(row)
        self._on_row(row)

    def _forget_running(self, url: str, kind: Kind) -> None:
        with self._lock:
            self._running.pop((url, kind), None)


def _same_page(url: str, known: UrlState, now: str) -> bool:
    """Whether an address leads where it led, but for the scheme, ``www.`` and a slash at the end.

    The query may be another one (a session) where the address redirected before, too.
    """
    parts = [address.partition("://")[2].partition("?") for address in (known.final_url, now)]
    before, after = ((path.removeprefix("www.").rstrip("/"), query) for path, _, query in parts)
    return before == after or (known.final_url != url and before[0] == after[0])
