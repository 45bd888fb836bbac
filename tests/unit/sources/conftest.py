"""A small server that does as told, and short ways to crawl it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diptych.sources.answers import Fetched, FetchMode, Kind
from diptych.sources.fetch import Fetcher
from diptych.sources.limits import Lanes
from diptych.sources.local import LocalFiles
from diptych.sources.settings import FetchSettings, Secrets
from diptych.sources.transport import Transport
from diptych.storage.fetch_log import Attempt, FetchLog
from diptych.storage.store import Store, open_store

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4
Reply = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Reply:
    """A plain answer; header names with '_' for '-'."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return reply


class Naughty:
    """A server whose answers are functions by path; counts what was asked and how much at once."""

    def __init__(self) -> None:
        self.routes: dict[str, Reply] = {}
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, dict[str, str]] = {}
        self.times: list[float] = []
        self.running = self.most = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    server.asked[self.path] += 1
                    server.headers[self.path] = {k.lower(): v for k, v in self.headers.items()}
                    server.times.append(time.monotonic())
                    server.running += 1
                    server.most = max(server.most, server.running)
                try:
                    server.routes.get(self.path, answer(404))(self)
                except OSError:
                    self.close_connection = True
                finally:
                    with lock:
                        server.running -= 1

            def log_message(self, *args: object) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.http = Listener(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Naughty]:
    """A server that answers 404 until told otherwise."""
    naughty = Naughty()
    yield naughty
    naughty.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "root", "toy")


class Bench:
    """A fetcher on a store with fast settings; one crawl per ``with``."""

    def __init__(
        self, store: Store, mode: FetchMode = "conditional", folder: Path | None = None, **options: object
    ) -> None:
        fast = {"contact": "me@example.org", "allow_private": True, "timeout": 1.0, "total_time": 1.5, "backoff": 0.02}
        self.settings = FetchSettings(**{**fast, **options})  # type: ignore[arg-type]
        self.store, self.mode, self.folder = store, mode, folder
        self.rows: list[Attempt] = []

    def __enter__(self) -> Bench:
        self.lanes = Lanes(16)
        self.journal = FetchLog(self.store.home).begin(self.mode)
        self.transport = Transport(self.settings, Secrets({}), frozenset())
        files = LocalFiles(self.folder) if self.folder else None
        self.fetcher = Fetcher(
            self.store,
            self.journal,
            self.lanes,
            "s",
            transport=self.transport,
            files=files,
            mode=self.mode,
            on_row=self.rows.append,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.lanes.close()
        self.transport.close()
        self.journal.finish()

    def get(self, url: str, kind: Kind = "image") -> Fetched:
        return self.fetcher.fetch(url, kind)


@pytest.fixture
def bench(store: Store) -> Callable[..., Bench]:
    """Makes benches on the test's store."""
    return lambda **options: Bench(store, **options)


@pytest.fixture
def reply() -> Callable[..., Reply]:
    """The plain answer of the server."""
    return answer


@pytest.fixture
def jpeg() -> bytes:
    """Bytes that begin as a JPEG file."""
    return JPEG
