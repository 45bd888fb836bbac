"""Pictures inside larger files: their addresses, and the records that a torn file still holds."""

from __future__ import annotations

from collections.abc import Iterator

from diptych.sources.base import Missed
from diptych.sources.fetch import Fetcher
from diptych.sources.urls import file_url

__all__ = ["member_url", "torn"]


def member_url(container: str, member: str) -> str:
    """``file:shard.tar!/a.jpg``: a member of a file, by its path below the source's folder."""
    return f"{file_url(container)}!/{file_url(member).removeprefix('file:')}"


def torn(fetcher: Fetcher, container: str, began: set[str]) -> Iterator[Missed]:
    """A file that cannot be read to its end: what earlier crawls read from its rest keeps its last good content."""
    url = file_url(container)
    yield Missed(container, url, "failed_transient", "torn")
    for state in fetcher.known_records():
        if state.url.startswith(url + "!/") and state.source_id not in began and state.outcome != "left":
            yield Missed(state.source_id, state.url, "failed_transient", "torn")
