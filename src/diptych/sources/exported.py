"""Reading back what ``diptych export`` wrote: a row or a sample becomes the record that it was made from.

Texts, captions of each picture, alternative texts, metadata, official split and id come from the file itself, so that
no setting is needed. A licence that a recipe had given stands in the metadata from then on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.records import Document, Picture

__all__ = ["FORMAT", "document_of", "is_export", "picture_of"]

FORMAT = "diptych export 1"
"""Marks a file as an export of Diptych."""


def is_export(mark: object) -> bool:
    """Whether a file's mark is one that this release reads."""
    return mark in (FORMAT, FORMAT.encode())


def document_of(values: Mapping[str, Any], pictures: Sequence[Picture]) -> Document:
    """The record's text."""
    extra = _text(values, "extra")
    return Document(
        title=_text(values, "title"),
        text=_text(values, "text"),
        summary=_text(values, "summary"),
        language=_text(values, "language"),
        keyphrases=tuple(str(k) for k in values.get("keyphrases") or ()),
        extra=extra if pictures else _with_licence(extra, _text(values, "licence")),
    )


def picture_of(url: str, values: Mapping[str, Any]) -> Picture:
    """One picture with its captions, one a line."""
    captions = "\n".join(str(c) for c in values.get("captions") or ())
    extra = _with_licence(_text(values, "extra"), _text(values, "licence"))
    return Picture(url, captions, _text(values, "alt"), extra)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""


def _with_licence(extra: str, licence: str) -> str:
    if not licence:
        return extra
    try:
        known = json.loads(extra) if extra else {}
    except ValueError:
        return extra
    if not isinstance(known, dict) or any(key in known for key in ("licence", "license")):
        return extra
    return json.dumps({**known, "licence": licence}, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
