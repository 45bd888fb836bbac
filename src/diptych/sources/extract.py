"""From a page to a document: title, main text, language, summary, keyphrases, pictures.

The main text is that of the page's own article element (``itemprop=articleBody``, ``<article>``, ``<main>``) without
its navigation, figures and asides, one block a line; a page without one goes through trafilatura. A page whose text
is mostly links is a listing; one whose text a script would write says so.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from selectolax.lexbor import LexborHTMLParser, LexborNode

from diptych.records import Document, Picture
from diptych.sources.html import INLINE, Html, attribute, squeeze, words
from diptych.sources.language import detect_language
from diptych.sources.pictures import page_pictures

__all__ = ["EXTRACTOR", "Extracted", "article_walk", "container_of", "extract"]

EXTRACTOR = 4
"""Raise it when the result for any page can change: stored pages are then read again without fetching."""
_CONTAINERS = ('[itemprop~="articleBody"]', "article", "main", '[role="main"]')
_SKIPPED = frozenset(
    "script style noscript template nav aside footer form figure figcaption button select textarea iframe svg object "
    "audio video canvas dialog h1 time menu img".split()
)
_BOILERPLATE = re.compile(
    r"(^|[\s_-])(related|share|sharing|social|promo|newsletter|subscribe|comments?|cookie|breadcrumbs?|advert\w*|sponsored|"
    r"byline|pagination|read-?more|recommended|sidebar)([\s_-]|$)",
    re.I,
)
_LEADS = '[itemprop~="description"], .lead, .standfirst, .dek, .article-summary, .summary, .teaser'
_APPLICATION = "#root, #app, #__next, #__nuxt, [ng-app], [data-reactroot]"
_SEPARATORS = re.compile(r"\s+[|\-–—·»:]\s+|\s*[|_]\s*")
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True)
class Extracted:
    """A document with its pictures, or the reason why the page is none: listing, no_text, needs_javascript."""

    document: Document
    pictures: tuple[Picture, ...]
    reason: str = ""


def extract(page: Html, min_text: int = 140) -> Extracted:
    """Read a page; ``min_text`` counts letters, an ideograph as two and a half."""
    title = _title(page)
    lines, linked = _article(page)
    weight = _weight("".join(lines))
    reason = ""
    if weight >= min_text and linked > 0.6:
        reason = "listing"
    elif weight < min_text:
        lines = _fallback(page)
        if _weight("".join(lines)) < min_text:
            reason = "needs_javascript" if _needs_javascript(page) else "no_text"
    text = "\n".join(lines)
    document = Document(
        title=title,
        text=text,
        summary=page.meta("description", "og:description", "twitter:description") or _lead(page),
        language=page.language or detect_language(text),
        keyphrases=_keyphrases(page),
    )
    return Extracted(document, page_pictures(page), reason)


def _weight(text: str) -> float:
    return len(text) + 1.5 * len(_WIDE.findall(text))


def _article(page: Html) -> tuple[list[str], float]:
    """Lines of the page's article element and the share of them that is links; nothing when there is none."""
    for selector in _CONTAINERS:
        nodes = [node for node in page.tree.css(selector) if not _nested(node, selector)]
        if not nodes:
            continue
        read = sorted((_lines(node) for node in nodes), key=lambda item: -sum(map(len, item[0])))
        total = sum(len(line) for lines, _ in read for line in lines)
        best = sum(map(len, read[0][0]))
        if total and best >= 0.6 * total:
            return read[0]
        if total:  # teasers of several articles
            return [line for lines, _ in read for line in lines], 1.0
    return [], 0.0


def container_of(page: Html) -> LexborNode | None:
    """The page's largest article element, None when it has none."""
    for selector in (*_CONTAINERS, "body"):
        nodes = [node for node in page.tree.css(selector) if not _nested(node, selector)]
        if nodes:
            return max(nodes, key=lambda node: sum(map(len, _lines(node)[0])))
    return None


def article_walk(container: LexborNode) -> Iterator[tuple[LexborNode, bool, bool]]:
    """(node, begins, ends a block) of the texts and elements that belong to the article's text, in order."""
    for node, begins, _ in _walk(container):
        block = not node.is_text_node and (node.tag == "br" or node.tag not in INLINE)
        yield node, begins, block and (begins or node.tag != "br")


def _nested(node: LexborNode, selector: str) -> bool:
    """Whether an element of the same kind holds this one (comments are articles inside the article)."""
    parent = node.parent
    while parent is not None and parent.is_element_node:
        if _matches(parent, selector):
            return True
        parent = parent.parent
    return False


def _matches(node: LexborNode, selector: str) -> bool:
    if selector.startswith("["):
        name, _, value = selector.strip("[]").replace("~", "").partition("=")
        return value.strip('"') in attribute(node, name).split()
    return node.tag == selector


def _lines(container: LexborNode) -> tuple[list[str], float]:
    """The blocks of an element as lines, and which share of their characters is inside links."""
    lines: list[str] = []
    parts: list[str] = []
    linked = 0

    def flush() -> None:
        line = squeeze("".join(parts))
        parts.clear()
        if line:
            lines.append(line)

    for node, begins, in_link in _walk(container):
        if node.is_text_node:
            text = node.text_content or ""
            parts.append(text)
            linked += len(squeeze(text)) if in_link else 0
        elif node.tag == "br" or node.tag not in INLINE:
            if begins or node.tag != "br":
                flush()
    flush()
    total = sum(map(len, lines))
    return lines, linked / total if total else 0.0


def _walk(container: LexborNode) -> Iterator[tuple[LexborNode, bool, bool]]:
    """(node, begins, inside a link) of texts and of elements at their begin and end; boilerplate is left out."""
    stack: list[tuple[LexborNode, bool, bool]] = [(container, True, False)]
    while stack:
        node, begins, in_link = stack.pop()
        if node.is_text_node:
            yield node, True, in_link
            continue
        if not node.is_element_node or (begins and node.mem_id != container.mem_id and _skip(node)):
            continue
        yield node, begins, in_link
        if begins:
            stack.append((node, False, in_link))
            children = list(node.iter(include_text=True))
            stack.extend((child, True, in_link or node.tag == "a") for child in reversed(children))


def _skip(node: LexborNode) -> bool:
    if node.tag in _SKIPPED or "hidden" in node.attributes or attribute(node, "aria-hidden") == "true":
        return True
    return bool(_BOILERPLATE.search(f"{attribute(node, 'class')} {attribute(node, 'id')}"))


def _fallback(page: Html) -> list[str]:
    """Main text of a page without an article element, by trafilatura."""
    import trafilatura

    plain = LexborHTMLParser(page.text)
    plain.unwrap_tags(["span", "font"])  # it drops those whose class has "menu" or "caption" in it, with their words
    text = None
    with contextlib.suppress(Exception):  # it raises whatever lxml raises on odd markup
        text = trafilatura.extract(plain.html or page.text, include_comments=False, include_tables=True, fast=True)
    return [line for part in (text or "").splitlines() if (line := squeeze(part))]


def _needs_javascript(page: Html) -> bool:
    body = page.tree.body
    if body is None:
        return False
    visible = sum(len(line) for line in _lines(body)[0])
    scripts = page.tree.css_first("script") is not None
    hint = re.search(r"javascript", " ".join(node.text() for node in page.tree.css("noscript")), re.I)
    return visible < 200 and scripts and (hint is not None or page.tree.css_first(_APPLICATION) is not None)


def _title(page: Html) -> str:
    for selector in ("article h1", "main h1", "h1"):
        headings = list(islice((text for node in page.tree.css(selector) if (text := words(node))), 2))
        if len(headings) == 1:
            return headings[0]
    stated = page.meta("og:title", "twitter:title")
    if stated:
        return stated
    node = page.tree.css_first("head title")
    return _without_site(squeeze(node.text()), page.meta("og:site_name")) if node is not None else ""


def _without_site(title: str, site: str) -> str:
    """``Headline - The Gazette`` without the site's name: the stated one, else a short last part."""
    if site and title.endswith(site):
        return title.removesuffix(site).rstrip(" |-–—·»:_") or title
    parts = _SEPARATORS.split(title)
    last = parts[-1] if len(parts) > 1 else ""
    if last and len(last) <= 0.4 * len(title):
        return title[: title.rindex(last)].rstrip(" |-–—·»:_")
    return title


def _lead(page: Html) -> str:
    node = page.tree.css_first(_LEADS)
    text = words(node) if node is not None else ""
    return text if 20 <= len(text) <= 1000 else ""


def _keyphrases(page: Html) -> tuple[str, ...]:
    stated = page.meta("keywords", "news_keywords")
    parts = re.split(r"[,;，；、]", stated) if stated else [*page.metas("article:tag")]
    return tuple(dict.fromkeys(phrase for part in parts if (phrase := squeeze(part))))
