"""Taking forgotten addresses out of pages that only mention them: lists, sitemaps, feeds, answers of searches.

What is forgotten is not kept, and a site's own list of articles would bring its address back with every crawl. Only
hashes of forgotten addresses are known, so each address in a body is resolved and hashed. What stands in its place is
no address for anybody. The text around it is the page's own and stays.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from diptych.sources.feeds import unpacked
from diptych.sources.urls import BadUrl, join_url

__all__ = ["GZIP", "NOWHERE", "unlink"]

GZIP = b"\x1f\x8b"

NOWHERE = "about:invalid"
"""What stands where a forgotten address stood."""

_ADDRESSES = re.compile(
    rb"""(?:\b(?:href|src|srcset|content|action|poster|cite|url|loc|data-[a-z-]{1,60})\s*=\s*)(?:"([^"]*)"|'([^']*)'|([^\s>"']+))"""
    rb"""|(https?:\\?/\\?/[^\s"'<>\]]+)""",
    re.I,
)
_TRAILING = ".,;:!?)"


def unlink(body: bytes, base: str, forgotten: Callable[[str], bool]) -> bytes:
    """``body`` with every address for which ``forgotten`` is true replaced; the very same object when there is none.

    ``base`` is the page's own address; relative references are resolved against it. A gzipped sitemap that
    has one comes back unpacked.
    """
    if base.startswith("file:"):
        return body
    if body[:2] == GZIP:
        plain = unpacked(body)
        found = body if plain[:2] == GZIP else unlink(plain, base, forgotten)
        return body if found is plain else found
    known: dict[bytes, bytes] = {}

    def clean(value: bytes) -> bytes:
        if value not in known:
            known[value] = _clean(value, base, forgotten)
        return known[value]

    def replace(match: re.Match[bytes]) -> bytes:
        number = match.lastindex or 0
        value = match.group(number) if number else b""
        cleaned = clean(value) if value else value
        if cleaned is value or cleaned == value:
            return match.group()
        start = match.start(number) - match.start()
        whole = match.group()
        return whole[:start] + cleaned + whole[start + len(value) :]

    found = _ADDRESSES.sub(replace, body)
    return body if found == body else found


def _clean(value: bytes, base: str, forgotten: Callable[[str], bool]) -> bytes:
    """One attribute's value: an address, or several with blanks and commas between them (``srcset``)."""
    text = value.decode("utf-8", "surrogateescape")
    if _means(text, base, forgotten):
        return NOWHERE.encode()
    if not re.search(r"[\s,]", text):
        return value
    pieces = re.split(r"([\s,]+)", text)
    if len(pieces) > 400:  # prose, not a list of addresses
        return value
    kept = [NOWHERE if piece.strip() and _means(piece, base, forgotten) else piece for piece in pieces]
    return "".join(kept).encode("utf-8", "surrogateescape")


def _means(reference: str, base: str, forgotten: Callable[[str], bool]) -> bool:
    plain = html.unescape(reference).replace("\\/", "/").strip()
    for spelled in dict.fromkeys((plain, plain.rstrip(_TRAILING))):
        if not spelled or spelled.startswith(("#", "data:", "javascript:", "mailto:")):
            continue
        try:
            if forgotten(join_url(base, spelled.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))):
                return True
        except BadUrl:
            continue
    return False
