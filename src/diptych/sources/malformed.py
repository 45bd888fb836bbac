"""Entries of a file that cannot be read: counted, named by file and line, and too many of them end the crawl."""

from __future__ import annotations

from pathlib import Path

from diptych.exceptions import SourceError
from diptych.sources.fields import Wrong, shown

__all__ = ["Malformed"]

_NOTED = 100
"""Lines kept of entries that end no crawl, however many they are."""


class Malformed:
    """What one crawl of a source left out; ``lines`` is for people, :class:`SourceError` comes above ``most``."""

    def __init__(self, source: str, most: int) -> None:
        self.source, self.most = source, most
        self.lines: list[str] = []

    def add(self, path: Path, where: str, expected: str, found: object) -> None:
        """Note one entry: ``where`` it stands in the file, what was expected there and what was found."""
        self.lines.append(_line(path.name, where, expected, found))
        if len(self.lines) > self.most:
            raise SourceError(
                f"source {self.source!r}: more than {self.most} malformed entries; the first are\n{self._first()}\n"
                "repair the file, or raise max_malformed"
            )

    def add_wrong(self, path: Path, where: str, wrong: Wrong) -> None:
        """Note one entry for a field of it."""
        self.add(path, where, f"{wrong.expected} in {wrong.where!r}", wrong.found)

    def note(self, url: str, wrong: Wrong) -> None:
        """Name a file (by its ``file:`` address) that is a failed record: those end no crawl."""
        if len(self.lines) < _NOTED:
            self.lines.append(_line(url.removeprefix("file:"), wrong.where, wrong.expected, wrong.found))

    def check_some(self, path: Path, good: bool) -> None:
        """:class:`SourceError` when entries were left out and there is no good one: the file as a whole is wrong."""
        if self.lines and not good:
            raise SourceError(
                f"source {self.source!r}, {path}: expected at least one entry that can be read, found none; "
                f"the first are\n{self._first()}\nrepair the file"
            )

    def _first(self) -> str:
        return "\n".join(self.lines[:10])


def _line(name: str, where: str, expected: str, found: object) -> str:
    text = str(found) if isinstance(found, str | Exception) else shown(found)
    return f"{name}: {where}: expected {expected}, found {text[:120]}"
