"""Entries of a file that cannot be read: counted, named by file and line, and too many of them end the crawl."""

from __future__ import annotations

from pathlib import Path

from diptych.exceptions import SourceError

__all__ = ["Malformed"]


class Malformed:
    """What one crawl of a source left out; ``lines`` is for people, :class:`SourceError` comes above ``most``."""

    def __init__(self, source: str, most: int) -> None:
        self.source, self.most = source, most
        self.lines: list[str] = []

    def add(self, path: Path, where: str, expected: str, found: object) -> None:
        """Note one entry: ``where`` it stands in the file, what was expected there and what was found."""
        self.lines.append(f"{path.name}: {where}: expected {expected}, found {str(found)[:120]}")
        if len(self.lines) > self.most:
            shown = "\n".join(self.lines[:10])
            raise SourceError(
                f"source {self.source!r}: more than {self.most} malformed entries; the first are\n{shown}\n"
                "repair the file, or raise max_malformed"
            )
