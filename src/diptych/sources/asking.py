"""One request from its address to a verdict on what came: pure work that any process may do.

What decides *whether* and *when* to ask (the log, robots.txt, the host's lane, retries) stays with the fetcher;
what costs time (connecting, reading, hashing, storing) is here, so that worker processes can do it as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from diptych.naming import digest_bytes
from diptych.sources.answers import Kind, unfit
from diptych.sources.robots import directives, forbidden
from diptych.sources.transport import Failure, Transport
from diptych.sources.unlink import unlink
from diptych.storage.blobs import Blobs
from diptych.storage.snapshot import Forgotten

__all__ = ["NOT_WHOLE", "Reply", "Request", "ask"]

_ACCEPT: dict[Kind, str] = {
    "page": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.5",
    "image": "image/*,*/*;q=0.5",
}
_KEPT = ("etag", "last-modified", "content-type", "x-robots-tag", "location", "retry-after")
_ROBOTS_BYTES = 512_000


@dataclass(frozen=True, slots=True)
class Request:
    """One GET: a canonical address, what it should be, and the headers that make it conditional."""

    url: str
    kind: Kind
    conditional: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it. ``outcome`` is empty when the status (a redirect, 304, an error) is for the fetcher to judge."""

    outcome: str = ""
    """ok (there is a blob), refused, failed_permanent, or failed_transient for a request without an answer."""
    code: str = ""
    text: str = ""
    status: int = 0
    connected: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    """The few that matter later, lower-case."""
    sha256: str = ""
    size: int = 0
    body: bytes = b""
    """Of everything but pictures, whose bytes nobody reads here."""


NOT_WHOLE = frozenset({202, 206})
"""Successes without the document: accepted, perhaps there later (so some doors ask who comes); a piece, unasked."""


def ask(request: Request, transport: Transport, blobs: Blobs, forgotten: Forgotten) -> Reply:
    """Send it, judge what came, store a good body; never raises for what a server does."""
    settings = transport.settings
    limit = {"image": settings.max_image, "robots": _ROBOTS_BYTES}.get(request.kind, settings.max_page)
    accept = _ACCEPT.get(request.kind, "*/*")
    try:
        answer = transport.get(request.url, limit, request.conditional, accept, request.kind == "robots")
    except Failure as failure:
        outcome = "failed_transient" if failure.transient else "failed_permanent"
        if failure.code == "private_address":
            outcome = "refused"
        return Reply(outcome, failure.code, failure.text, failure.status, failure.connected)
    status, body = answer.status, answer.body
    headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
    if not 200 <= status < 300 or status in NOT_WHOLE:
        return Reply(status=status, headers=headers)
    content_type = headers.get("content-type", "").lower()
    tag = headers.get("x-robots-tag", "")
    if tag and request.kind in ("page", "image"):
        found = directives([tag], settings.agent)
        if code := forbidden(found, settings.respect, request.kind == "image"):
            return Reply("refused", code, f"X-Robots-Tag: {tag}", status)
    if code := unfit(request.kind, body, content_type):
        return Reply("failed_permanent", code, f"Content-Type {content_type}", status)
    sha256 = digest_bytes(body)
    if sha256 in forgotten:
        return Reply("refused", "forgotten", "", status)
    if forgotten.hashes and request.kind in ("page", "sitemap", "api"):
        cleaned = unlink(body, request.url, lambda url: url in forgotten)
        if cleaned is not body:
            body, sha256 = cleaned, digest_bytes(cleaned)
    blobs.put(body, sha256)
    return Reply("ok", "", "", status, True, headers, sha256, len(body), b"" if request.kind == "image" else body)
