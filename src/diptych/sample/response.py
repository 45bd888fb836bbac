"""An answer of the site before any network: status, headers, body, and how it is delivered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime


@dataclass(frozen=True)
class Response:
    """`pace`: normal, slow or stall (the server waits before it answers); `flaky`: the server answers 503 the first
    time.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pace: str = "normal"
    flaky: bool = False


def stamp(moment: str) -> str:
    """Return an ISO time as an HTTP date."""
    return format_datetime(datetime.fromisoformat(moment).astimezone(UTC), usegmt=True)


def etag(*parts: object) -> str:
    """Return a strong ETag from what decides the bytes."""
    return '"' + hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:20] + '"'


def unchanged(headers: Mapping[str, str], tag: str, modified: str) -> bool:
    """Return whether a conditional request may be answered with 304; If-None-Match wins over If-Modified-Since."""
    known = {name.lower(): value for name, value in headers.items()}
    if "if-none-match" in known:
        return known["if-none-match"].strip() in ("*", tag) or tag in [
            part.strip() for part in known["if-none-match"].split(",")
        ]
    if "if-modified-since" in known:
        try:
            return parsedate_to_datetime(known["if-modified-since"]) >= parsedate_to_datetime(modified)
        except ValueError:
            return False
    return False


def not_modified(tag: str, modified: str) -> Response:
    """Return a 304 answer."""
    return Response(304, headers={"ETag": tag, "Last-Modified": modified})


def delivered(response: Response, kind: str) -> Response:
    """Return the response as a delivery kind wants it: slow, timeout (the server stalls) or flaky; others as it is."""
    pace = {"slow": "slow", "timeout": "stall"}.get(kind, "normal")
    return replace(response, pace=pace, flaky=kind == "flaky")


def plain(status: int, text: str) -> Response:
    """Return a short answer in plain text."""
    return Response(status, (text + "\n").encode(), {"Content-Type": "text/plain; charset=utf-8"})


def redirect(target: str, status: int = 302) -> Response:
    """Return a redirection to a path of the same site."""
    return Response(status, b"", {"Location": target})
