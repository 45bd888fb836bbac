"""One request over requests' adapter: peers checked, time and decoded size bounded, nothing followed.

Two things requests leaves open are closed here. A peer is checked when its socket is connected, before a byte
is sent. And a read timeout starts anew with each byte, so that a server which sends one byte a second holds a
thread for ever: one watchdog thread shuts the socket of every exchange that is over its total time.
"""

from __future__ import annotations

import http.cookiejar
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import get_cookie_header
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from diptych.exceptions import RecipeError
from diptych.sources.address import PrivateAddress, is_public
from diptych.sources.settings import FetchSettings, Secrets, user_agent

__all__ = ["Answer", "Failure", "Transport"]

_CHUNK = 65_536
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


class Failure(Exception):
    """A request that gave no usable answer: a code, whether it can heal, and what was seen."""

    def __init__(self, code: str, text: str, *, transient: bool, status: int = 0, connected: bool = True) -> None:
        super().__init__(text)
        self.code, self.text, self.transient, self.status, self.connected = (
            code,
            text[:300],
            transient,
            status,
            connected,
        )


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower-case names; repeated ones joined by a comma) and the decoded body."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Exchange:
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
        self._running: set[_Exchange] = set()
        self._thread: threading.Thread | None = None
        self.current = threading.local()

    def begin(self, seconds: float) -> _Exchange:
        exchange = _Exchange(seconds)
        self.current.exchange = exchange
        with self._lock:
            self._running.add(exchange)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="fetch-watchdog", daemon=True)
                self._thread.start()
        return exchange

    def end(self, exchange: _Exchange) -> None:
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


_WATCHDOG = _Watchdog()


class _Guarded:
    """Mixed into connections: registers the socket and refuses private peers."""

    allow_private = False

    def _new_conn(self) -> socket.socket:
        _WATCHDOG.hold(self, fresh=True)  # type: ignore[arg-type]
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        _WATCHDOG.hold(self, sock)  # type: ignore[arg-type]
        peer = str(sock.getpeername()[0])
        if not (self.allow_private or getattr(self, "proxy", None) or is_public(peer)):
            sock.close()
            raise PrivateAddress(f"{getattr(self, 'host', '')} is at {peer}, a private address")
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        _WATCHDOG.hold(self)  # type: ignore[arg-type]
        super().request(*args, **kwargs)  # type: ignore[misc]


def _pools(allow_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools whose connections check their peer."""
    plain = type("GuardedHttp", (_Guarded, HTTPConnection), {"allow_private": allow_private})
    tls = type("GuardedHttps", (_Guarded, HTTPSConnection), {"allow_private": allow_private})
    return {
        "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


class _Adapter(HTTPAdapter):
    def __init__(self, allow_private: bool, connections: int) -> None:
        self.allow_private = allow_private
        super().__init__(pool_connections=64, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self.allow_private)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _pools(True)  # for the watchdog; the peer is the proxy
        return manager


class Transport:
    """Requests with one source's identity, limits and secrets; safe to use from several threads."""

    def __init__(self, settings: FetchSettings, secrets: Secrets, own_hosts: frozenset[str]) -> None:
        self.settings = settings
        self.secrets = secrets
        self.own_hosts = own_hosts
        self._agent = user_agent(settings)
        # A proxy resolves and connects by itself: its own address may be private, and peers cannot be checked.
        self._proxies = {"http": secrets.proxy, "https": secrets.proxy} if secrets.proxy else {}
        self._adapter = _Adapter(settings.allow_private or bool(secrets.proxy), settings.per_host)
        self._cookies: http.cookiejar.MozillaCookieJar | None = None
        if secrets.cookie_file:
            self._cookies = http.cookiejar.MozillaCookieJar(secrets.cookie_file)
            try:
                self._cookies.load()
            except (OSError, http.cookiejar.LoadError) as error:
                variable = settings.cookies_from
                raise RecipeError(
                    f"fetch.cookies_from: the file that {variable} names is no cookies.txt: {error}"
                ) from None

    def close(self) -> None:
        """Close kept connections."""
        self._adapter.close()

    def get(
        self, url: str, host: str, limit: int, conditional: dict[str, str], accept: str, cut: bool = False
    ) -> Answer:
        """One GET; :class:`Failure` for everything but a whole answer. ``cut`` keeps the start of a longer body."""
        headers = {"User-Agent": self._agent, "Accept": accept, "Accept-Encoding": "gzip, deflate", **conditional}
        if host in self.own_hosts:
            headers.update(self.secrets.headers)
        exchange = _WATCHDOG.begin(self.settings.total_time)
        response: requests.Response | None = None
        try:
            prepared = self._prepare(url, headers)
            timeout = min(self.settings.timeout, self.settings.total_time)
            while response is None:
                try:
                    response = self._adapter.send(prepared, stream=True, timeout=timeout, proxies=self._proxies)
                except requests.exceptions.ConnectionError:
                    if exchange.fresh or exchange.late:
                        raise  # else a kept connection that its server was just closing: ask on the next one
            found = {name.lower(): value for name, value in response.headers.items()}
            body = b""
            if 200 <= response.status_code < 300:
                body = self._read(response, found, limit, cut, exchange)
            elif found.get("content-length", "").isdigit() and int(found["content-length"]) <= _CHUNK:
                response.raw.read(_CHUNK, decode_content=False)  # so that the connection can be used again
            return Answer(response.status_code, found, body)
        except Failure:
            raise
        except PrivateAddress as error:
            raise Failure("private_address", str(error), transient=False) from None
        except Exception as error:
            raise self._failure(error, exchange, response) from None
        finally:
            _WATCHDOG.end(exchange)
            if response is not None:
                if exchange.late or not response.raw.closed:
                    response.raw.close()  # not read to its end: the connection is of no use
                response.raw.release_conn()

    def _read(
        self, response: requests.Response, headers: dict[str, str], limit: int, cut: bool, exchange: _Exchange
    ) -> bytes:
        encodings = {part.strip().lower() for part in headers.get("content-encoding", "").split(",")}
        if not encodings <= _ENCODINGS:
            raise Failure(
                "content_encoding", f"unknown Content-Encoding {sorted(encodings)}", transient=False, status=200
            )
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit and not cut:
            raise Failure(
                "too_large", f"{declared} bytes announced, at most {limit} allowed", transient=False, status=200
            )
        chunks: list[bytes] = []
        size = 0
        while chunk := response.raw.read(_CHUNK, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                if cut:
                    return b"".join(chunks)[:limit]
                raise Failure("too_large", f"more than {limit} decoded bytes", transient=False, status=200)
        if exchange.late:
            raise Failure("timeout", f"not whole after {self.settings.total_time:g} s", transient=True, status=200)
        return b"".join(chunks)

    def _prepare(self, url: str, headers: dict[str, str]) -> requests.PreparedRequest:
        """The request for a canonical address."""
        host = urlsplit(url).hostname or ""
        if self.secrets.proxy and not self.settings.allow_private and _is_inner_literal(host):
            raise PrivateAddress(f"{host} is a private address")
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = "GET", url
        prepared.prepare_headers(headers)
        if self._cookies is not None and (cookie := get_cookie_header(self._cookies, prepared)):  # type: ignore[arg-type]
            prepared.headers["Cookie"] = cookie
        return prepared

    def _failure(self, error: Exception, exchange: _Exchange, response: requests.Response | None) -> Failure:
        """A code for whatever requests or urllib3 raised."""
        text = f"{type(error).__name__}: {error}"
        status = response.status_code if response is not None else 0
        if exchange.late:
            text = f"not whole after {self.settings.total_time:g} s"
            return Failure("timeout", text, transient=True, status=status, connected=response is not None)
        causes = _causes(error)
        if any(isinstance(e, urllib3.exceptions.NameResolutionError | socket.gaierror) for e in causes):
            return Failure("dns", text, transient=True, connected=False)
        if any(isinstance(e, urllib3.exceptions.DecodeError) for e in causes):
            return Failure("content_encoding", text, transient=False, status=status)
        if any(isinstance(e, requests.exceptions.SSLError | urllib3.exceptions.SSLError) for e in causes):
            return Failure("tls", text, transient=True, status=status, connected=False)
        if any(
            isinstance(e, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError | TimeoutError) for e in causes
        ):
            return Failure("timeout", text, transient=True, status=status, connected=response is not None)
        if any(
            isinstance(e, requests.exceptions.InvalidURL | urllib3.exceptions.LocationValueError | UnicodeError)
            for e in causes
        ):
            return Failure("bad_url", text, transient=False)
        if response is not None:
            return Failure("broken_body", text, transient=True, status=status)
        refused = any(isinstance(e, urllib3.exceptions.NewConnectionError | ConnectionRefusedError) for e in causes)
        return Failure("connect" if refused else "bad_response", text, transient=True, connected=not refused)


def _is_inner_literal(host: str) -> bool:
    """Whether a host is written as an address, and that is private (with a proxy no peer can be checked)."""
    try:
        return not is_public(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or host.isdigit()


def _causes(error: BaseException) -> list[BaseException]:
    """An error with everything it wraps, whichever way."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return found
