"""What a source yields: documents with their text and their images.

A :class:`Document` is content only (what a reader of the page sees); where it was found, when, and how
often it was asked for stand in the fetch log. Lone surrogates and NUL in any text are replaced when a
document is made, because neither UTF-8 files nor Parquet can carry them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from diptych.naming import digest_bytes

__all__ = ["Document", "Found", "Picture", "clean_surrogates", "json_object"]

_ENCODE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def clean_surrogates(text: str) -> str:
    """``text`` with lone surrogates and NUL replaced by U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd") if _bad(text) else text


def _bad(text: str) -> bool:
    return "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)


def json_object(text: str | None) -> dict[str, Any]:
    """What a source's JSON holds; empty when it is none. Escaped halves of a character, which no file holds, go."""
    try:
        value = json.loads(text) if text else {}
        if text and "\\ud" in text.lower():
            value = json.loads(clean_surrogates(json.dumps(value, ensure_ascii=False)))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Picture:
    """A reference to an image inside a document; ``caption`` may hold several, one a line."""

    url: str
    caption: str = ""
    alt: str = ""
    extra: str = ""
    """JSON of what the source knows more (annotated boxes, licence, votes); empty when nothing."""

    def __post_init__(self) -> None:
        for name in ("url", "caption", "alt", "extra"):
            object.__setattr__(self, name, clean_surrogates(getattr(self, name)))


@dataclass(frozen=True)
class Document:
    """The text of one record; ``text`` has one paragraph a line, ``language`` is ISO 639-1 or empty."""

    title: str = ""
    text: str = ""
    summary: str = ""
    language: str = ""
    keyphrases: tuple[str, ...] = ()
    extra: str = ""
    """JSON of labels and metadata the source carries (levels, relevance classes, licence)."""

    def __post_init__(self) -> None:
        for name in ("title", "text", "summary", "language", "extra"):
            object.__setattr__(self, name, clean_surrogates(getattr(self, name)))
        object.__setattr__(self, "keyphrases", tuple(clean_surrogates(k) for k in self.keyphrases))

    def to_bytes(self) -> bytes:
        """Canonical JSON: the blob a snapshot names; its SHA-256 is the record's content hash."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _ENCODE(values).encode()

    def digest(self) -> str:
        """The content hash."""
        return digest_bytes(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Document:
        """The document a blob holds; keys that this release does not know are ignored."""
        raw: dict[str, Any] = json.loads(data)
        values = {f.name: raw[f.name] for f in fields(cls) if f.name in raw and f.name != "keyphrases"}
        return cls(**values, keyphrases=tuple(raw.get("keyphrases", ())))


@dataclass(frozen=True)
class Found:
    """One record as a source found it: its own id there, its address, its text, its pictures in order."""

    source_id: str
    url: str
    document: Document
    pictures: tuple[Picture, ...] = field(default=())
    split: str = ""
    """The official split the source's files assign, else empty."""
