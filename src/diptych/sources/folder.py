"""A local folder: documents as JSON files, a captions file, or a tree of pictures with sidecar text.

Three layouts, the first that fits when ``layout`` is ``auto``:

* ``documents``: ``documents/*.json`` with ``title text summary language keyphrases split`` and ``images: [{file,
  caption, alt}]``; ``file`` is relative to the folder. Other keys are kept as JSON in ``extra``. The id is the file's
  path without ``.json``.
* ``captions``: one CSV (with a header) or JSONL file with ``file`` and ``caption`` (or ``image``, ``file_name``;
  ``captions``, ``text``, ``title``) and ``split``; a list, or several lines of one file, are several captions. The id
  is the picture's path.
* ``pictures``: every picture below the folder; ``x.txt`` or ``x.json`` beside ``x.jpg`` holds its text. The id is
  the picture's path.

``split`` is the official split (``sources/official.py``). A record whose file is deleted leaves with the next crawl;
one whose file or line cannot be read is a failed record and keeps its last good content. docs/sources.md has it all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Document, Found, Picture
from diptych.sources.answers import Fetched
from diptych.sources.base import Missed, Read, Source, SourceConfig
from diptych.sources.captions import Captioned, check_columns, read_captions
from diptych.sources.charset import decode_text
from diptych.sources.documents import compact_json, read_document
from diptych.sources.fetch import Fetcher
from diptych.sources.fields import Wrong, joined
from diptych.sources.malformed import Malformed
from diptych.sources.spool import Spool
from diptych.sources.urls import file_url, path_of

__all__ = ["PICTURES", "Folder", "FolderConfig", "find_layout", "walk_files"]

Layout = Literal["auto", "documents", "captions", "pictures"]
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".jfif"})
CAPTION_FILES = ("captions.csv", "captions.jsonl", "captions.tsv", "metadata.csv", "metadata.jsonl")
_EXTRACTOR = "folder 1"


class FolderConfig(SourceConfig):
    """Settings of a folder source."""

    kind: Literal["folder"] = "folder"  # pyright: ignore[reportIncompatibleVariableOverride]
    path: str = Field(description="The folder, relative to the recipe")
    layout: Layout = Field(default="auto", description="How texts and pictures lie; auto takes the first that fits")
    captions: str = Field(default="", description="The captions file, relative to the folder; found by name when empty")
    images: str = Field(default="", description="Where the files that the captions name are, relative to the folder")
    language: str = Field(default="", max_length=8, description="ISO 639-1, for documents that do not state theirs")
    max_malformed: int = Field(default=100, ge=0, description="More malformed lines than this end the crawl")


class Folder(Source):
    """Documents or captioned pictures of a local folder."""

    Config = FolderConfig
    config: FolderConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Lines and files that could not be read: file, line or field, what is wrong."""

    @property
    def root(self) -> Path:
        """The folder."""
        return self.path(self.config.path, "path")

    def files(self) -> Path:
        """``file:`` addresses are relative to the folder."""
        return self.root

    def check(self) -> None:
        """The folder exists, can be listed and has a layout we know."""
        if not self.root.is_dir():
            raise RecipeError(f"source {self.name!r}, path: expected a folder, found a file: {self.root}")
        try:
            os.listdir(self.root)
        except OSError as error:
            raise SourceError(f"source {self.name!r}: the folder {self.root} cannot be read: {error}") from error
        layout, captions = self._layout()
        if layout == "captions":
            check_columns(self.root / captions, Malformed(self.name, self.config.max_malformed))

    def _layout(self) -> tuple[str, str]:
        if self.config.captions:
            if not (self.root / self.config.captions).is_file():
                raise RecipeError(f"source {self.name!r}, captions: no file {self.root / self.config.captions}")
            return "captions", self.config.captions
        found = find_layout(self.root, self.config.layout)
        if found is None:
            raise SourceError(
                f"source {self.name!r}: {self.root} has no documents/*.json, none of {', '.join(CAPTION_FILES)} "
                f"and no pictures ({', '.join(sorted(PICTURES))}); name the right folder in 'path'"
            )
        return found

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """Every record of the folder, sorted by path within each layout."""
        layout, captions = self._layout()
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        if layout == "documents":
            urls = (file_url(name) for name in walk_files(self.root, "documents") if name.endswith(".json"))
            for fetched in fetcher.map(urls, "file"):
                yield self._document(fetched, malformed)
        elif layout == "captions":
            yield from self._captions(captions, malformed)
        else:
            yield from self._pictures(fetcher, malformed)

    def _document(self, fetched: Fetched, malformed: Malformed) -> Found | Missed:
        source_id = path_of(fetched.url).removeprefix("documents/").removesuffix(".json")
        if not fetched.ok or fetched.data is None:
            return Missed(source_id, fetched.url, fetched.outcome, fetched.code)
        try:
            document, pictures, split = read_document(fetched.data, self.config.language)
        except Wrong as wrong:
            malformed.note(fetched.url, wrong)
            return Missed(source_id, fetched.url, "failed_permanent", "malformed")
        return Read(source_id, fetched.url, document, pictures, split, page=fetched.key, extractor=_EXTRACTOR)

    def _captions(self, captions: str, malformed: Malformed) -> Iterator[Found | Missed]:
        with Spool() as spool:
            lines = read_captions(self.root / captions, malformed)
            spool.fill((name, line.to_json() if line else "") for name, line in lines)
            for name in spool.keys():
                yield self._captioned(name, [Captioned.from_json(line) for line in spool.get(name) if line])

    def _captioned(self, name: str, lines: list[Captioned]) -> Found | Missed:
        """The record of a picture, from those of its lines that can be read."""
        url = file_url(f"{self.config.images}/{name}" if self.config.images else name)
        if not lines:
            return Missed(name, url, "failed_permanent", "malformed")
        caption = joined(caption for line in lines for caption in line.captions)
        extra = {key: value for line in lines for key, value in line.extra.items()}
        split = next((line.split for line in reversed(lines) if line.split), "")
        picture = Picture(url, caption, extra=compact_json(extra))
        return Found(name, url, Document(text=caption, language=self.config.language), (picture,), split)

    def _pictures(self, fetcher: Fetcher, malformed: Malformed) -> Iterator[Found | Missed]:
        for folder, names in walk_folders(self.root):
            beside = set(names)
            for name in names:
                stem, extension = os.path.splitext(name)
                if extension.lower() not in PICTURES:
                    continue
                relative = f"{folder}/{name}" if folder else name
                sidecar = next((stem + e for e in (".json", ".txt") if stem + e in beside), None)
                beside_it = f"{folder}/{sidecar}" if folder and sidecar else sidecar
                yield self._picture(fetcher, relative, beside_it, malformed)

    def _picture(self, fetcher: Fetcher, relative: str, sidecar: str | None, malformed: Malformed) -> Found | Missed:
        url = file_url(relative)
        if sidecar is None:
            return Found(relative, url, Document(language=self.config.language), (Picture(url),))
        fetched = fetcher.fetch(file_url(sidecar), "file")
        if fetched.code == "empty":
            return Found(relative, url, Document(language=self.config.language), (Picture(url),))
        if not fetched.ok or fetched.data is None:
            return Missed(relative, url, fetched.outcome, fetched.code)
        if sidecar.endswith(".txt"):
            text = decode_text(fetched.data).strip()
            document, picture, split = Document(text=text, language=self.config.language), Picture(url, text), ""
        else:
            try:
                document, pictures, split = read_document(fetched.data, self.config.language, caption_of=url)
            except Wrong as wrong:
                malformed.note(file_url(sidecar), wrong)
                return Missed(relative, url, "failed_permanent", "malformed")
            picture = pictures[0]
        return Read(relative, url, document, (picture,), split, page=fetched.key, extractor=_EXTRACTOR)


def find_layout(root: Path, wanted: Layout = "auto") -> tuple[str, str] | None:
    """(layout, captions file) of a folder: the first that fits, None when there is nothing to read."""
    documents = root / "documents"
    if wanted in ("auto", "documents") and documents.is_dir():
        if any(name.endswith(".json") for name in walk_files(root, "documents")):
            return "documents", ""
    if wanted in ("auto", "captions"):
        for name in CAPTION_FILES:
            if (root / name).is_file():
                return "captions", name
    if wanted in ("auto", "pictures"):
        if any(os.path.splitext(name)[1].lower() in PICTURES for name in walk_files(root)):
            return "pictures", ""
    return None


def walk_folders(root: Path, below: str = "") -> Iterator[tuple[str, list[str]]]:
    """(relative folder, sorted file names) of all folders but hidden ones, in sorted order.

    A link that leads back to a folder around it is not followed.
    """
    for folder, folders, names in os.walk(root / below, followlinks=True):
        folders[:] = sorted(name for name in folders if not (name.startswith(".") or _leads_back(root, folder, name)))
        relative = os.path.relpath(folder, root)
        kept = sorted(name for name in names if not name.startswith("."))
        yield "" if relative == "." else relative.replace(os.sep, "/"), kept


def _leads_back(root: Path, folder: str, name: str) -> bool:
    """Whether a folder is a link to one that it is in, also by way of other links."""
    path = Path(folder, name)
    if not path.is_symlink():
        return False
    target = path.resolve()
    around = (above for above in path.parents if above.is_relative_to(root))
    return any(above.resolve().is_relative_to(target) for above in around)


def walk_files(root: Path, below: str = "") -> Iterator[str]:
    """Paths of all files, relative to ``root``, in the order of :func:`walk_folders`."""
    for folder, names in walk_folders(root, below):
        yield from (f"{folder}/{name}" if folder else name for name in names)
