"""What bytes are, from the bytes: a server's Content-Type is a hint and no more."""

from __future__ import annotations

import re

__all__ = ["is_feed", "is_page", "looks_like_image", "sniff_image"]

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"BM", "bmp"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"\0\0\1\0", "ico"),
    (0, b"\0\0\0\x0cjP  ", "jpeg2000"),
    (0, b"\xffO\xffQ", "jpeg2000"),
    (0, b"\xff\x0a", "jxl"),
    (0, b"\0\0\0\x0cJXL ", "jxl"),
)
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"hevc")
_MARKUP = re.compile(rb"\s*(<\?xml|<!doctype|<html|<head|<body|<!--|<script|<svg|<rss|<feed|<urlset)", re.I)
# Nothing is tried twice: each way to cut a run of comments into comments would be one more try.
_FEED = re.compile(
    rb"\s*+(?:<\?xml[^>]*>\s*+)?(?><!--.*?-->\s*+)*+<(?:rss|feed|rdf:rdf|urlset|sitemapindex)[\s>]", re.I | re.S
)
_HTML_TYPES = ("text/html", "application/xhtml+xml", "text/plain", "application/xml", "text/xml", "")


def sniff_image(data: bytes) -> str:
    """The format a picture's first bytes tell, empty when none that is known."""
    for offset, signature, name in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature and (name != "webp" or data[:4] == b"RIFF"):
            return name
    return "avif" if data[4:8] == b"ftyp" and data[8:12] in _BRANDS else ""


def looks_like_image(data: bytes, content_type: str) -> bool:
    """Whether bytes may be a picture: a known signature, or bytes sent as a picture that are damaged but no text."""
    if sniff_image(data):
        return True
    if not data or _MARKUP.match(data[:512]) or data[:5] == b"%PDF-":
        return False
    return content_type.startswith("image/") and "svg" not in content_type and not _is_text(data[:512])


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(char.isprintable() or char in "\r\n\t\f" for char in text)


def is_page(data: bytes, content_type: str) -> bool:
    """Whether bytes may be a web page: declared as text or not at all, and neither a picture nor a PDF nor binary."""
    if sniff_image(data) or data[:5] == b"%PDF-" or data[:2] == b"PK" or data[:2] == b"\x1f\x8b":
        return False
    declared = content_type.partition(";")[0].strip().lower()
    if declared in _HTML_TYPES:
        return True
    return bool(_MARKUP.match(data[:512]))


def is_feed(data: bytes) -> bool:
    """Whether bytes begin as RSS, Atom or a sitemap."""
    return bool(_FEED.match(data[:2048].removeprefix(b"\xef\xbb\xbf")))
