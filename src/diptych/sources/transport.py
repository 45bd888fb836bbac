"""One request over requests' adapter: time and decoded size bounded, nothing followed, every failure with a code."""

from __future__ import annotations

import http.cookiejar
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3
from requests.cookies import get_cookie_header
from requests.utils import check_header_validity

from diptych.exceptions import RecipeError
from diptych.sources.address import PrivateAddress, is_public
from diptych.sources.connections import WATCHDOG, Adapter, Exchange
from diptych.sources.settings import FetchSettings, Secrets, user_agent
from diptych.sources.urls import origin_of

__all__ = ["Answer", "Failure", "Transport"]

_CHUNK = 65_536
_MOST = 1 << 20
"""Bytes to read at once, of coded bodies and of others whose length is announced."""
_TAG = "x-robots-tag"
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.I)
_UNCODED = frozenset({"", "identity"})
_ENCODINGS = _UNCODED | {"gzip", "x-gzip", "deflate"}


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
    """Status, headers (lower-case names; repeated ones joined by a comma, X-Robots-Tag's by lines), decoded body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport:
    """Requests with one source's identity, limits and secrets; safe to use from several threads."""

    def __init__(self, settings: FetchSettings, secrets: Secrets, own_origins: frozenset[str]) -> None:
        self.settings = settings
        self.secrets = secrets
        self.own_origins = own_origins
        self._agent = user_agent(settings)
        # A proxy resolves and connects by itself: its own address may be private, and peers cannot be checked.
        self._proxies = {"http": secrets.proxy, "https": secrets.proxy} if secrets.proxy else {}
        self._adapter = Adapter(settings.allow_private or bool(secrets.proxy), settings.per_host)
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

    def get(self, url: str, limit: int, conditional: dict[str, str], accept: str, cut: bool = False) -> Answer:
        """One GET; :class:`Failure` for everything but a whole answer. ``cut`` keeps the start of a longer body."""
        headers = {"User-Agent": self._agent, "Accept": accept, "Accept-Encoding": "gzip, deflate"}
        more = conditional | dict(self.secrets.headers) if origin_of(url) in self.own_origins else conditional
        exchange = WATCHDOG.begin(self.settings.total_time)
        response: requests.Response | None = None
        try:
            for header in more.items():
                check_header_validity(header)
            prepared = self._prepare(url, headers | more)
            timeout = min(self.settings.timeout, self.settings.total_time)
            while response is None:
                try:
                    response = self._adapter.send(prepared, stream=True, timeout=timeout, proxies=self._proxies)
                except requests.exceptions.ConnectionError:
                    if exchange.fresh or exchange.late:
                        raise  # else a kept connection that its server was just closing: ask on the next one
            found = {name.lower(): value for name, value in response.raw.headers.itermerged()}
            if _TAG in found:  # each speaks for itself: what one says to another crawler must not swallow the next
                found[_TAG] = "\n".join(" ".join(tag.split()) for tag in response.raw.headers.getlist(_TAG))
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
            WATCHDOG.end(exchange)
            if response is not None:
                if exchange.late or not response.raw.closed:
                    response.raw.close()  # not read to its end: the connection is of no use
                response.raw.release_conn()

    def _read(
        self, response: requests.Response, headers: dict[str, str], limit: int, cut: bool, exchange: Exchange
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
        coded, announced = not encodings <= _UNCODED, response.raw.length_remaining
        whole = -1 if coded or announced is None else announced
        step = _CHUNK if whole < 0 else min(whole, _MOST) or 1
        chunks: list[bytes] = []
        size = 0
        while (size < whole or whole <= 0) and (chunk := response.raw.read(step, decode_content=coded)):
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                if cut:
                    return b"".join(chunks)[:limit]
                raise Failure("too_large", f"more than {limit} decoded bytes", transient=False, status=200)
        if exchange.late:
            raise Failure("timeout", f"not whole after {self.settings.total_time:g} s", transient=True, status=200)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _prepare(self, url: str, headers: dict[str, str]) -> requests.PreparedRequest:
        """The request for a canonical address."""
        if self.secrets.proxy and not self.settings.allow_private:
            host = urlsplit(url).hostname or ""
            if _is_inner_literal(host):
                raise PrivateAddress(f"{host} is a private address")
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = "GET", url
        prepared.headers = headers  # type: ignore[assignment]  # nothing below looks one up by another case
        if self._cookies is not None and (cookie := get_cookie_header(self._cookies, prepared)):  # type: ignore[arg-type]
            prepared.headers["Cookie"] = cookie
        return prepared

    def _failure(self, error: Exception, exchange: Exchange, response: requests.Response | None) -> Failure:
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
    """Whether a host is written as an address, and that is private (with a proxy no peer can be checked).

    Also in the old spellings: ``127.1``, ``0x7f000001``, ``0177.0.0.1``.
    """
    try:
        return not is_public(host.strip("[]"))
    except ValueError:
        pass
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return not is_public(socket.inet_ntoa(socket.inet_aton(host)))
        except OSError:
            return True  # no address that this machine knows; the proxy may
    return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


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
