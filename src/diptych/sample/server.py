"""A loopback HTTP server for the sample site: keep-alive, conditional requests, counters and faults for tests."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from diptych.sample.response import Response, plain
from diptych.sample.seeding import rng
from diptych.sample.site import Site

_LOOK = 0.02
"""Seconds between two looks whether a client that waits is still there."""


@dataclass
class Faults:
    """What the server does wrong on purpose; change the fields while it runs.

    `status` answers every request (robots.txt too, unless `spare_robots`); `missing_share` of the article pages
    answer 404, chosen by path.
    """

    status: int | None = None
    spare_robots: bool = False
    missing_share: float = 0.0
    slow_seconds: float = 1.0
    stall_seconds: float = 5.0

    def missing(self, path: str) -> bool:
        """Return whether an article page is among the missing share; a larger share contains the smaller ones."""
        return path.startswith("/news/") and rng(0, "missing", path).random() < self.missing_share


@dataclass
class Counts:
    """What was asked of the server since the start or the last `reset`."""

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    robots_area: list[str] = field(default_factory=list)
    agents: Counter[str] = field(default_factory=Counter)
    bodies: int = 0
    bytes_sent: int = 0
    running: dict[str, int] = field(default_factory=dict)
    most_parallel: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.requests.values())


class Server:
    """Serves a site from a thread; use as a context manager. `site` and `faults` may be replaced while it runs."""

    def __init__(self, site: Site, port: int = 0, *, host: str = "127.0.0.1", faults: Faults | None = None) -> None:
        self.site = site
        self.faults = faults or Faults()
        self.counts = Counts()
        self._lock = threading.Lock()
        self._flaky_seen: set[str] = set()
        self._closing = threading.Event()
        self._http = _Listener((host, port), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="diptych-sample"
        )

    @property
    def port(self) -> int:
        return self._http.server_address[1]

    @property
    def url(self) -> str:
        """Return the address of the site without a slash at the end."""
        return f"http://{self._http.server_address[0]}:{self.port}"

    def start(self) -> Server:
        """Begin to answer; returns the server."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering; pending slow answers are cut short."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)

    def wait(self) -> None:
        """Serve until interrupted, for the command line."""
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)

    def reset(self) -> Counts:
        """Return the counts so far and start new ones; flaky addresses fail once again."""
        with self._lock:
            old, self.counts = self.counts, Counts(running=dict(self.counts.running))
            self._flaky_seen.clear()
        return old

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, path: str, headers: dict[str, str], hung_up: Callable[[], bool] = lambda: False) -> Response:
        """Return the answer to one request, after faults; a pause ends early when the client has hung up."""
        faults = self.faults
        if faults.status is not None and not (faults.spare_robots and path == "/robots.txt"):
            return plain(faults.status, "the site is out of order")
        if faults.missing(path):
            return plain(404, "this page is missing tonight")
        response = self.site.respond(path, headers)
        if response.flaky:
            with self._lock:
                first = path not in self._flaky_seen
                self._flaky_seen.add(path)
            if first:
                return Response(503, b"try again\n", {"Content-Type": "text/plain", "Retry-After": "0"})
        pause = {"slow": faults.slow_seconds, "stall": faults.stall_seconds}.get(response.pace, 0.0)
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0 and not hung_up() and not self._closing.wait(min(left, _LOOK)):
            pass
        return response

    def enter(self, host: str, path: str, agent: str) -> None:
        """Count a request that begins."""
        with self._lock:
            counts = self.counts
            counts.requests[path] += 1
            counts.agents[agent] += 1
            if path.startswith("/private/"):
                counts.robots_area.append(path)
            counts.running[host] = counts.running.get(host, 0) + 1
            counts.most_parallel[host] = max(counts.most_parallel.get(host, 0), counts.running[host])

    def answered(self, response: Response, sent: int) -> None:
        """Count an answer, before its bytes leave: who has read it finds it counted."""
        with self._lock:
            self.counts.statuses[response.status] += 1
            self.counts.bodies += sent > 0 and response.status == 200
            self.counts.bytes_sent += sent

    def leave(self, host: str) -> None:
        """Count a request that ended."""
        with self._lock:
            self.counts.running[host] = self.counts.running.get(host, 1) - 1


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    owner: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent about clients that hang up: crawlers do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def do_GET(self) -> None:
        self._serve(body=True)

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def _serve(self, *, body: bool) -> None:
        assert isinstance(self.server, _Listener)
        owner = self.server.owner
        host = self.headers.get("Host", "")
        path = self.path.split("?", 1)[0]
        owner.enter(host, path, self.headers.get("User-Agent", ""))
        left = False
        try:
            response = owner.answer(path, dict(self.headers.items()), self._hung_up)
            data = response.body if body and response.status != 304 else b""
            owner.answered(response, len(data))
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            if response.status != 304:
                self.send_header("Content-Length", str(len(response.body)))
            owner.leave(host)  # before the client can know that it may send the next one
            left = True
            self.end_headers()
            self.wfile.write(data)
        finally:
            if not left:
                owner.leave(host)

    def _hung_up(self) -> bool:
        """Whether the client closed its end: then the request counts as running no longer."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: the counters tell more."""


@contextmanager
def serve(site: Site, port: int = 0, *, host: str = "127.0.0.1", faults: Faults | None = None) -> Iterator[Server]:
    """Serve a site while the block runs; port 0 takes any free port (`server.url` says which)."""
    with Server(site, port, host=host, faults=faults) as server:
        yield server
