"""A document as a JSON file: ``title text summary language keyphrases images split``; other keys are its ``extra``.

``id`` is not kept: a file names its record.
"""

from __future__ import annotations

import json
from typing import Any

from diptych.records import Document, Picture
from diptych.sources.charset import decode_text
from diptych.sources.fields import Wrong, joined, load_json, shown, text_in, texts_in
from diptych.sources.language import language_tag
from diptych.sources.official import check_split
from diptych.sources.urls import file_url

__all__ = ["compact_json", "read_document"]

_KEYS = frozenset({"id", "title", "text", "summary", "language", "keyphrases", "images", "split"})
_OF_A_PICTURE = frozenset({"caption", "captions", "alt"})


def read_document(data: bytes, language: str, caption_of: str = "") -> tuple[Document, tuple[Picture, ...], str]:
    """A JSON document, its pictures and its split; :class:`Wrong` names the field that does not fit.

    With ``caption_of`` the file is the sidecar of that picture: its ``caption`` or ``captions`` (else ``text``) are
    the picture's.
    """
    try:
        raw = load_json(decode_text(data))
    except ValueError as error:
        raise Wrong("file", "a JSON object", str(error)) from None
    if not isinstance(raw, dict):
        raise Wrong("file", "a JSON object", shown(raw))
    text, caption = text_in(raw, "text"), _captions(raw) if caption_of else _lines(raw, "caption")
    stated = text_in(raw, "language")
    own = _KEYS | (_OF_A_PICTURE if caption_of else set() if text else {"caption"})
    document = Document(
        title=text_in(raw, "title"),
        text=text or caption,
        summary=text_in(raw, "summary"),
        language=language_tag(stated) or stated or language,
        keyphrases=_keyphrases(raw),
        extra=compact_json({k: v for k, v in raw.items() if k not in own}),
    )
    if caption_of:
        pictures: tuple[Picture, ...] = (Picture(caption_of, caption or text, text_in(raw, "alt")),)
    else:
        pictures = tuple(_image(image, f"images[{place}]") for place, image in enumerate(_images(raw)))
    return document, pictures, check_split(text_in(raw, "split"))


def compact_json(extra: dict[str, Any]) -> str:
    """JSON sorted by key; empty when there is none."""
    return json.dumps(extra, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if extra else ""


def _keyphrases(raw: dict[str, Any]) -> tuple[str, ...]:
    found = texts_in(raw, "keyphrases")
    if isinstance(raw.get("keyphrases"), str):
        found = [part.strip() for text in found for part in text.split(",")]
    return tuple(phrase for phrase in found if phrase.strip())


def _images(raw: dict[str, Any]) -> list[Any]:
    found = raw.get("images")
    if found is not None and not isinstance(found, list):
        raise Wrong("images", "a list of files, or of objects with 'file'", shown(found))
    return found or []


def _image(raw: Any, place: str) -> Picture:
    if isinstance(raw, str):
        return Picture(file_url(raw))
    if not isinstance(raw, dict) or not isinstance(raw.get("file"), str):
        raise Wrong(place, "a file or an object with 'file'", shown(raw))
    caption, alt = _captions(raw, f"{place}."), text_in(raw, "alt", f"{place}.")
    extra = {k: v for k, v in raw.items() if k not in ("file", "caption", "alt")}
    return Picture(file_url(raw["file"]), caption, alt, compact_json(extra))


def _captions(raw: dict[str, Any], place: str = "") -> str:
    """``caption`` or, where there is none, ``captions``; each a text or a list of texts."""
    return _lines(raw, "caption", place) or _lines(raw, "captions", place)


def _lines(raw: dict[str, Any], key: str, place: str = "") -> str:
    """A text as it is; the texts of a list, one a line."""
    found = texts_in(raw, key, place)
    return raw[key] if isinstance(raw.get(key), str) else joined(found)
