"""The HTML of the site: articles, index pages, feed, sitemap, robots.txt, and the pages that are traps."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from html import escape

from diptych.sample.document import SampleDocument, SampleImage

NAME = "The Diptych Gazette"
ROBOTS = "User-agent: *\nDisallow: /private/\nAllow: /\nSitemap: {origin}/sitemap.xml\n"
_MENU = (("/", "Home"), ("/feed.xml", "Feed"), ("/about.html", "About"), ("/contact.html", "Contact"))
_LEGAL = "All pictures on this page were made by a program. No rights are reserved. Cookies are not used."


def head(title: str, language: str, extra: str = "", charset: str = "utf-8") -> str:
    """Return a page's opening up to its main part: head, header, logo and menu."""
    menu = "".join(f'<li><a href="{path}">{name}</a></li>' for path, name in _MENU)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="{charset}">\n'
        f"<title>{escape(title)}</title>\n{extra}"
        f'<link rel="alternate" type="application/rss+xml" href="/feed.xml">\n</head>\n<body>\n<header><a href="/">'
        f'<img src="/static/logo.png" alt="{NAME}" width="180" height="44"></a>\n<nav><ul>{menu}</ul></nav></header>\n'
    )


def foot() -> str:
    """Return the boilerplate at the end of each page."""
    links = '<a href="/about.html">Imprint</a> · <a href="/contact.html">Contact</a>'
    return f"<footer><p>{_LEGAL}</p><p>{links}</p></footer>\n</body>\n</html>\n"


def _source(path: str, document: SampleDocument) -> str:
    """Return how the page writes an image's address: relative to its <base> or absolute on the site."""
    return path[1:] if document.style.base_href else path


def _figure(image: SampleImage, document: SampleDocument) -> str:
    source = _source(image.path, document)
    text = image.caption.text if image.caption else ""
    size = f'width="{image.plan.picture.width}" height="{image.plan.picture.height}"'
    if image.place != "article":
        return f'<a href="{_source("/contact.html", document)}"><img src="{source}" alt="{escape(text)}" {size}></a>\n'
    if image.markup == "alt":
        return f'<p><img src="{source}" alt="{escape(text)}" {size}></p>\n'
    label = f"<figcaption>{escape(text)}</figcaption>" if text else ""
    if image.markup == "srcset":
        sizes = f'srcset="{source} {image.plan.picture.width}w" sizes="100vw"'
        return f'<figure><img src="{source}" {sizes} alt="">{label}</figure>\n'
    if image.markup == "lazy":
        blank = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
        return (
            f'<figure><img src="{blank}" data-src="{source}" loading="lazy" class="lazyload" alt="">{label}</figure>\n'
        )
    return f'<figure><img src="{source}" alt="" {size}>{label}</figure>\n'


def article_page(document: SampleDocument) -> bytes:
    """Return the bytes of an article's page in its charset; characters outside it are written as references."""
    article, style = document.article, document.style
    extra = ""
    if style.base_href:
        extra += '<base href="/">\n'
    if style.description:
        extra += f'<meta name="description" content="{escape(article.summary.text)}">\n'
    if style.keywords:
        words = ", ".join(item.text for item in article.keyphrases if item.where == "text")
        extra += f'<meta name="keywords" content="{escape(words)}">\n'
    extra += f'<meta property="article:published_time" content="{document.published}">\n'
    inside = [image for image in document.images if image.place == "article"]
    texts = [sentence.text for sentence in article.sentences]
    glue = "" if document.language == "zh" else " "
    paragraphs = [glue.join(texts[start : start + 3]) for start in range(0, len(texts), 3)]
    body = ""
    for number in range(max(len(paragraphs), len(inside))):
        if number < len(paragraphs):
            body += f"<p>{escape(paragraphs[number])}</p>\n"
        if number < len(inside):
            body += _figure(inside[number], document)
    aside = "".join(_figure(image, document) for image in document.images if image.place == "aside")
    related = "Read next" if document.language == "en" else "相关阅读"
    page = (
        head(f"{article.title} - {NAME}", document.language, extra, style.charset)
        + f"<main>\n<article>\n<h1>{escape(article.title)}</h1>\n"
        f'<time datetime="{document.published}">{document.published[:10]}</time>\n{body}</article>\n</main>\n'
        + f'<aside><h2>{related}</h2><ul><li><a href="/">{NAME}</a></li></ul>\n{aside}</aside>\n'
        + foot()
    )
    return page.encode(style.charset, errors="xmlcharrefreplace")


def index_page(number: int, last: int, documents: Iterable[SampleDocument], extra: Iterable[str]) -> bytes:
    """Return one page of the index: links to articles (through /go/ for redirected ones), traps, and its neighbours."""
    items = ""
    for document in documents:
        items += (
            f'<li><a href="{document.requested}" lang="{document.language}">{escape(document.article.title)}</a></li>\n'
        )
    items += "".join(f'<li><a href="{path}">From the archive</a></li>\n' for path in extra)
    steps = ""
    if number > 1:
        steps += f'<a rel="prev" href="{index_path(number - 1)}">Newer</a> '
    if number < last:
        steps += f'<a rel="next" href="{index_path(number + 1)}">Older</a>'
    page = (
        head(f"{NAME}, page {number}", "en")
        + f'<main><h1>News</h1>\n<ul class="articles">\n{items}</ul>\n<p>{steps}</p></main>\n'
        + foot()
    )
    return page.encode()


def index_path(number: int) -> str:
    """Return the path of an index page; the first is the root."""
    return "/" if number == 1 else f"/page/{number}.html"


def boilerplate_page(title: str) -> bytes:
    """Return a page that has a header, a menu and a footer, and nothing to read."""
    return (head(title, "en") + "<main></main>\n" + foot()).encode()


def pictures_page(paths: Iterable[str], title: str) -> bytes:
    """Return a page that shows pictures and has no text."""
    figures = "".join(f'<img src="{path}" alt="">\n' for path in paths)
    return (head(title, "en") + f"<main><article>\n{figures}</article></main>\n" + foot()).encode()


def feed(documents: Iterable[SampleDocument], origin: str) -> bytes:
    """Return an RSS 2.0 feed."""
    items = ""
    for document in documents:
        date = format_datetime(datetime.fromisoformat(document.published), usegmt=True)
        items += (
            f"<item><title>{escape(document.article.title)}</title><link>{origin}{document.requested}</link><guid>{origin}{document.requested}</guid>"
            f"<pubDate>{date}</pubDate><description>{escape(document.article.summary.text)}</description></item>\n"
        )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<rss version="2.0"><channel><title>{NAME}</title>'
        f"<link>{origin}/</link>"
        f"<description>News made by a program</description>\n{items}</channel></rss>\n"
    ).encode()


def sitemap(entries: Iterable[tuple[str, str]], origin: str) -> bytes:
    """Return a sitemap from (path, last modified) pairs."""
    rows = "".join(f"<url><loc>{origin}{path}</loc><lastmod>{date}</lastmod></url>\n" for path, date in entries)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{rows}</urlset>\n'.encode()


def sitemap_index(paths: Iterable[str], origin: str) -> bytes:
    """Return an index of sitemaps."""
    rows = "".join(f"<sitemap><loc>{origin}{path}</loc></sitemap>\n" for path in paths)
    return f'<?xml version="1.0" encoding="utf-8"?>\n<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{rows}</sitemapindex>\n'.encode()
