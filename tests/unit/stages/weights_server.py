"""A server of one file that does wrong what a test says, and an entry of the weights registry with its address."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from diptych import weights, weights_transfer
from diptych.weights import WeightSpec

__all__ = ["BODY", "OTHER", "SHA", "Server", "registered", "serving"]

BODY = b"\x80" + bytes(range(256)) * 4000
OTHER = BODY[:1] + BODY[:0:-1]
SHA = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves BODY; ``script`` holds what the next answers do wrong, several words at once, ``seen`` what was asked."""

    script: list[str]
    seen: list[str]
    headers: list[dict[str, str]]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Understands Range and If-Range."""

    server: Server

    def do_GET(self) -> None:
        """Answer as the script says."""
        wrong = set(self.server.script.pop(0).split("+")) if self.server.script else set()
        asked = self.headers.get("Range", "")
        self.server.seen.append(asked)
        self.server.headers.append(dict(self.headers))
        if codes := [w for w in wrong if w.isdecimal()]:
            self.send_error(int(codes[0]))
            return
        body = b"" if "empty" in wrong else b"<html>" if "page" in wrong else OTHER if "other" in wrong else BODY
        body = body + b"more" if "longer" in wrong else body
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        body = gzip.compress(body, mtime=0) if "packed" in wrong else b"junk" * 9 if "broken" in wrong else body
        if self.headers.get("If-Range", tag) != tag and "deaf" not in wrong:
            asked = ""
        start = int(asked[6:-1]) if asked and "no-range" not in wrong else 0
        if asked and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        start = start and start - 7 * ("shifted" in wrong)
        if start and "untold" not in wrong:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if "no-tag" not in wrong:
            self.send_header("ETag", f"W/{tag}" if "weak" in wrong else tag)
        if "page" in wrong:
            self.send_header("Content-Type", "text/html; charset=utf-8")
        if wrong & {"packed", "broken"}:
            self.send_header("Content-Encoding", "gzip")
        if "no-length" not in wrong:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may not want it
            self.wfile.write(body[start : len(body) // 2] if "cut" in wrong else body[start:])

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a thread."""
    found = Server(("127.0.0.1", 0), Handler)
    found.script, found.seen, found.headers = [], [], []
    thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


@contextmanager
def registered(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightSpec]:
    """The entry ``m``, of whose hash the first digits are known, and an empty cache; no waiting between attempts."""
    before = weights.cache()
    weights.set_cache(folder / "cache")
    url = f"{server.url}/m-{SHA[:8]}.pth"
    made = WeightSpec("m", f"m-{SHA[:8]}.pth", "a test", "none", "file", sha256_prefix=SHA[:8], urls=(url,))
    monkeypatch.setitem(weights.REGISTRY, "m", made)
    monkeypatch.setattr(weights_transfer.time, "sleep", lambda _: None)
    yield made
    weights.set_cache(before)
