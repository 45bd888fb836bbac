"""A look at files of pictures and text: lists of addresses, queries, posts, Flickr, Parquet and WebDataset."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import RecipeError, SourceError
from diptych.sources.base import SuggestedSource
from diptych.sources.malformed import Malformed
from diptych.sources.parquet import image_columns
from diptych.sources.tables import SUFFIXES, Row, read_rows, text_of

__all__ = ["look_at_file", "look_at_folder"]

_TARS = (".tar", ".tar.gz", ".tgz")
_TOKEN = re.compile(r"[^#\t\n]+\.\w{3,4}[^#\t\n]*#\d\t\S")
_CAPTIONS = ("caption", "text", "alt", "title", "description", "top_caption", "alt_text")


def look_at_file(path: Path, name: str, contact: str) -> SuggestedSource | None:
    """The source that fits one file, None when none of these does."""
    if path.name.endswith(_TARS):
        return _one("webdataset", name, path, f"{path.name} is a tar of pictures and texts with equal names")
    if path.suffix == ".parquet" and (found := _parquet(path, path, name)) is not None:
        return found
    if path.name.removesuffix(".gz").endswith(SUFFIXES):
        return _table(path, name, contact)
    return _flickr(path, name) if _is_token_file(path) else None


def look_at_folder(folder: Path, name: str) -> SuggestedSource | None:
    """The source that fits a folder, None when none of these does."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if any(path.name.endswith(_TARS) for path in files):
        return _one("webdataset", name, folder, "the folder holds tars of pictures and texts with equal names")
    first = next((path for path in files if path.suffix == ".parquet"), None)
    first = first or next(folder.glob("*/*.parquet"), None)
    if first is not None and (found := _parquet(folder, first, name)) is not None:
        return found
    token = next((path for path in files if _is_token_file(path)), None)
    return _flickr(token, name) if token is not None else None


def _one(kind: str, name: str, path: Path, reason: str, records: int | None = None) -> SuggestedSource:
    return SuggestedSource({"kind": kind, "name": name, "path": str(path)}, (reason,), records)


def _parquet(path: Path, first: Path, name: str) -> SuggestedSource | None:
    try:
        schema = pq.read_schema(first)
        images = image_columns(schema)
        paths = [path] if path.is_file() else [p for p in path.rglob("*.parquet") if p.is_file()]
        rows = sum(pq.read_metadata(p).num_rows for p in paths[:1000]) if images else 0
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return None
    if not images:
        return None
    return _one("parquet", name, path, f"{first.name} has pictures in its column {images[0]!r}", rows)


def _table(path: Path, name: str, contact: str) -> SuggestedSource | None:
    """By the first rows: addresses, posts or queries."""
    try:
        rows = [row for _, row in islice(read_rows(path, Malformed(name, 100)), 20)]
    except RecipeError:
        return None
    except SourceError:  # a table all the same, and broken: its line is of more use than a guess
        if path.suffix in (".csv", ".tsv", ".jsonl"):
            raise
        return None
    if not rows:
        return None
    settings: dict[str, object] = {"name": name, "contact": contact}
    first, please = rows[0], "put an address where you can be reached into 'contact'"
    post = isinstance(inner := first.get("data"), dict) and "text" in inner
    if ".jsonl" in path.name and (post or ("id_str" in first and ({"text", "full_text"} & first.keys()))):
        settings |= {"kind": "tweets", "path": str(path)}
        return SuggestedSource(settings, (f"{path.name} holds posts; their hashtags become keyphrases", please))
    if {"id", "query"} <= first.keys():
        settings |= {"kind": "search", "queries": str(path)}
        reason = f"{path.name} holds queries: pictures are searched for in Wikimedia Commons"
        return SuggestedSource(settings, (reason, please))
    column = next((c for c in first if _addresses(rows, c)), None)
    if column is None:
        return None
    caption = next((c for wanted in _CAPTIONS for c in first if c.lower() == wanted and c != column), "")
    settings |= {"kind": "urls", "path": str(path), "url": column, "caption": caption}
    return SuggestedSource(settings, (f"{path.name} has addresses of pictures in its column {column!r}", please))


def _addresses(rows: list[Row], column: str) -> bool:
    """Whether most values of a column are addresses, and it is not that of a page."""
    found = [text_of(row, column) for row in rows]
    good = sum(bool(re.match(r"https?://", value, re.I)) for value in found)
    return good > len(rows) / 2 and "page" not in column.lower()


def _is_token_file(path: Path) -> bool:
    if not path.name.endswith((".token", ".token.txt")):
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return bool(_TOKEN.match(file.readline(10_000)))


def _flickr(path: Path, name: str) -> SuggestedSource | None:
    """A token file with its neighbours: the folder of its first image, Flickr8k's lists of splits."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(10_000).partition("#")[0]
    folders = [path.parent, *sorted(p for p in path.parent.iterdir() if p.is_dir()), path.parent.parent]
    folders += sorted(p for p in path.parent.parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    images = next((folder for folder in folders if (folder / first).is_file()), None)
    if images is None:
        return None
    settings: dict[str, object] = {"kind": "flickr", "name": name, "captions": str(path), "images": str(images)}
    reasons = [f"{path.name} has numbered captions, its images are in {images}"]
    lists = {split: path.with_name(f"Flickr_8k.{split}Images.txt") for split in ("train", "dev", "test")}
    if all(found.is_file() for found in lists.values()):
        settings["splits"] = {split: str(found) for split, found in lists.items()}
        reasons.append("the official splits are in the lists beside it")
    karpathy = next(path.parent.glob("dataset_flickr*.json"), None)
    if karpathy is not None:
        settings["karpathy"] = str(karpathy)
        reasons.append(f"{karpathy.name} assigns the splits")
    return SuggestedSource(settings, tuple(reasons))
