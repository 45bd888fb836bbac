"""Lists of image addresses with captions: CSV, TSV, JSONL or Parquet, one record a row or grouped by a column.

Without ``document`` each row is a record, named by ``id`` or by its address (a repeated one gets ``#2``). With it the
rows of equal value there are one record with several pictures. Columns that no setting names go to the picture's
``extra``; those that ``document_columns`` names to the document's. Malformed rows are left out and named by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.fields import Wrong
from diptych.sources.malformed import Malformed
from diptych.sources.official import check_split
from diptych.sources.settings import FetchSettings, RemoteConfig
from diptych.sources.spool import Spool
from diptych.sources.tables import Row, check_texts, column_names, extra_json, read_rows, text_of
from diptych.sources.urls import BadUrl, canonical_url

__all__ = ["UrlList", "UrlListConfig"]


class UrlListConfig(RemoteConfig):
    """Settings of a list of image addresses; all but ``path`` name columns or have defaults."""

    kind: Literal["urls"] = "urls"  # pyright: ignore[reportIncompatibleVariableOverride]
    path: str = Field(description=".csv, .tsv, .jsonl (each also .gz) or .parquet, relative to the recipe")
    url: str = Field(default="url", min_length=1, description="Column with the image's address")
    caption: str = Field(default="caption", description="Column with its caption (or a list of them); none when empty")
    alt: str = Field(default="", description="Column with its alternative text")
    id: str = Field(default="", description="Column with the record's own id; the address when empty")
    document: str = Field(default="", description="Column whose equal values make one record of several rows")
    title: str = Field(default="", description="Column with the document's title")
    text: str = Field(default="", description="Column with the document's text; its captions when empty")
    summary: str = Field(default="", description="Column with the document's summary")
    split: str = Field(default="", description="Column with the official split")
    document_columns: tuple[str, ...] = Field(default=(), description="Columns that belong to the document's extra")
    language: str = Field(default="", max_length=8, description="ISO 639-1 of all texts")
    max_malformed: int = Field(default=100, ge=0, description="More malformed rows than this end the crawl")

    def texts(self) -> tuple[str, ...]:
        """Columns that hold text."""
        own = (self.url, self.caption, self.alt, self.id, self.document, self.title, self.text, self.summary)
        return tuple(name for name in (*own, self.split) if name)

    def named(self) -> tuple[str, ...]:
        """Columns that have a place of their own."""
        return (*self.texts(), *(name for name in self.document_columns if name))


class UrlList(Source):
    """Pictures by address, from a file."""

    Config = UrlListConfig
    config: UrlListConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Rows that were left out: file, line, what is wrong."""

    def fetch_settings(self) -> FetchSettings:
        """The politeness settings."""
        return self.config.fetch_settings()

    def check(self) -> None:
        """The file exists and has the columns that the settings name."""
        path = self.path(self.config.path, "path")
        if not path.is_file():
            raise RecipeError(f"source {self.name!r}, path: expected a file, found a folder: {path}")
        columns = column_names(path, Malformed(self.name, self.config.max_malformed))
        optional = {self.config.caption} if self.config.caption == "caption" else set[str]()
        if path.name.endswith((".jsonl", ".jsonl.gz", ".ndjson")):
            optional |= set(self.config.named()) - {self.config.url}  # an object may leave out what it lacks
        missing = sorted(set(self.config.named()) - columns - optional)
        if missing:
            raise SourceError(f"source {self.name!r}: {path} has no column {missing}; it has {sorted(columns)}")

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """One record a row in the order of the file, or one a document, sorted by its name."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        path = self.path(self.config.path, "path")
        with Spool() as spool:
            if not self.config.document:
                for _, row, picture in self._rows(path, malformed):
                    name = text_of(row, self.config.id) or picture.url
                    while (times := spool.times(name)) > 1:  # another row may have that name, too
                        name = f"{name}#{times}"
                    yield self._found(name, row, [picture])
                return
            spool.fill(self._grouped(path, malformed))
            for name in spool.keys():
                items = [json.loads(value) for value in spool.get(name)]
                first: Row = {}
                for row, _ in items:
                    first |= {key: value for key, value in row.items() if not first.get(key)}
                yield self._found(name, first, [Picture(*picture) for _, picture in items])

    def _rows(self, path: Path, malformed: Malformed) -> Iterator[tuple[int, Row, Picture]]:
        """Each good row with its number and picture; :class:`SourceError` when there is none."""
        config, named, some = self.config, set(self.config.named()), False
        for number, row in read_rows(path, malformed):
            try:
                check_texts(row, config.texts())
                check_split(text_of(row, config.split), config.split)
                url = canonical_url(text_of(row, config.url))
            except Wrong as wrong:
                malformed.add_wrong(path, f"line {number}", wrong)
                continue
            except BadUrl as error:
                malformed.add(path, f"line {number}", f"an http(s) address in {config.url!r}", error)
                continue
            some = True
            extra = extra_json({key: value for key, value in row.items() if key not in named})
            yield number, row, Picture(url, text_of(row, config.caption), text_of(row, config.alt), extra)
        malformed.check_some(path, some)

    def _grouped(self, path: Path, malformed: Malformed) -> Iterator[tuple[str, str]]:
        config = self.config
        kept = [c for c in (config.title, config.text, config.summary, config.split, *config.document_columns) if c]
        for number, row, picture in self._rows(path, malformed):
            name = text_of(row, config.document)
            if not name:
                malformed.add(path, f"line {number}", f"a value in {config.document!r}", "none")
                continue
            fields = [picture.url, picture.caption, picture.alt, picture.extra]
            yield name, json.dumps([{key: row.get(key) for key in kept}, fields], ensure_ascii=False, default=str)

    def _found(self, name: str, row: Row, pictures: list[Picture]) -> Found:
        config = self.config
        captions = "\n".join(picture.caption for picture in pictures if picture.caption)
        document = Document(
            title=text_of(row, config.title),
            text=text_of(row, config.text) or captions,
            summary=text_of(row, config.summary),
            language=config.language,
            extra=extra_json({key: row.get(key) for key in config.document_columns}),
        )
        return Found(name, pictures[0].url, document, tuple(pictures), text_of(row, config.split))
