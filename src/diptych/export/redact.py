"""Redaction: no addresses, no handles, no ids that could be guessed, no metadata inside pictures.

Texts: web and mail addresses become ``HTTPURL`` and ``EMAIL``, mentions ``@USER`` (the words that models of posts were
trained with). Records get new ids: a keyed hash of the old one (an old id is a hash of an address, so it could be
guessed); the key is drawn for each export and thrown away, unless one is given. Columns with addresses and source ids
are empty, metadata keep an allow-list, pictures lose theirs (``strip``).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from diptych.export.rows import ExportImage, ExportRecord, StageColumn, json_object
from diptych.export.strip import strip_metadata
from diptych.naming import digest_bytes
from diptych.records import Document

__all__ = ["KEPT_TEXT_COLUMNS", "Redaction", "redact_text"]

_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(
    r"""(?:https?://|www\.)[^\s<>"'\u3000-\u303f\uff00-\uffef]+"""
    r"""|(?<![\w@.])(?:[a-z0-9-]+\.)+(?:com|org|net|info|io|gov|edu|co|cn|uk|de|fr|jp|ly|me|tv|gl|be)/[^\s<>"']*""",
    re.IGNORECASE,
)
_MENTION = re.compile(r"(?<![\w@\uff20])[@\uff20][\w][\w.·-]{0,29}")
_NUMBERS = ("boxes", "crowd", "width", "height", "levels", "score")
_NAMES = ("classes", "licence", "license", "language", "category", "label", "labels", "levels")
KEPT_TEXT_COLUMNS = frozenset({"class_names", "attributes", "language", "predicates"})
"""Text columns of stages that come from a model's list of names, not from the record."""


def redact_text(text: str) -> str:
    """A text without addresses and handles."""
    return _MENTION.sub("@USER", _URL.sub("HTTPURL", _MAIL.sub("EMAIL", text)))


class Redaction:
    """Redacts records; ``key`` makes ids repeatable."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def record_id(self, record: str) -> str:
        """The new id of a record."""
        return hmac.new(self._key, record.encode(), hashlib.sha256).hexdigest()[:32]

    def record(self, record: ExportRecord) -> ExportRecord:
        """The record without anything that says whose it is."""
        document = record.document
        return replace(
            record,
            id=self.record_id(record.original),
            source_id="",
            url="",
            document=Document(
                title=redact_text(document.title),
                text=redact_text(document.text),
                summary=redact_text(document.summary),
                language=document.language,
                keyphrases=tuple(redact_text(k) for k in document.keyphrases),
                extra=_json(_kept(json_object(document.extra))),
            ),
            licence=redact_text(record.licence),
            images=tuple(self._image(image) for image in record.images),
        )

    def _image(self, image: ExportImage) -> ExportImage:
        data = strip_metadata(image.read())
        return replace(
            image,
            key=digest_bytes(data),
            read=lambda: data,
            url="",
            captions=tuple(redact_text(c) for c in image.captions),
            alt=redact_text(image.alt),
            extra=_kept(image.extra),
            licence=redact_text(image.licence),
        )


def kept_columns(columns: Sequence[StageColumn], texts: Mapping[str, bool]) -> tuple[list[StageColumn], list[str]]:
    """The stage columns a redacted export may carry, and the labels of those left out: any that hold free text."""
    kept = [c for c in columns if not texts[c.label] or c.name in KEPT_TEXT_COLUMNS]
    return kept, [c.label for c in columns if c not in kept]


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a source's metadata: numbers and names from the allow-list."""
    found: dict[str, Any] = {k: values[k] for k in _NUMBERS if k in values and _numeric(values[k])}
    for key in _NAMES:
        value = values.get(key)
        if isinstance(value, str):
            found[key] = redact_text(value)
        elif isinstance(value, list) and all(isinstance(v, str) for v in value):
            found[key] = [redact_text(v) for v in value]
    return found


def _numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(_numeric(item) for item in value)
    return isinstance(value, int | float)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if values else ""
