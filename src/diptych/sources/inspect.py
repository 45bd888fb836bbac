"""A look at a folder, file or address: which source fits it, with which settings; ``diptych init --from``."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from diptych.exceptions import SourceError, UsageError
from diptych.sources.base import SuggestedSource
from diptych.sources.captions import FILE_KEYS
from diptych.sources.folder import PICTURES, find_layout, walk_files
from diptych.sources.inspect_files import look_at_file, look_at_folder
from diptych.sources.json_stream import stream_arrays
from diptych.sources.malformed import Malformed
from diptych.sources.tables import column_names
from diptych.sources.urls import canonical_url

__all__ = ["plain_name", "suggest"]

_MOST = 100_000


def suggest(from_: str) -> SuggestedSource:
    """The source that fits a folder, file or URL; :class:`UsageError` when there is nothing to read.

    Paths in the settings are absolute, so that the recipe may stand anywhere.
    """
    if re.match(r"https?://", from_, re.I):
        return _web(from_)
    path = Path(from_).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"--from {from_}: expected a folder, a file or an http(s) address, found nothing at {path}")
    if path.is_file():
        return _file(path)
    return _coco_folder(path) or look_at_folder(path, plain_name(path.name)) or _folder(path)


def plain_name(text: str) -> str:
    """A source's or dataset's name made of a file's, a host's or a person's."""
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:64]
    return name if name and name[0].isalnum() else "source"


def _web(address: str) -> SuggestedSource:
    url = canonical_url(address)
    parts = urlsplit(url)
    settings: dict[str, object] = {
        "kind": "web",
        "name": plain_name(parts.hostname or "web"),
        "contact": _contact(),
    }
    reasons = [f"{url} is an address; put an address where you can be reached into 'contact'"]
    last = parts.path.rpartition("/")[2].lower()
    if "sitemap" in last and last.endswith((".xml", ".xml.gz", ".txt")):
        settings |= {"sitemaps": [url]}
        reasons.append("the address names a sitemap")
    elif re.search(r"(rss|atom|feed)", last) or last.endswith((".rss", ".atom")):
        settings |= {"feeds": [url]}
        reasons.append("the address names a feed")
    else:
        settings |= {"start": [url], "depth": 1}
        reasons.append("pages that the start page links, on the same site; raise 'depth' for more")
    if _is_local(parts.hostname or ""):
        settings["fetch"] = {"allow_private": True}
        reasons.append("the host is on this machine or network: private addresses are allowed")
    return SuggestedSource(settings, tuple(reasons))


def _contact() -> str:
    try:
        user = re.sub(r"[^A-Za-z0-9._-]", "", getpass.getuser())
    except (KeyError, OSError):
        user = ""
    host = re.sub(r"[^A-Za-z0-9.-]", "", socket.gethostname())
    return f"{user or 'me'}@{host or 'localhost'}{'' if '.' in host else '.local'}"


def _is_local(host: str) -> bool:
    return host == "localhost" or host.startswith(("127.", "10.", "192.168.", "169.254.")) or host in ("::1", "0.0.0.0")


def _file(path: Path) -> SuggestedSource:
    if path.suffix == ".json":
        found = _coco_captions(path)
        if found is not None:
            return found
    found = look_at_file(path, plain_name(path.stem), _contact())
    if found is not None:
        return found
    if path.suffix in (".csv", ".tsv", ".jsonl"):
        columns = column_names(path, Malformed(plain_name(path.stem), 100))
        if not columns & set(FILE_KEYS):
            raise UsageError(
                f"--from {path}: expected a column of addresses (http...) or one of files ({', '.join(FILE_KEYS)}), "
                f"found {', '.join(sorted(columns)) or 'no rows'}"
            )
        settings: dict[str, object] = {
            "kind": "folder",
            "name": plain_name(path.stem),
            "path": str(path.parent),
            "captions": path.name,
        }
        return SuggestedSource(settings, (f"{path.name} is read as a list of pictures with captions",))
    raise UsageError(
        f"--from {path}: expected a folder, a COCO captions file (.json), a list of pictures or addresses (.csv, .tsv, "
        f".jsonl, .parquet), a Flickr token file or a .tar shard; this one is none, or damaged"
    )


def _coco_captions(path: Path) -> SuggestedSource | None:
    """A COCO captions file with its neighbours: instances of the same split, the folder with the first image."""
    try:
        images, first, captions = 0, "", False
        for key, _, item in stream_arrays(path, frozenset({"images", "annotations"})):
            if key == "images" and isinstance(item, dict):
                images += 1
                first = first or str(item.get("file_name", ""))
            elif isinstance(item, dict):
                captions = "caption" in item
                if images:
                    break  # counted already
    except SourceError:
        return None
    if not captions or not first:
        return None
    split = path.stem.removeprefix("captions_")
    bases = (path.parent.parent, path.parent)
    folder = next(
        (
            base / sub
            for base in bases
            for sub in (split, "images", f"images/{split}", "")
            if (base / sub / first).is_file()
        ),
        None,
    )
    if folder is None:
        folder = next(
            (base / name for base in bases for name in _subfolders(base) if (base / name / first).is_file()), None
        )
    if folder is None:
        raise UsageError(
            f"--from {path}: its first image {first!r} is in no folder beside it; put the images into images/ "
            f"beside it, or write a recipe with kind: coco, captions: {path} and images: FOLDER"
        )
    settings: dict[str, object] = {
        "kind": "coco",
        "name": plain_name(f"coco-{split}"),
        "captions": str(path),
        "images": str(folder),
    }
    reasons = [f"{path.name} has captions in the COCO format, its images are in {folder}"]
    instances = path.with_name(path.name.replace("captions", "instances"))
    if instances != path and instances.is_file():
        settings["instances"] = str(instances)
        reasons.append(f"{instances.name} has boxes: they are kept beside each picture")
    return SuggestedSource(settings, tuple(reasons), images)


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _coco_folder(folder: Path) -> SuggestedSource | None:
    """The largest captions file of ``annotations/`` (or of the folder itself)."""
    candidates = [path for sub in ("annotations", "") for path in (folder / sub).glob("*.json") if path.is_file()]
    named = [path for path in candidates if "caption" in path.name] or candidates[:3]
    for path in sorted(named, key=lambda p: (-p.stat().st_size, p.name)):
        found = _coco_captions(path)
        if found is not None:
            others = [p.name for p in named if p != path and "caption" in p.name]
            more = (f"also there: {', '.join(sorted(others))}; add a source for each you want",) if others else ()
            return SuggestedSource(found.settings, (*found.reasons, *more), found.records)
    return None


def _folder(folder: Path) -> SuggestedSource:
    found = find_layout(folder)
    if found is None:
        raise UsageError(
            f"--from {folder}: found no documents/*.json, no captions file and no pictures there "
            f"({', '.join(sorted(PICTURES))})"
        )
    layout, captions = found
    settings: dict[str, object] = {
        "kind": "folder",
        "name": plain_name(folder.name),
        "path": str(folder),
        "layout": layout,
    }
    if layout == "documents":
        count = _count(folder, "documents", (".json",))
        return SuggestedSource(settings, (f"documents/ holds {count} JSON documents with their pictures",), count)
    if layout == "captions":
        settings["captions"] = captions
        return SuggestedSource(settings, (f"{captions} names pictures and their captions",))
    count = _count(folder, "", tuple(PICTURES))
    return SuggestedSource(
        settings, (f"{count} pictures; text beside them in .txt or .json files of the same name",), count
    )


def _count(folder: Path, below: str, endings: tuple[str, ...]) -> int:
    count = 0
    for name in walk_files(folder, below):
        count += name.lower().endswith(endings)
        if count >= _MOST:
            break
    return count
