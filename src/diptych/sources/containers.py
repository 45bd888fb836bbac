"""Pictures inside larger files: sources of such files, their addresses, and the records that a torn one still holds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from diptych.records import Found
from diptych.sources.base import Missed, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.folder import walk_files
from diptych.sources.malformed import Malformed
from diptych.sources.spool import Spool
from diptych.sources.urls import file_url

__all__ = ["ContainerConfig", "Containers", "member_url", "torn"]


class ContainerConfig(SourceConfig):
    """Settings that sources of container files share."""

    path: str = Field(description="One file, or a folder with such files at any depth, relative to the recipe")
    max_malformed: int = Field(default=100, ge=0, description="More malformed entries than this end the crawl")


class Containers(Source):
    """Records from one container file or from all of a folder, file by file in sorted order."""

    config: ContainerConfig
    endings: ClassVar[tuple[str, ...]]
    torn_by: ClassVar[tuple[type[Exception], ...]]
    """What reading a damaged file raises."""

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Entries that were left out: file, place, what is wrong."""

    def files(self) -> Path:
        """``file:`` addresses are relative to the folder."""
        path = self.path(self.config.path, "path")
        return path if path.is_dir() else path.parent

    def names(self) -> Iterator[str]:
        """The files, relative to the folder."""
        path = self.path(self.config.path, "path")
        if path.is_file():
            yield path.name
            return
        yield from (name for name in walk_files(path) if name.endswith(self.endings))

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """Every record; of a file that breaks off those before the break, and what earlier crawls read of its rest."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        with Spool() as seen:
            for name in self.names():
                began: set[str] = set()
                try:
                    yield from self.read_file(fetcher, name, malformed, seen, began)
                except self.torn_by as error:
                    malformed.add(self.files() / name, "file", f"a whole {self.endings[0][1:]} file", error)
                    yield from torn(fetcher, name, began)

    @abstractmethod
    def read_file(
        self, fetcher: Fetcher, name: str, malformed: Malformed, seen: Spool, began: set[str]
    ) -> Iterator[Found | Missed]:
        """The records of one file; their ids go to ``seen`` (those of all files) and ``began`` (of this one)."""


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
