"""Reading back what ``diptych export`` wrote: a row or a sample becomes the record that it was made from.

Texts, captions of each picture, alternative texts, metadata, official split and id come from the file itself, so that
no setting is needed. A licence that a recipe had given stands in the metadata from then on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from diptych.records import Document, Picture
from diptych.sources.fields import text_in, texts_in

__all__ = ["FORMAT", "document_of", "is_export", "picture_of"]

FORMAT = "diptych export 1"
"""Marks a file as an export of Diptych."""


def is_export(mark: object) -> bool:
    """Whether a file's mark is one that this release reads."""
    return mark in (FORMAT, FORMAT.encode())


def document_of(values: Mapping[str, Any]) -> Document:
    """The record's text; :class:`~diptych.sources.fields.Wrong` names a field of another type."""
    return Document(
        title=text_in(values, "title"),
        text=text_in(values, "text"),
        summary=text_in(values, "summary"),
        language=text_in(values, "language"),
        keyphrases=tuple(texts_in(values, "keyphrases")),
        extra=_with_licence(text_in(values, "extra"), text_in(values, "licence")),
    )


def picture_of(url: str, values: Mapping[str, Any]) -> Picture:
    """One picture with its captions, one a line; :class:`~diptych.sources.fields.Wrong` as above."""
    extra = _with_licence(text_in(values, "extra"), text_in(values, "licence"))
    return Picture(url, "\n".join(texts_in(values, "captions")), text_in(values, "alt"), extra)


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
