"""Addresses as text: the canonical form that is a web record's own id, same-site tests, and ``file:`` addresses."""

from __future__ import annotations

import functools
import os
import posixpath
import re
import unicodedata
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from diptych.exceptions import SourceError

__all__ = ["BadUrl", "canonical_url", "file_url", "host_of", "join_url", "origin_of", "path_of", "site_of"]

_PORTS = {"http": 80, "https": 443}
_TRACKING = re.compile(r"(utm_\w+|fbclid|gclid|dclid|msclkid|mc_cid|mc_eid|igshid|yclid|_ga)", re.I)
_SECOND_LEVEL = frozenset("ac co com edu gov net or org ne go gob nom".split())
_STOPS = re.compile("[.\u3002\uff0e\uff61]")
_DEVIANT = re.compile("[ßς\u200c\u200d]")
_BREAKS = re.compile(r"[\t\r\n]+")
_LONGEST = 16_000
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_AUTHORITY = re.compile(r"([^:/?#]*)://(?:[^/?#]*@)?([^/?#@]*)")


class BadUrl(SourceError):
    """An address that no request can be made from; the text says why."""


@functools.lru_cache(4096)
def canonical_url(url: str) -> str:
    """One spelling of an http(s) address: two spellings of one page are one record.

    Lower-case scheme and host (IDNA), no default port, dot segments resolved, no fragment, tracking parameters
    dropped, percent-encoding normalised; the order of the query is kept, for it may matter. Idempotent.
    Raises :class:`BadUrl`, also for one that is longer than any server takes.
    """
    try:
        parts = urlsplit(_BREAKS.sub("", url).strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BadUrl(f"{url!r}: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise BadUrl(f"{url!r}: expected http or https, found the scheme {scheme or 'none'!r}")
    if not host:
        raise BadUrl(f"{url!r}: no host")
    netloc = _host(host, url)
    if port and port != _PORTS[scheme]:
        netloc += f":{port}"
    path = _quote(parts.path or "/", "/:@!$&'()*+,;=~-._")
    if "/." in path or "//" in path[:2]:
        path = _resolve_dots(path)
    query = _query(parts.query)
    found = urlunsplit((scheme, netloc, path, query, ""))
    if len(found) > _LONGEST:  # a page's <base> would stand before each of its thousands of references
        raise BadUrl(f"{found[:60]}...: {len(found)} characters, at most {_LONGEST} are allowed")
    return found


def _host(host: str, url: str) -> str:
    if ":" in host:
        return f"[{host}]"
    host = host.rstrip(".")
    try:
        ascii_host = host if host.isascii() else ".".join(_label(label) for label in _STOPS.split(host))
    except UnicodeError as error:
        raise BadUrl(f"{url!r}: the host is no valid name ({error})") from None
    ascii_host = ascii_host.rstrip(".")  # other scripts have full stops of their own
    if not re.fullmatch(r"[a-z0-9._-]{1,253}", ascii_host, re.I) or any(
        len(label) > 63 for label in ascii_host.split(".")
    ):
        raise BadUrl(f"{url!r}: the host {host!r} is no valid name")
    return ascii_host.lower()


def _label(label: str) -> str:
    """A label in ASCII; as in browsers ß is no ss (Python's codec is older than that)."""
    if not _DEVIANT.search(label):
        return label.encode("idna").decode("ascii")
    return "xn--" + unicodedata.normalize("NFKC", label.lower()).encode("punycode").decode("ascii")


def _quote(text: str, safe: str) -> str:
    """Percent-encode what must be, upper-case what is encoded, leave valid escapes alone."""
    encoded = quote(text, safe=safe + "%", errors="surrogatepass")
    encoded = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", encoded)
    return re.sub(r"%[0-9A-Fa-f]{2}", _escape, encoded)


def _escape(match: re.Match[str]) -> str:
    char = chr(int(match.group()[1:], 16))
    return char if char.isascii() and (char.isalnum() or char in "-._~") else match.group().upper()


def _resolve_dots(path: str) -> str:
    """Without dot segments and slashes repeated at the start; others stand, for an address may stand in a path."""
    kept: list[str] = []
    for segment in path.lstrip("/").split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if path.endswith(("/.", "/..")):
        kept.append("")
    return "/" + "/".join(kept).lstrip("/")


def _query(query: str) -> str:
    if not query:
        return ""
    if _TRACKING.search(query):
        kept = [part for part in query.split("&") if not _TRACKING.fullmatch(part.partition("=")[0])]
        query = "&".join(kept)
    return _quote(query, "/:@!$&'()*+,;=~-._?[]")


def join_url(base: str, reference: str) -> str:
    """The canonical address a reference in a page means; :class:`BadUrl` for other schemes and nonsense.

    As in browsers a backslash before the query is a slash.
    """
    path, mark, query = reference.strip().partition("?")
    reference = path.replace("\\", "/") + mark + query
    try:
        return canonical_url(urljoin(base, reference))
    except ValueError as error:
        raise BadUrl(f"{reference!r} in {base}: {error}") from None


def host_of(url: str) -> str:
    """Host and, when not the scheme's own, port of a canonical address; ``file:`` for local ones."""
    if url.startswith("file:"):
        return "file:"
    found = _AUTHORITY.match(url)
    return found.group(2) if found else ""


def origin_of(url: str) -> str:
    """Scheme, host and port: what one robots.txt speaks for."""
    found = _AUTHORITY.match(url)
    return f"{found.group(1).lower()}://{found.group(2)}" if found else "://"


def site_of(url: str) -> str:
    """The site an address belongs to: the last two labels of its host, three below ``co.uk`` and the like."""
    host = urlsplit(url).hostname or ""
    labels = host.split(".")
    if host.replace(".", "").isdigit() or ":" in host or len(labels) < 3:
        return host_of(url) if host.replace(".", "").isdigit() else host
    count = 3 if labels[-2] in _SECOND_LEVEL and len(labels[-1]) == 2 else 2
    return ".".join(labels[-count:])


def file_url(relative: str) -> str:
    """``file:`` and a path below the source's folder; bytes that are no UTF-8, '%' and controls are escaped."""
    return "file:" + "".join(_file_char(char) for char in relative.replace(os.sep, "/"))


def _file_char(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"%{ord(char) - 0xDC00:02X}"
    return f"%{ord(char):02X}" if char == "%" or char < " " or char == "\x7f" else char


def path_of(url: str) -> str:
    """The relative path a ``file:`` address means; :class:`BadUrl` when it leaves the folder."""
    data = url.removeprefix("file:").encode("utf-8", "surrogateescape")
    relative = os.fsdecode(_PERCENT.sub(lambda match: bytes([int(match.group(1), 16)]), data))
    normal = posixpath.normpath(relative)
    if relative.startswith("/") or normal == ".." or normal.startswith("../") or "\0" in relative or not relative:
        raise BadUrl(f"{url!r}: expected a path below the source's folder")
    return normal
