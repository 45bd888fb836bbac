"""What a fetch asks for and what it gives, and how an answer's parts are judged."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass
from datetime import UTC
from typing import Literal

from diptych.sources.sniff import is_page, looks_like_image

__all__ = ["FetchMode", "Fetched", "Kind", "retry_after", "unfit"]

Kind = Literal["page", "image", "robots", "sitemap", "file", "api"]
"""``api`` is an endpoint that the recipe names: its publisher's terms govern it, robots.txt is for crawled pages."""
FetchMode = Literal["conditional", "refresh", "retry_failed", "offline"]


@dataclass(frozen=True)
class Fetched:
    """What became of one URL: ``ok`` and ``not_modified`` have bytes, under ``key`` in the blobs."""

    url: str
    final_url: str
    outcome: str
    code: str = ""
    status: int = 0
    key: str = ""
    bytes: int = 0
    content_type: str = ""
    robots: str = ""
    """The X-Robots-Tag that came with it."""
    data: bytes | None = None
    """The bytes of a page, sitemap, robots.txt or file; None for images and when there are none."""

    @property
    def ok(self) -> bool:
        """Whether there are bytes."""
        return self.outcome in ("ok", "not_modified")


def unfit(kind: Kind, body: bytes, content_type: str) -> str:
    """Why a body is not of the kind that was asked for; empty when it is."""
    if kind == "robots":
        return ""
    if not body:
        return "empty"
    if kind == "image":
        return "" if looks_like_image(body, content_type) else "not_an_image"
    return "" if kind != "page" or is_page(body, content_type) else "not_a_page"


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date; 0 when absent or past."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = email.utils.parsedate_to_datetime(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # of the three forms, one names no zone
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
