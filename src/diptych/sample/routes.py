"""Which answer belongs to which path of the site."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from diptych.sample import pages
from diptych.sample.dirt import AD_SIZES, LOGO, NEWSLETTER, advert
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.picture import CONTENT_TYPES
from diptych.sample.planning import EPOCH, published
from diptych.sample.response import Response, delivered, etag, not_modified, plain, redirect, stamp, unchanged
from diptych.sample.schedule import BLOCK

if TYPE_CHECKING:
    from diptych.sample.site import Site

_NEWS = re.compile(r"^/news/(?:en|zh)/(\d+)-[\w-]+\.html$")
_MEDIA = re.compile(r"^(?:/private|/go|/loop|/ads)?/?(?:media/)?(\d{4,})/(\d+)-[0-9a-f]+(?:-again)?\.\w+$")
_INDEX = re.compile(r"^/page/(\d+)\.html$")
_ARCHIVE = re.compile(r"^(?:/private)?/archive/(\d{4,})-(\w+?)(-again)?\.html$")
_SITEMAP = re.compile(r"^/sitemap-(\d+)\.xml$")
_SITEMAP_SIZE = 5000
_FEED_SIZE = 20
_STATUS = {"http_404": 404, "http_410": 410, "http_500": 500}


def respond(site: Site, path: str, headers: Mapping[str, str]) -> Response:
    """Return the site's answer to a GET request."""
    path = path.split("?", 1)[0]
    origin = "http://" + next((value for name, value in headers.items() if name.lower() == "host"), "127.0.0.1")
    if match := _NEWS.match(path):
        return _article(site, int(match[1]), path, headers)
    if path.startswith("/go/news/"):
        return redirect(path.removeprefix("/go"), 301)
    if path == "/":
        return _index(site, 1, headers)
    if match := _INDEX.match(path):
        return _index(site, int(match[1]), headers)
    if path == "/robots.txt":
        return _text(pages.ROBOTS.format(origin=origin).encode(), "text/plain; charset=utf-8", headers)
    if path == "/sitemap.xml" or _SITEMAP.match(path):
        return _sitemap(site, path, origin, headers)
    if path == "/feed.xml":
        recent = [d for d in site.iterate(max(0, site.documents - _FEED_SIZE))]
        return _text(pages.feed(reversed(recent), origin), "application/rss+xml; charset=utf-8", headers)
    if path in ("/about.html", "/contact.html"):
        return _text(pages.boilerplate_page(path[1:-5].title()), "text/html; charset=utf-8", headers)
    if match := _ARCHIVE.match(path):
        return _archive(site, int(match[1]), match[2], bool(match[3]), path, headers)
    return _media(site, path, headers)


def _text(
    body: bytes, kind: str, headers: Mapping[str, str], modified: str | None = None, delivery: str = "ok"
) -> Response:
    tag = '"' + hashlib.sha256(body).hexdigest()[:20] + '"'
    date = stamp(modified or EPOCH.isoformat())
    # A page whose list of links changed has a new tag but perhaps an old date: only the tag is trusted, so no date is
    # compared.
    asked = {name: value for name, value in headers.items() if modified or name.lower() != "if-modified-since"}
    if unchanged(asked, tag, date):
        return delivered(not_modified(tag, date), delivery)
    known = {"Content-Type": kind, "ETag": tag, **({"Last-Modified": date} if modified else {})}
    return delivered(Response(200, body, known), delivery)


def _article(site: Site, index: int, path: str, headers: Mapping[str, str]) -> Response:
    if index >= site.documents:
        return plain(404, "no such article")
    if site.removed(index):
        return plain(410, "this article was removed")
    document = site.document(index)
    if document.path != path:
        return plain(404, "no such article")
    body = pages.article_page(document)
    kind = f"text/html; charset={document.style.charset}"
    return _text(body, kind, headers, document.published, document.style.delivery)


def _index(site: Site, number: int, headers: Mapping[str, str]) -> Response:
    if not 1 <= number <= site.blocks:
        return plain(404, "no such page")
    documents = site.iterate((number - 1) * BLOCK, number * BLOCK)
    extra = [trap.path for trap in site.traps(number - 1)]
    return _text(pages.index_page(number, site.blocks, documents, extra), "text/html; charset=utf-8", headers)


def _sitemap(site: Site, path: str, origin: str, headers: Mapping[str, str]) -> Response:
    match = _SITEMAP.match(path)
    parts = -(-site.documents // _SITEMAP_SIZE)
    if match is None and parts > 1:
        body = pages.sitemap_index((f"/sitemap-{part + 1}.xml" for part in range(parts)), origin)
    else:
        part = int(match[1]) - 1 if match else 0
        if not 0 <= part < max(1, parts):
            return plain(404, "no such sitemap")
        documents = site.iterate(part * _SITEMAP_SIZE, (part + 1) * _SITEMAP_SIZE)
        body = pages.sitemap(((document.requested, document.published) for document in documents), origin)
    return _text(body, "application/xml; charset=utf-8", headers)


def _archive(site: Site, block: int, kind: str, again: bool, path: str, headers: Mapping[str, str]) -> Response:
    first = path.replace("-again", "")
    if not any(trap.path == first for trap in site.traps(block) if block < site.blocks):
        return plain(404, "nothing here")
    if kind in _STATUS:
        return plain(_STATUS[kind], f"archive: {kind}")
    if kind == "redirect_loop":
        return redirect(first if again else first.replace(".html", "-again.html"))
    if kind == "boilerplate":
        return _text(pages.boilerplate_page("Archive"), "text/html; charset=utf-8", headers)
    document = next(site.iterate(block * BLOCK), None)
    shown = [image.path for image in document.kept if image.delivery == "ok"] if document else []
    if kind == "robots":
        shown = ["/private" + path for path in shown if path.startswith("/media/")]
    return _text(pages.pictures_page(shown, "Archive"), "text/html; charset=utf-8", headers)


def _media(site: Site, path: str, headers: Mapping[str, str]) -> Response:
    """Answer with a picture: one of the site's own, an advertisement, or one of a document."""
    for image in (LOGO, NEWSLETTER, *(advert(number) for number in range(len(AD_SIZES)))):
        if path == image.path:
            return _file(site, image, published(0), headers)
    match = _MEDIA.match(path)
    if match is None or int(match[1]) >= site.documents or site.removed(int(match[1])):
        return plain(404, "no such file")
    document = site.document(int(match[1]))
    image = _find(document, path)
    if image is None:
        return plain(404, "no such file")
    if path.startswith("/go/"):
        return redirect(path.removeprefix("/go"))
    if image.delivery == "redirect_loop":
        return redirect(path.replace("-again", "") if "-again" in path else path.replace(".", "-again.", 1))
    if image.delivery in _STATUS:
        return plain(_STATUS[image.delivery], f"picture: {image.delivery}")
    return _file(site, image, document.published, headers)


def _find(document: SampleDocument, path: str) -> SampleImage | None:
    asked = path.replace("-again", "")
    for image in document.images:
        if asked in (image.path, image.path.removeprefix("/go"), "/private" + image.path):
            return image
    return None


def _file(site: Site, image: SampleImage, modified: str, headers: Mapping[str, str]) -> Response:
    tag, date = etag(site.seed, image.plan), stamp(modified)
    if unchanged(headers, tag, date):
        return delivered(not_modified(tag, date), image.delivery)
    kind = CONTENT_TYPES.get(image.path.rsplit(".", 1)[-1], "application/octet-stream")
    known = {"Content-Type": kind, "ETag": tag, "Last-Modified": date}
    return delivered(Response(200, site.image_bytes(image), known), image.delivery)
