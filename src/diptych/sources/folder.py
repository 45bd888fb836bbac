"""A local folder: documents as JSON files, a captions file, or a tree of pictures with sidecar text.

Three layouts, the first that fits when ``layout`` is ``auto``:

* ``documents``: ``documents/*.json`` with ``title text summary language keyphrases`` and ``images: [{file, caption,
  alt}]``; ``file`` is relative to the folder. Other keys are kept as JSON in ``extra``. The id is the file's path
  without ``.json``.
* ``captions``: one CSV (with a header) or JSONL file with ``file`` and ``caption`` (or ``image``, ``file_name``;
  ``text``, ``title``); several lines of one file are several captions. The id is the picture's path.
* ``pictures``: every picture below the folder; ``x.txt`` or ``x.json`` beside ``x.jpg`` holds its text. The id is
  the picture's path.

A record whose file is deleted leaves with the next crawl.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Document, Found, Picture
from diptych.sources.answers import Fetched
from diptych.sources.base import Missed, Read, Source, SourceConfig
from diptych.sources.charset import decode_text
from diptych.sources.fetch import Fetcher
from diptych.sources.spool import Spool
from diptych.sources.tables import check_header
from diptych.sources.urls import file_url, path_of

__all__ = ["FILE_KEYS", "PICTURES", "Folder", "FolderConfig", "find_layout", "walk_files"]

Layout = Literal["auto", "documents", "captions", "pictures"]
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".jfif"})
CAPTION_FILES = ("captions.csv", "captions.jsonl", "captions.tsv", "metadata.csv", "metadata.jsonl")
FILE_KEYS = ("file", "image", "file_name", "filename", "path")
_CAPTION_KEYS = ("caption", "text", "title", "description")
_EXTRACTOR = "folder 1"


class FolderConfig(SourceConfig):
    """Settings of a folder source."""

    kind: Literal["folder"] = "folder"  # pyright: ignore[reportIncompatibleVariableOverride]
    path: str = Field(description="The folder, relative to the recipe")
    layout: Layout = "auto"
    captions: str = Field(default="", description="The captions file, relative to the folder; found by name when empty")
    images: str = Field(default="", description="Where the files that the captions name are, relative to the folder")
    language: str = Field(default="", max_length=8, description="ISO 639-1, for documents that do not state theirs")


class Folder(Source):
    """Documents or captioned pictures of a local folder."""

    Config = FolderConfig
    config: FolderConfig

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
        self._layout()

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
        if layout == "documents":
            urls = (file_url(name) for name in walk_files(self.root, "documents") if name.endswith(".json"))
            for fetched in fetcher.map(urls, "file"):
                yield self._document(fetched)
        elif layout == "captions":
            yield from self._captions(captions)
        else:
            yield from self._pictures(fetcher)

    def _document(self, fetched: Fetched) -> Found | Missed:
        source_id = path_of(fetched.url).removeprefix("documents/").removesuffix(".json")
        if not fetched.ok or fetched.data is None:
            return Missed(source_id, fetched.url, fetched.outcome, fetched.code)
        try:
            document, pictures, split = read_document(fetched.data, self.config.language)
        except ValueError:
            return Missed(source_id, fetched.url, "failed_permanent", "malformed")
        return Read(source_id, fetched.url, document, pictures, split, page=fetched.key, extractor=_EXTRACTOR)

    def _captions(self, captions: str) -> Iterator[Found]:
        with Spool() as spool:
            spool.fill(_caption_lines(self.root / captions, self.name))
            for name in spool.keys():
                lines = [json.loads(value) for value in spool.get(name)]
                caption = "\n".join(" ".join(line["caption"].split()) for line in lines)
                extra = {key: value for line in lines for key, value in line["extra"].items()}
                split = str(extra.pop("split", "") or "")
                url = file_url(f"{self.config.images}/{name}" if self.config.images else name)
                picture = Picture(url, caption, extra=_json(extra))
                yield Found(name, url, Document(text=caption, language=self.config.language), (picture,), split)

    def _pictures(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        for folder, names in walk_folders(self.root):
            beside = set(names)
            for name in names:
                stem, extension = os.path.splitext(name)
                if extension.lower() not in PICTURES:
                    continue
                relative = f"{folder}/{name}" if folder else name
                sidecar = next((stem + e for e in (".json", ".txt") if stem + e in beside), None)
                yield self._picture(fetcher, relative, f"{folder}/{sidecar}" if folder and sidecar else sidecar)

    def _picture(self, fetcher: Fetcher, relative: str, sidecar: str | None) -> Found | Missed:
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
            except ValueError:
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
    """(relative folder, sorted file names) of all folders but hidden ones, in sorted order."""
    for folder, folders, names in os.walk(root / below, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = os.path.relpath(folder, root)
        kept = sorted(name for name in names if not name.startswith("."))
        yield "" if relative == "." else relative.replace(os.sep, "/"), kept


def walk_files(root: Path, below: str = "") -> Iterator[str]:
    """Paths of all files, relative to ``root``, in the order of :func:`walk_folders`."""
    for folder, names in walk_folders(root, below):
        yield from (f"{folder}/{name}" if folder else name for name in names)


def read_document(data: bytes, language: str, caption_of: str = "") -> tuple[Document, tuple[Picture, ...], str]:
    """A JSON document, its pictures and its split; :class:`ValueError` when it is none.

    With ``caption_of`` the file is the sidecar of that picture: its ``caption`` (else ``text``) is the picture's.
    """
    raw = json.loads(decode_text(data))
    if not isinstance(raw, dict):
        raise ValueError("expected a JSON object")
    text, keyphrases = _text(raw, "text"), raw.get("keyphrases") or ()
    if isinstance(keyphrases, str):
        keyphrases = [part.strip() for part in keyphrases.split(",")]
    extra = {k: v for k, v in raw.items() if k not in _DOCUMENT_KEYS}
    document = Document(
        title=_text(raw, "title"),
        text=text or _text(raw, "caption"),
        summary=_text(raw, "summary"),
        language=_text(raw, "language") or language,
        keyphrases=tuple(str(phrase) for phrase in keyphrases if str(phrase).strip()),
        extra=_json(extra),
    )
    if caption_of:
        pictures: tuple[Picture, ...] = (Picture(caption_of, _text(raw, "caption") or text, _text(raw, "alt")),)
    else:
        pictures = tuple(_image(image) for image in raw.get("images") or ())
    return document, pictures, _text(raw, "split")


_DOCUMENT_KEYS = frozenset(
    {"id", "title", "text", "summary", "language", "keyphrases", "images", "split", "caption", "alt"}
)


def _image(raw: Any) -> Picture:
    if isinstance(raw, str):
        return Picture(file_url(raw))
    if not isinstance(raw, dict) or not isinstance(raw.get("file"), str):
        raise ValueError("an image needs a 'file'")
    several = raw.get("captions") or ()
    caption = _text(raw, "caption") or "\n".join(" ".join(str(line).split()) for line in several)
    extra = {k: v for k, v in raw.items() if k not in ("file", "caption", "alt")}
    return Picture(file_url(raw["file"]), caption, _text(raw, "alt"), _json(extra))


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key}: expected text, found {type(value).__name__}")
    return value


def _json(extra: dict[str, Any]) -> str:
    return json.dumps(extra, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if extra else ""


def _caption_lines(path: Path, source: str) -> Iterator[tuple[str, str]]:
    """(picture file, JSON of its caption and other columns) of each line."""
    for number, row in enumerate(_rows(path, source), 1):
        file_key = next((key for key in FILE_KEYS if row.get(key)), None)
        if file_key is None:
            raise SourceError(
                f"source {source!r}, {path}, row {number}: expected a column {' or '.join(FILE_KEYS)}, "
                f"found {sorted(row)}"
            )
        caption_key = next((key for key in _CAPTION_KEYS if key in row), None)
        caption = str(row[caption_key] or "") if caption_key else ""
        extra = {k: v for k, v in row.items() if k not in (file_key, caption_key) and v not in (None, "")}
        yield str(row[file_key]), _json({"caption": caption, "extra": extra})


def _rows(path: Path, source: str) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix != ".jsonl":
                delimiter = "\t" if path.suffix == ".tsv" else ","
                reader = csv.DictReader(file, delimiter=delimiter)
                check_header(path, reader.fieldnames or (), delimiter)
                for row in reader:
                    if None in row:
                        known = len(row) - 1
                        raise SourceError(
                            f"source {source!r}, {path}, line {reader.line_num}: expected {known} columns, found "
                            f"{known + len(row[None])}; a caption with {delimiter!r} stands in quotes"
                        )
                    yield row
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    value = json.loads(line)
                    if not isinstance(value, dict):
                        raise SourceError(f"source {source!r}, {path}, line {number}: expected a JSON object")
                    yield value
    except (ValueError, csv.Error) as error:
        raise SourceError(
            f"source {source!r}, {path}: expected UTF-8 CSV or JSONL with 'file' and 'caption': {error}"
        ) from error
