"""Rows that a model said nothing of, each with the reason; and what the rows are called outside the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from diptych.naming import pair_key
from diptych.stage import Status
from diptych.storage.reader_fields import TABLES
from diptych.storage.reader_join import gates
from diptych.training.config import Plain
from diptych.training.needs import fields_of
from diptych.training.phase import Stream
from diptych.training.task import Line
from diptych.version import Version

__all__ = ["NamedRow", "named_lines", "rows_of", "unsaid_lines"]


@dataclass(frozen=True)
class NamedRow:
    """A document or a pair of a snapshot, whether or not anything could be computed for it."""

    key: str
    input: str
    """where the document was found: a file name or address"""
    image: str = ""
    """of a pair: where its picture was found"""
    images: Mapping[str, str] | None = None
    """of a document: its pictures' keys and where they were found"""
    reason: str = ""
    """why there are no bytes or no text; empty when there are"""

    def about(self) -> dict[str, Plain]:
        """As a line says it."""
        said: dict[str, Plain] = {"input": self.input}
        if self.image:
            said["image_file"] = self.image
        if self.images:
            said["image_files"] = dict(self.images)
        return said


def rows_of(version: Version, stream: Stream) -> Iterator[NamedRow]:
    """Every document, or every use of a picture by a document, in the snapshot's order."""
    for row in version.snapshot.iter_rows():
        found, images = _place(row["url"]), row["images"] or ()
        failed = "" if row["outcome"] == "ok" else f"the document: {row['outcome']}"
        if stream.rows == "document" or failed or not images:
            files = {image["key"]: _place(image["url"]) for image in images if image["key"]}
            none = "the document has no picture" if stream.rows == "pair" and not failed else ""
            yield NamedRow(row["record"], found, images=files, reason=failed or none)
            continue
        seen: dict[str, int] = {}
        for image in images:
            key = image["key"]
            if key is None:
                yield NamedRow(row["record"], found, _place(image["url"]), reason=f"the picture: {image['outcome']}")
                continue
            seen[key] = seen.get(key, 0) + 1
            yield NamedRow(pair_key(row["record"], key, seen[key]), found, _place(image["url"]))


def named_lines(version: Version, stream: Stream, lines: Collection[Line]) -> list[Line]:
    """The lines with ``input`` (and ``image_file`` or ``image_files``): what their rows are called outside."""
    known = {row.key: row for row in rows_of(version, stream) if not row.reason}
    found: list[Line] = []
    for line in lines:
        row = known[str(line["id"])]
        chosen = (row.images or {}).get(str(line.get("image")))
        found.append({"id": row.key, **row.about(), **({"image_file": chosen} if chosen else {}), **line})
    return found


def unsaid_lines(version: Version, stream: Stream, said: Collection[str]) -> list[Line]:
    """A line for every row that is not in ``said``: ``id``, what it is called, and ``failed``, the reason."""
    states = _States(version, stream)
    return [
        {"id": row.key, **row.about(), "failed": row.reason or states.reason(row.key)}
        for row in rows_of(version, stream)
        if row.reason or row.key not in said
    ]


def _place(url: str) -> str:
    return url.removeprefix("file:")


class _States:
    """Outcomes of the stages that a stream depends on, the rules that accept rows first."""

    def __init__(self, version: Version, stream: Stream) -> None:
        self._version = version
        judges = gates(version.manifest)
        read = dict.fromkeys(name.partition(".")[0] for name in fields_of(stream))
        stages = {s.name: s.rows or "document" for s in version.manifest.stages}
        order = [*judges, *(name for name in read if name in stages and name not in (*TABLES, *judges))]
        self._kinds = {name: stages[name] for name in order}

    @cached_property
    def _tables(self) -> dict[str, dict[str, dict[str, Any]]]:
        return {
            name: {row["key"]: row for row in self._version.table(name, ["key"]).to_pylist()} for name in self._kinds
        }

    def reason(self, key: str) -> str:
        """The first outcome that is not ok, of the row, its document or its picture."""
        record, _, image = key.partition("/")
        own = {"document": record, "pair": key, "image": image.partition("#")[0]}
        for name, kind in self._kinds.items():
            if not own.get(kind):
                continue
            row = self._tables[name].get(own[kind])
            if row is None:
                return f"{name}: it has no such row"
            if row["status"] != Status.OK.value:
                return f"{name}: {_said(row)}"
        return "a row that it reads is missing"


def _said(row: Mapping[str, Any]) -> str:
    """As ``rejected too_small (48 against 64)``."""
    found = f"{row['status']} {row['code'] or ''}".strip()
    if row.get("value") is not None and row.get("threshold") is not None:
        found += f" ({row['value']:g} against {row['threshold']:g})"
    return f"{found}: {row['error']}" if row.get("error") else found
