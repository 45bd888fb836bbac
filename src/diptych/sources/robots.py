"""What a publisher forbids: robots.txt per origin, X-Robots-Tag and meta robots per answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from protego import Protego

__all__ = ["RobotsRules", "directives", "forbidden", "robots_url"]

_MAX_BYTES = 512_000
_VERSION = re.compile(r"((?:^|(?<=\r))[ \t]*user-?agent[ \t]*:[ \t]*[a-z_-]+)/[^\r\n]*", re.I | re.M)
"""``User-agent: Diptych/1.0``, as it stands in a server's log; rules are for the name alone."""
_NAME = re.compile(r"\*|[a-z][\w-]*")
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


@dataclass(frozen=True)
class RobotsRules:
    """The rules of one origin. ``unreachable`` forbids everything for now, without a file all is allowed."""

    rules: Protego | None = None
    unreachable: bool = False

    @classmethod
    def from_answer(cls, outcome: str, status: int, data: bytes | None) -> RobotsRules:
        """RFC 9309: a 4xx or failed redirects allow all; a 5xx, 429, no answer or an unreadable one nothing for now.

        An address that is not asked for at all (private, say) has no rules: its pages are not asked for either.
        """
        if data is not None:
            if len(data) >= _MAX_BYTES:  # a rule that is cut means another one
                data = data[:_MAX_BYTES].rpartition(b"\n")[0]
            text = data.decode("utf-8-sig", "replace").replace("\0", "")
            text = _VERSION.sub(r"\1", text)
            try:
                return cls(Protego.parse(text))
            except Exception:  # a parser's bug must not hang the pages that wait for the rules
                return cls(unreachable=True)
        if 400 <= status < 500 and status != 429:
            return cls()
        return cls(unreachable=outcome == "failed_transient" or 200 <= status < 300)

    def allows(self, url: str, agent: str) -> bool:
        """Whether ``agent`` may ask for ``url``."""
        return not self.unreachable and (self.rules is None or self.rules.can_fetch(url, agent))

    def delay(self, agent: str) -> float:
        """Seconds between two requests: Crawl-delay or Request-rate, 0 when neither is stated."""
        if self.rules is None:
            return 0.0
        rate = self.rules.request_rate(agent)
        spacing = rate.seconds / rate.requests if rate is not None and rate.requests else 0.0
        return max(float(self.rules.crawl_delay(agent) or 0.0), spacing)

    def sitemaps(self) -> tuple[str, ...]:
        """The sitemaps that the file names."""
        return tuple(self.rules.sitemaps) if self.rules is not None else ()


def robots_url(origin: str) -> str:
    """Where an origin's robots.txt is."""
    return f"{origin}/robots.txt"


def directives(values: Iterable[str], agent: str) -> frozenset[str]:
    """Directives that hold for ``agent`` in X-Robots-Tag headers or meta robots: ``noindex, otherbot: noai``.

    A name before a colon limits what follows it in the same value to that crawler. A header that came several times
    is several values, one a line.
    """
    found: set[str] = set()
    for value in "\n".join(values).split("\n"):
        applies = True
        for part in re.split(r"[,;]", value.lower()):
            head, colon, rest = part.strip().partition(":")
            if colon and _NAME.fullmatch(head.strip()) and head.strip() not in _VALUED:
                applies = head.strip() in (agent.lower(), "*", "robots")
                head = rest
            if applies and head.strip():
                found.add(head.strip())
    return frozenset(found)


def forbidden(found: frozenset[str], respect: Iterable[str], image: bool) -> str:
    """The first respected directive that forbids keeping a page (or, with ``image``, an image); else empty."""
    respected = set(respect)
    if "none" in found and respected & {"none", "noindex"}:  # it means noindex and nofollow
        return "noindex"
    names = ("noindex", "noai", "noml") + (("noimageindex", "noimageai") if image else ())
    return next((name for name in names if name in found and name in respected), "")
