"""The source contract: settings, and a stream of records; bytes are fetched through the :class:`Fetcher` alone.

A source is one module with one subclass of :class:`Source` and one line in ``sources/__init__.py``. Its author
writes ``crawl``; politeness, retries, the log, reuse after a crash and forgetting are the fetcher's.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from diptych.exceptions import RecipeError
from diptych.records import Found
from diptych.settings import Settings

if TYPE_CHECKING:
    from diptych.sources.fetch import Fetcher
    from diptych.sources.settings import FetchSettings

__all__ = ["Missed", "Read", "Source", "SourceConfig", "SuggestedSource"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class SourceConfig(Settings):
    """Settings every source has; unknown keys are refused."""

    kind: str = Field(description="A kind of source, or module:Class of one of your own")
    name: str = Field(description="Part of every record id: keep it for ever")
    subset: str = Field(default="", description="A column of the records; the name when empty")
    licence: str = Field(
        default="", max_length=200, description="Licence of its data where a record or picture names none itself"
    )
    min_success: float = Field(default=0.5, ge=0, le=1, description="Share of URLs that must be fetched well")

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name: lower-case letters, digits, '_', '-', '.', at most 64")
        return name


@dataclass(frozen=True)
class Missed:
    """A record that the source knows of but could not read now; its last good content is kept.

    ``outcome`` is gone, refused, failed_transient, failed_permanent, or ``left``: no longer part of the source.
    """

    source_id: str
    url: str
    outcome: str
    code: str


@dataclass(frozen=True)
class Read(Found):
    """A record read well; ``page`` is the SHA-256 of the bytes it was read from, ``extractor`` how."""

    page: str = ""
    extractor: str = ""


@dataclass(frozen=True)
class SuggestedSource:
    """What ``diptych init --from`` proposes: settings that :func:`open_source` takes, and why."""

    settings: dict[str, object]
    reasons: tuple[str, ...] = ()
    records: int | None = None
    """How many records there seem to be, None when only a crawl can tell."""


class Source(ABC):
    """Where documents come from; ``crawl`` yields them one after the other and holds no corpus in memory."""

    Config: ClassVar[type[SourceConfig]] = SourceConfig
    complete: ClassVar[bool] = True
    """Whether a record that a finished crawl did not yield is no longer part of the source."""

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        self.config = config
        self.recipe_folder = folder

    @property
    def name(self) -> str:
        """The name in record ids."""
        return self.config.name

    @property
    def subset(self) -> str:
        """The subset column of its records."""
        return self.config.subset or self.config.name

    def check(self) -> None:  # noqa: B027 - optional to override
        """Raise :class:`SourceError` or :class:`RecipeError` before a crawl begins when it cannot be read at all."""

    def fetch_settings(self) -> FetchSettings | None:
        """How its URLs are fetched; None when it fetches none."""
        return None

    def own_urls(self) -> tuple[str, ...]:
        """Canonical addresses whose origins (scheme, host and port) may see the source's secret headers."""
        return ()

    def files(self) -> Path | None:
        """The folder that its ``file:`` addresses are relative to, None when it has no files."""
        return None

    @abstractmethod
    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """Every record of the source; pictures are named, not fetched: the crawl fetches them in parallel."""

    def path(self, value: str, key: str) -> Path:
        """A path of the settings, relative to the recipe's folder; :class:`RecipeError` when absent."""
        path = (self.recipe_folder / Path(value).expanduser()).absolute()
        if not path.exists():
            raise RecipeError(f"source {self.name!r}, {key}: expected an existing file or folder, found none at {path}")
        return path
