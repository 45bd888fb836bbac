"""Lists of addresses that sites publish: sitemaps, sitemap indexes, RSS, Atom and plain text."""

from __future__ import annotations

import re
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from html.entities import html5
from urllib.parse import urljoin

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  (a compiled module without stubs)

__all__ = ["Listed", "read_feed"]

_MOST_BYTES = 60_000_000
_UTF16 = ((BOM_UTF16_LE, "utf-16-le"), (BOM_UTF16_BE, "utf-16-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_ENCODING = re.compile(r"""(<\?xml[^>]{0,200}?)\s+encoding\s*=\s*["'][^"'>]*["']""")
# An ampersand outside CDATA and comments that begins no reference by number.
_AMPERSAND = re.compile(
    rb"<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)"
    rb"|&(?!(?:#\d{1,7}|#x[0-9A-Fa-f]{1,6});)([A-Za-z]\w{0,31};)?",
    re.S,
)


@dataclass(frozen=True)
class Listed:
    """Addresses of pages and of further sitemaps, as written, in order."""

    pages: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    readable: bool = True


def read_feed(data: bytes) -> Listed:
    """What a sitemap or feed lists; ``readable`` is False when it is neither."""
    data = _utf8(unpacked(data))
    if not data.startswith(b"<"):
        lines = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
        pages = tuple(line for line in lines if line.startswith(("http://", "https://")))
        return Listed(pages, readable=bool(pages))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True, huge_tree=False, load_dtd=False)
    try:
        root = etree.fromstring(_AMPERSAND.sub(_reference, data), parser)
    except (etree.XMLSyntaxError, ValueError):
        return Listed(readable=False)
    if root is None:
        return Listed(readable=False)
    name = _name(root)
    if name == "sitemapindex":
        return Listed(sitemaps=_texts(root, "sitemap", "loc"))
    if name == "urlset":
        return Listed(_texts(root, "url", "loc"))
    if name in ("rss", "rdf"):
        return Listed(tuple(link for item in _all(root, "item") if (link := _rss_link(item))))
    if name == "feed":
        return Listed(tuple(link for entry in _all(root, "entry") if (link := _atom_link(entry))))
    return Listed(readable=False)


def unpacked(data: bytes) -> bytes:
    """A gzipped file's content, bounded."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return zlib.decompressobj(wbits=31).decompress(data, _MOST_BYTES)
    except zlib.error:
        return b""


def _utf8(data: bytes) -> bytes:
    """Without mark and white space before it, and what was UTF-16 as UTF-8; other encodings are as they were."""
    for start, codec in _UTF16:
        if data.startswith(start):
            text = data.decode(codec, "replace").lstrip("\ufeff \t\r\n")
            return _ENCODING.sub(r"\1", text, count=1).encode("utf-8", "replace")
    return data.removeprefix(BOM_UTF8).lstrip(b" \t\r\n")


def _reference(found: re.Match[bytes]) -> bytes:
    """Named characters by number, any other stray ampersand as itself.

    XML does not know HTML's names, and after a fault in a document the parser drops even its own, ``&amp;`` too.
    """
    name = found[1]
    if not found[0].startswith(b"&"):
        return found[0]
    char = html5.get(name.decode()) if name else None
    return "".join(f"&#{ord(c)};" for c in char).encode() if char else b"&#38;" + (name or b"")


def _name(node: etree._Element) -> str:
    """The local name, lower-case; also of a prefix that nothing declares, which stays in the tag."""
    return node.tag.rpartition("}")[2].rpartition(":")[2].lower() if isinstance(node.tag, str) else ""


def _all(root: etree._Element, name: str) -> list[etree._Element]:
    return [node for node in root.iter() if _name(node) == name]


def _child(node: etree._Element, name: str) -> str:
    texts = ("".join(child.itertext(etree.Element)).strip() for child in node if _name(child) == name)
    return next((text for text in texts if text), "")


def _texts(root: etree._Element, outer: str, inner: str) -> tuple[str, ...]:
    return tuple(text for node in root if _name(node) == outer and (text := _child(node, inner)))


def _rss_link(item: etree._Element) -> str:
    link = _child(item, "link")
    if link:
        return link
    guid = next((child for child in item if _name(child) == "guid"), None)
    if guid is not None and guid.get("isPermaLink", "true") != "false":
        return (guid.text or "").strip()
    return ""


def _atom_link(entry: etree._Element) -> str:
    links = [child for child in entry if _name(child) == "link" and child.get("href")]
    best = next((link for link in links if link.get("rel", "alternate") == "alternate"), None)
    if best is None:
        return ""
    href = str(best.get("href"))
    try:
        return urljoin(best.base or "", href)
    except ValueError:
        return href
