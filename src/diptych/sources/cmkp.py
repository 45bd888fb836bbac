"""Posts with keyphrases as the public multimodal keyphrase releases have them, one a line.

Wang et al. 2020 (CMKP): ``post<sep>keyphrase;keyphrase<sep>image address``. The MM-MKP authors' files add what they
had read in the picture: ``post <seg> OCR <seg> entity ; entity<sep>keyphrases<sep>address<sep>tensor([[p0, p1]])<sep>
0|1<sep>entities``; that text, those entities and the score of image-text matching are kept in ``extra``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from diptych.exceptions import RecipeError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.malformed import Malformed
from diptych.sources.settings import FetchSettings, RemoteConfig
from diptych.sources.spool import Spool
from diptych.sources.tables import extra_json
from diptych.sources.urls import BadUrl, canonical_url, file_url

__all__ = ["Cmkp", "CmkpConfig"]

_SCORE = re.compile(r"tensor\(\[\[\s*([\d.e+-]+)\s*,\s*([\d.e+-]+)\s*\]\]\)")
_LONGEST = 100_000
"""Characters of a line; the released ones have some thousands."""


class CmkpConfig(RemoteConfig):
    """Settings of a keyphrase release."""

    kind: Literal["cmkp"] = "cmkp"  # pyright: ignore[reportIncompatibleVariableOverride]
    splits: dict[Literal["train", "dev", "test"], str] = Field(description="Split: file, relative to the recipe")
    pictures: Literal["fetch", "folder", "none"] = Field(
        default="fetch", description="From their addresses; from 'images', by the address's last part; or left out"
    )
    images: str = Field(default="", description="Folder of the pictures")
    language: str = Field(default="en", max_length=8, description="ISO 639-1 of all texts")
    max_malformed: int = Field(default=100, ge=0, description="More malformed lines than this end the crawl")


class Cmkp(Source):
    """One record a post, named by its picture's address."""

    Config = CmkpConfig
    config: CmkpConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Lines that were left out: file, line, what is wrong."""

    def fetch_settings(self) -> FetchSettings:
        """The politeness settings."""
        return self.config.fetch_settings()

    def files(self) -> Path | None:
        """The folder of pictures, where there is one."""
        return self.path(self.config.images, "images") if self.config.pictures == "folder" else None

    def check(self) -> None:
        """The files exist; a folder is named where pictures come from one."""
        if not self.config.splits:
            raise RecipeError(f"source {self.name!r}, splits: expected at least one of train, dev, test")
        for split, value in self.config.splits.items():
            if not self.path(value, f"splits.{split}").is_file():
                raise RecipeError(f"source {self.name!r}, splits.{split}: expected a file, found a folder: {value}")
        if self.config.pictures == "folder" and not self.config.images:
            raise RecipeError(f"source {self.name!r}, images: `pictures: folder` needs the folder")

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """Posts in the order test, dev, train, so that one that stands in several files is in the most protected."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        with Spool() as seen:
            for split in ("test", "dev", "train"):
                if split not in self.config.splits:
                    continue
                path = self.path(self.config.splits[split], f"splits.{split}")
                for number, line in _lines(path):
                    try:
                        found = self._found(line, split)
                    except ValueError as error:
                        malformed.add(path, f"line {number}", "post<sep>keyphrase;keyphrase<sep>address", error)
                        continue
                    if seen.get(found.source_id):
                        malformed.add(path, f"line {number}", "each picture's address once", found.source_id)
                        continue
                    seen.fill([(found.source_id, "seen")])
                    yield found

    def _found(self, line: str, split: str) -> Found:
        """The record of one line; ``ValueError`` says what it lacks."""
        parts = [part.strip() for part in line.split("<sep>")]
        if len(parts) not in (3, 6) or len(line) > _LONGEST:
            raise ValueError(f"{len(parts)} parts, {len(line)} characters: {line[:60]}")
        text, phrases, address = parts[:3]
        extra: dict[str, Any] = {}
        if len(parts) == 6:
            text, *read = (part.strip() for part in text.split("<seg>"))
            extra |= {"ocr": read[0] if read else "", "entities": _listed(parts[5]), "image_adds": _label(parts[4])}
            extra["matching_score"] = _score(parts[3])
        keyphrases = tuple(_listed(phrases))
        if not text or not keyphrases:
            raise ValueError(f"{'no post' if not text else 'no keyphrase'}: {line[:60]}")
        try:
            address = canonical_url(address)
        except BadUrl as error:
            raise ValueError(str(error)) from None
        document = Document(text=text, language=self.config.language, keyphrases=keyphrases, extra=extra_json(extra))
        pictures = ()
        if self.config.pictures == "fetch":
            pictures = (Picture(address, text),)
        elif self.config.pictures == "folder":
            pictures = (Picture(file_url(address.rsplit("/", 1)[-1]), text),)
        return Found(address, f"post:{address}", document, pictures, split)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def _listed(text: str) -> list[str]:
    """Phrases between semicolons, each once."""
    return list(dict.fromkeys(" ".join(part.split()) for part in text.split(";") if part.strip()))


def _label(text: str) -> int:
    if text not in ("0", "1"):
        raise ValueError(f"the label of image-text matching is 0 or 1, found {text!r}")
    return int(text)


def _score(text: str) -> float:
    """The second number: the share of "the picture adds"; read by its form, never evaluated."""
    match = _SCORE.fullmatch(text)
    if match is None:
        raise ValueError(f"expected tensor([[p0, p1]]), found {text[:40]!r}")
    return float(match[2])
