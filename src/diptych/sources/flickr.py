"""Flickr8k and Flickr30k: token files (``img.jpg#0<TAB>caption``), split lists, and Karpathy's JSON.

One record an image, named by its file; its captions in the order of their numbers. Official splits come from lists of
file names (``Flickr_8k.trainImages.txt``) or from the JSON, where ``val`` is dev and ``restval`` is train. Without a
token file the captions are the JSON's ``sentences``. The boxes and phrases of Flickr30k Entities, where given, go to
the picture's ``extra`` (:mod:`diptych.sources.flickr_entities`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from diptych.exceptions import RecipeError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.flickr_entities import read_entities
from diptych.sources.karpathy import karpathy_images
from diptych.sources.malformed import Malformed
from diptych.sources.spool import Spool
from diptych.sources.tables import extra_json
from diptych.sources.urls import file_url

__all__ = ["Flickr", "FlickrConfig"]

_LINE = re.compile(r"([^#\t]+)#(\d{1,4})\t(.*)")


class FlickrConfig(SourceConfig):
    """Settings of a Flickr8k/30k source; paths are relative to the recipe."""

    kind: Literal["flickr"] = "flickr"  # pyright: ignore[reportIncompatibleVariableOverride]
    images: str = Field(description="The folder with the image files")
    captions: str = Field(default="", description="Flickr8k.token.txt, results_20130124.token; of the JSON when empty")
    karpathy: str = Field(default="", description="dataset_flickr8k.json or dataset_flickr30k.json")
    splits: dict[Literal["train", "dev", "test"], str] = Field(default={}, description="Split: file with image names")
    entities: str = Field(default="", description="Flickr30k Entities: the folder with Annotations/ and Sentences/")
    language: str = Field(default="en", max_length=8, description="ISO 639-1 of all texts")
    max_malformed: int = Field(default=100, ge=0, description="More malformed entries than this end the crawl")

    @model_validator(mode="after")
    def _captioned(self) -> FlickrConfig:
        if not (self.captions or self.karpathy):
            raise ValueError("a flickr source needs 'captions' (a token file) or 'karpathy' (its JSON)")
        return self


class Flickr(Source):
    """Images with numbered captions."""

    Config = FlickrConfig
    config: FlickrConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Lines that were left out: file, line, what is wrong."""

    def files(self) -> Path:
        """``file:`` addresses are relative to the image folder."""
        return self.path(self.config.images, "images")

    def check(self) -> None:
        """Folder and files exist."""
        if not self.files().is_dir():
            raise RecipeError(f"source {self.name!r}, images: expected a folder, found a file: {self.files()}")
        named = {"captions": self.config.captions, "karpathy": self.config.karpathy}
        for key, value in {**named, **{f"splits.{k}": v for k, v in self.config.splits.items()}}.items():
            if value and not self.path(value, key).is_file():
                raise RecipeError(f"source {self.name!r}, {key}: expected a file, found a folder: {value}")
        if self.config.entities:
            for part in ("Annotations", "Sentences"):
                if not (folder := self.path(self.config.entities, "entities") / part).is_dir():
                    raise RecipeError(f"source {self.name!r}, entities: expected a folder {folder}, found none")

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """One record an image, sorted by name; malformed lines are counted and named."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        with Spool() as captions, Spool() as splits:
            if self.config.captions:
                captions.fill(self._captions(malformed))
            if self.config.karpathy:
                for name, split, lines in self._karpathy(malformed):
                    splits.fill([(name, split)])
                    if not self.config.captions:
                        captions.fill((name, line) for line in lines)
            for split, value in self.config.splits.items():
                splits.fill(self._listed(split, self.path(value, f"splits.{split}")))
            for name in captions.keys():
                yield self._found(name, sorted(captions.get(name)), sorted(set(splits.get(name))), malformed)

    def _found(self, name: str, numbered: list[str], splits: list[str], malformed: Malformed) -> Found:
        lines = [line.partition(" ")[2] for line in numbered]
        if len(splits) > 1:  # the most protected one holds
            where = self.path(self.config.images, "images")
            malformed.add(where, name, "one split an image", splits)
        split = next((s for s in ("test", "dev", "train") if s in splits), "")
        text = "\n".join(lines)
        document = Document(text=text, language=self.config.language)
        entities = self.config.entities
        extra = read_entities(self.path(entities, "entities"), name, malformed) if entities else {}
        return Found(name, file_url(name), document, (Picture(file_url(name), text, extra=extra_json(extra)),), split)

    def _captions(self, malformed: Malformed) -> Iterator[tuple[str, str]]:
        """(image, its caption with a sortable number before it)."""
        path = self.path(self.config.captions, "captions")
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if not line.strip():
                    continue
                try:
                    match = _LINE.fullmatch(line.decode("utf-8").rstrip("\r\n"))
                except UnicodeDecodeError:
                    match = None
                caption = " ".join(match.group(3).split()) if match else ""
                if match is None or not caption:
                    malformed.add(path, f"line {number}", "'image.jpg#0<TAB>caption' in UTF-8", line[:80])
                    continue
                yield match.group(1).strip(), f"{int(match.group(2)):04d} {caption}"

    def _karpathy(self, malformed: Malformed) -> Iterator[tuple[str, str, list[str]]]:
        """(image, split, numbered captions) of each image of the JSON."""
        path = self.path(self.config.karpathy, "karpathy")
        for item in karpathy_images(path, malformed):
            numbered = [f"{n:04d} {line}" for n, line in enumerate(item.sentences)]
            yield item.filename, item.split, numbered

    def _listed(self, split: str, path: Path) -> Iterator[tuple[str, str]]:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            for line in file:
                if name := line.strip():
                    yield name if "." in name else f"{name}.jpg", split
