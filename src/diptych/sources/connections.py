"""Connections below requests' adapter: peers checked, every exchange watched, answers read with little ado.

Two things requests leaves open are closed here. A peer is checked when its socket is connected, before a byte
is sent. And a read timeout starts anew with each byte, so that a server which sends one byte a second holds a
thread for ever: one watchdog thread shuts the socket of every exchange that is over its total time.

What requests and http.client do for each answer and a crawl never looks at (cookies of the answer, its charset, headers
as a mail message) costs more than reading the picture; the adapter leaves it out.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from email.parser import Parser
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from diptych.sources.address import PrivateAddress, is_public

__all__ = ["WATCHDOG", "Adapter", "Exchange"]

_LONGEST_LINE, _MOST_HEADERS = 65_536, 100
_PLAIN = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)\r\n")
_HOSTS = 64
"""Hosts to which connections are kept."""


class Exchange:
    """What the watchdog must cut when it takes too long."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.late = False
        self.fresh = False
        """Whether a connection was made for it; else a kept one serves."""
        self.connection: HTTPConnection | None = None
        self.socket: socket.socket | None = None

    def cut(self) -> None:
        self.late = True
        for held in (getattr(self.connection, "sock", None), self.socket):
            try:
                if held is not None:
                    socket.socket.shutdown(getattr(held, "socket", held), socket.SHUT_RDWR)
                    return
            except (OSError, TypeError, ValueError):
                continue  # not connected any more, or wrapped since


class _Watchdog:
    """Cuts exchanges that are over their time; one thread for all transports of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Exchange] = set()
        self._thread: threading.Thread | None = None
        self.current = threading.local()

    def begin(self, seconds: float) -> Exchange:
        exchange = Exchange(seconds)
        self.current.exchange = exchange
        with self._lock:
            self._running.add(exchange)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="fetch-watchdog", daemon=True)
                self._thread.start()
        return exchange

    def end(self, exchange: Exchange) -> None:
        self.current.exchange = None
        with self._lock:
            self._running.discard(exchange)

    def hold(self, connection: HTTPConnection, sock: socket.socket | None = None, fresh: bool = False) -> None:
        """The exchange of this thread now uses ``connection``."""
        exchange = getattr(self.current, "exchange", None)
        if exchange is not None:
            exchange.connection, exchange.fresh = connection, exchange.fresh or fresh
            exchange.socket = sock or exchange.socket

    def _watch(self) -> None:
        while True:
            time.sleep(0.1)
            now = time.monotonic()
            with self._lock:
                late = [exchange for exchange in self._running if exchange.ends <= now]
            for exchange in late:
                exchange.cut()


WATCHDOG = _Watchdog()


class _Headers(http.client.HTTPMessage):
    """The headers of an answer when all are plain, without a mail parser's generality."""

    def __init__(self, plain: list[tuple[str, str]]) -> None:
        super().__init__()
        self._headers = plain
        self._payload = ""

    def items(self) -> Any:
        """(name, value) as they came."""
        return list(self._headers)

    def get(self, name: str, failobj: Any = None) -> Any:
        """The first value of a header."""
        wanted = name.lower()
        return next((value for found, value in self._headers if found.lower() == wanted), failobj)


def _read_headers(file: Any) -> http.client.HTTPMessage:
    """As ``http.client.parse_headers``, with its limits; what is not plain goes the way it goes there."""
    lines: list[bytes] = []
    while True:
        line = file.readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        lines.append(line)
        if len(lines) > _MOST_HEADERS:
            raise http.client.HTTPException(f"got more than {_MOST_HEADERS} headers")
        if line in (b"\r\n", b"\n", b""):
            break
    found = [_PLAIN.fullmatch(line) for line in lines[:-1]]
    plain = [(match.group(1).decode(), match.group(2).decode()) for match in found if match is not None]
    if len(plain) == len(found) and lines[-1] == b"\r\n":
        return _Headers(plain)
    return Parser(_class=http.client.HTTPMessage).parsestr(b"".join(lines).decode("iso-8859-1"))


class _Response(http.client.HTTPResponse):
    """``http.client``'s answer, whose headers are read by :func:`_read_headers`."""

    def begin(self) -> None:
        """Status line and headers; the steps are those of the class above."""
        if self.headers is not None:
            return
        while True:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            if status != http.client.CONTINUE:
                break
            _read_headers(self.fp)
        self.code = self.status = status
        self.reason = reason.strip()
        if version in ("HTTP/1.0", "HTTP/0.9"):
            self.version = 10
        elif version.startswith("HTTP/1."):
            self.version = 11
        else:
            raise http.client.UnknownProtocol(version)
        self.headers = self.msg = _read_headers(self.fp)
        self.chunked = (self.headers.get("transfer-encoding") or "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        length = self.headers.get("content-length")
        self.length = None
        if length and not self.chunked:
            try:
                self.length = int(length)
            except ValueError:
                self.length = None
            if self.length is not None and self.length < 0:
                self.length = None
        if status in (http.client.NO_CONTENT, http.client.NOT_MODIFIED) or 100 <= status < 200:
            self.length = 0
        if not self.will_close and not self.chunked and self.length is None:
            self.will_close = True


class _Guarded:
    """Mixed into connections: registers the socket and refuses private peers."""

    allow_private = False
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        WATCHDOG.hold(self, fresh=True)  # type: ignore[arg-type]
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        WATCHDOG.hold(self, sock)  # type: ignore[arg-type]
        peer = str(sock.getpeername()[0])
        if not (self.allow_private or getattr(self, "proxy", None) or is_public(peer)):
            sock.close()
            raise PrivateAddress(f"{getattr(self, 'host', '')} is at {peer}, a private address")
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        WATCHDOG.hold(self)  # type: ignore[arg-type]
        super().request(*args, **kwargs)  # type: ignore[misc]


def _pools(allow_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections check their peer."""
    plain = type("GuardedHttp", (_Guarded, HTTPConnection), {"allow_private": allow_private})
    tls = type("GuardedHttps", (_Guarded, HTTPSConnection), {"allow_private": allow_private})
    return {
        "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


class Adapter(HTTPAdapter):
    """requests' adapter over checked connections, without the steps that nobody needs here."""

    def __init__(self, allow_private: bool, connections: int) -> None:
        self.allow_private = allow_private
        self._open: dict[str, Any] = {}
        super().__init__(pool_connections=_HOSTS, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Pools of checked connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self.allow_private)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """The same for a proxy, whose address is not checked."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _pools(True)  # for the watchdog; the peer is the proxy
        return manager

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """The pool of the request's host, looked up by its origin while it is open."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        origin = request.url[: request.url.find("/", 8)]
        pool = self._open.get(origin)
        if pool is None or pool.pool is None:  # new, or closed because many other hosts were asked since
            if len(self._open) >= 2 * _HOSTS:
                self._open.clear()
            pool = self._open[origin] = super().get_connection_with_tls_context(request, verify, proxies, cert)
        return pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Only where there is a certificate."""
        if url.startswith("https:"):
            super().cert_verify(conn, url, verify, cert)

    def request_url(self, request: Any, proxies: Any) -> str:
        """The path of a canonical address; through a proxy as requests has it."""
        if proxies:
            return super().request_url(request, proxies)
        return request.url[request.url.find("/", 8) :]

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Status, headers and the raw body: no cookies, no charset."""
        response = requests.Response()
        response.status_code, response.headers, response.raw, response.request = resp.status, resp.headers, resp, req
        return response
