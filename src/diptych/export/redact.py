"""Redaction: no addresses, no handles, no ids that could be guessed, no metadata inside pictures.

Texts: web and mail addresses become ``HTTPURL`` and ``EMAIL``, mentions ``@USER`` (the words that models of posts were
trained with). Whatever stands before the sign of a mention, it is one, and it goes as far as letters do: Chinese is
written without spaces. Licences keep the addresses of public licences, which name nobody. Records get new ids: a keyed
hash of the old one (an old id is a hash of an address, so it could be guessed); the key is drawn for each export and
thrown away, unless one is given. Columns with addresses and source ids are empty, metadata keep an allow-list, pictures
lose theirs (``strip``).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from diptych.export.rows import ExportImage, ExportRecord, StageColumn
from diptych.export.strip import strip_metadata
from diptych.naming import digest_bytes
from diptych.records import Document, json_object

__all__ = ["KEPT_TEXT_COLUMNS", "Redaction", "redact_text"]

_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]++[@\uff20][\w-]++(?:\.[\w-]++)+")
_ENDS = """\\s<>"'\u3000-\u303f\uff00-\uffef"""
"""What no address goes across, as members of a class of characters."""
_LETTER = r"a-z0-9_\u00c0-\u024f"
_HOSTS = (
    "com|org|net|info|biz|gov|edu|mil|io|dev|app|xyz|cn|hk|tw|jp|kr|uk|eu|ru|tv|xn--[a-z0-9-]+|"
    "(?-i:co|de|fr|nl|ch|es|pl|se|br|au|ca|ai)"
)
"""Ends of hosts that make an address of two words with a dot between. Those that are words, too, only in small letters:
``fin.De`` is a missing space."""
_WITH_PATH = (
    "ly|me|gl|be|it|to|in|at|us|am|so|la|my|cc|ws|st|im|gg|fm|sh|is|id|link|page|site|top|news|blog|online|club"
)
"""Ends of hosts that make one only with a path behind them."""
_URL = re.compile(
    rf"(?:[a-z][a-z0-9+.-]{{1,20}}://|www\.)[^{_ENDS}]+"
    rf"|(?<![{_LETTER}-])(?:[{_LETTER}-]{{1,63}}\.){{1,8}}"
    rf"(?:(?:{_HOSTS})(?![{_LETTER}])(?::\d+)?(?:[/?#][^{_ENDS}]*)?|(?:{_WITH_PATH})(?::\d+)?/[^{_ENDS}]*)"
    rf"|[^\W{_LETTER}]{{1,20}}\.(?:com|net|org|cn|中国)(?![{_LETTER}])(?:[/?#][^{_ENDS}]*)?",
    re.IGNORECASE,
)
_MENTION = re.compile(r"[@\uff20\ufe6b][\u200b-\u200f\u2060-\u2069]*\w(?:[\w.·-]*\w)?")
_LICENCE = re.compile(
    r"(?<![\w.@/-])(?:https?://)?(?:www\.)?(?:"
    r"(?:creativecommons\.org/(?:licenses|publicdomain)|(?:opendatacommons|spdx|gnu|apache)\.org/licenses"
    r"|opensource\.org/licenses?|rightsstatements\.org/(?:vocab|page))/[a-z0-9_./-]*"
    r"|flickr\.com/commons/usage/?|usa\.gov/copyright\.shtml|(?:unsplash|pexels)\.com/license/?"
    r")(?![^\s<>\"',;)\]])",
    re.IGNORECASE,
)
"""Addresses of licences and of statements of rights; none with a question or a name behind it."""
_NUMBERS = ("boxes", "crowd", "width", "height", "levels", "score")
_LICENCES = ("licence", "license")
_NAMES = ("classes", *_LICENCES, "language", "category", "label", "labels", "levels")
KEPT_TEXT_COLUMNS = frozenset({"class_names", "attributes", "language", "predicates"})
"""Text columns of stages that come from a model's list of names, not from the record."""


def redact_text(text: str) -> str:
    """A text without addresses and handles."""
    return _MENTION.sub("@USER", _URL.sub("HTTPURL", _MAIL.sub("EMAIL", text)))


def _redact_licence(text: str) -> str:
    """A licence's name without addresses and handles, but for addresses of public licences."""
    parts, place = [], 0
    for found in _LICENCE.finditer(text):
        parts += [redact_text(text[place : found.start()]), found[0]]
        place = found.end()
    return "".join([*parts, redact_text(text[place:])])


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
            licence=_redact_licence(record.licence),
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
            licence=_redact_licence(image.licence),
        )


def kept_columns(columns: Sequence[StageColumn], texts: Mapping[str, bool]) -> tuple[list[StageColumn], list[str]]:
    """The stage columns a redacted export may carry, and the labels of those left out: any that hold free text."""
    kept = [c for c in columns if not texts[c.label] or c.name in KEPT_TEXT_COLUMNS]
    return kept, [c.label for c in columns if c not in kept]


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a source's metadata: numbers and names from the allow-list."""
    found: dict[str, Any] = {k: values[k] for k in _NUMBERS if k in values and _numeric(values[k])}
    for key in _NAMES:
        value, redacted = values.get(key), _redact_licence if key in _LICENCES else redact_text
        if isinstance(value, str):
            found[key] = redacted(value)
        elif isinstance(value, list) and all(isinstance(v, str) for v in value):
            found[key] = [redacted(v) for v in value]
    return found


def _numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(_numeric(item) for item in value)
    return isinstance(value, int | float)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if values else ""
