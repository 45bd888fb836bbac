"""Lists of addresses that sites publish: sitemaps, sitemap indexes, RSS, Atom and plain text."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  (a compiled module without stubs)

__all__ = ["Listed", "read_feed"]

_MOST_BYTES = 60_000_000


@dataclass(frozen=True)
class Listed:
    """Addresses of pages and of further sitemaps, as written, in order."""

    pages: tuple[str, ...] = ()
    sitemaps: tuple[str, ...] = ()
    readable: bool = True


def read_feed(data: bytes) -> Listed:
    """What a sitemap or feed lists; ``readable`` is False when it is neither."""
    data = unpacked(data)
    head = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:5]
    if not head.startswith(b"<"):
        lines = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
        pages = tuple(line for line in lines if line.startswith(("http://", "https://")))
        return Listed(pages, readable=bool(pages))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True, huge_tree=False, load_dtd=False)
    try:
        root = etree.fromstring(data, parser)
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


def _name(node: etree._Element) -> str:
    return etree.QName(node).localname.lower() if isinstance(node.tag, str) else ""


def _all(root: etree._Element, name: str) -> list[etree._Element]:
    return [node for node in root.iter() if _name(node) == name]


def _child(node: etree._Element, name: str) -> str:
    return next(("".join(child.itertext()).strip() for child in node if _name(child) == name), "")


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
    return str(best.get("href")) if best is not None else ""
