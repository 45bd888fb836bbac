"""The images of a page, in order, each with the caption to trust most.

The address is, in this order: a lazy-loading attribute (``data-srcset``, ``data-src`` and its relatives), the largest
candidate of ``srcset`` (its own, or of ``<source>`` in its ``<picture>``), ``src``. Inline ``data:`` images are none.

The caption is, in this order of trust: the ``<figcaption>`` of its figure, or what a box that older markup uses for one
(``mediaobject``, ``figure``, ``thumb``, ``wp-caption``) marks as caption; its ``alt``; text nearby that is marked as a
caption; the title of such a box. What stands in ``<noscript>`` or ``<template>`` counts only where nothing else on the
page mentions it. A text of more than 20,000 letters is no caption.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from selectolax.lexbor import LexborNode

from diptych.records import Picture
from diptych.sources.html import Html, attribute, squeeze, words

__all__ = ["page_pictures", "picture_mentions"]

_LAZY_SETS = ("data-srcset", "data-lazy-srcset", "data-original-set")
_LAZY = ("data-src", "data-original", "data-lazy-src", "data-lazy", "data-url", "data-hi-res-src", "data-full-src")
_CAPTION_CLASS = re.compile(r"(^|[\s_-])((thumb)?caption|legend|bildunterschrift|img-?desc)|caption-?text", re.I)
_BOX_CLASS = frozenset("mediaobject figure informalfigure thumb thumbinner wp-caption".split())
_TITLE_CLASS = frozenset("title figure-title".split())
_DESCRIPTOR = re.compile(r"(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})[wxh]")
_UNREADABLE = ("image/svg+xml", "image/jxl", "image/heic", "image/heif")
"""Of a ``<source>``: the same picture stands below it in another format."""
_MOST = 2000
"""Pictures of one page that are looked at."""
_NEAR = 300
_LONGEST = 20_000
"""Letters above which nothing is a caption: all pictures of a figure would carry it."""


def page_pictures(page: Html) -> tuple[Picture, ...]:
    """Every image of the page once; of several mentions the first that has a caption gives it."""
    found: dict[str, Picture] = {}
    hidden: dict[str, Picture] = {}
    for node, picture in picture_mentions(page):
        place = hidden if _inside(node, ("noscript", "template")) else found
        known = place.get(picture.url)
        if known is None or (picture.caption and not known.caption):
            place[picture.url] = picture
    return (*found.values(), *(picture for address, picture in hidden.items() if address not in found))


def picture_mentions(page: Html) -> Iterator[tuple[LexborNode, Picture]]:
    """Every ``img`` of the page that has an address, with the picture it shows, in order."""
    captions = _Captions(page)
    for node in page.tree.css("img, amp-img")[:_MOST]:
        reference = _reference(node)
        address = page.address(reference) if reference and not reference.startswith("data:") else None
        if address is not None:
            alt = squeeze(attribute(node, "alt"))
            yield node, Picture(address, captions.find(node, alt), alt)


def _reference(node: LexborNode) -> str:
    """The address to take, as it is written."""
    sets = [attribute(node, name) for name in _LAZY_SETS]
    parent = node.parent
    inside = parent.css("source") if parent is not None and parent.tag == "picture" else []
    sources = [n for n in inside if attribute(n, "type").strip().lower() not in _UNREADABLE]
    for source in sources:
        sets += [attribute(source, name) for name in _LAZY_SETS]
    for value in sets:
        if best := _largest(value):
            return best
    for name in _LAZY:
        if (value := attribute(node, name).strip()) and not value.startswith(("{", "data:")):
            return value
    for value in (attribute(node, "srcset"), *(attribute(source, "srcset") for source in sources)):
        if best := _largest(value):
            return best
    return attribute(node, "src").strip()


def _largest(srcset: str) -> str:
    """The candidate with the largest width or density; the first of equals; empty without any."""
    best, size = "", -1.0
    for address, descriptor in _candidates(srcset):
        match = _DESCRIPTOR.fullmatch(descriptor)
        value = float(match.group(1)) if match else 1.0
        if value > size and not address.startswith("data:"):
            best, size = address, value
    return best


def _candidates(srcset: str) -> Iterator[tuple[str, str]]:
    """(address, first descriptor) of each candidate; a comma inside an address belongs to it."""
    address = ""
    descriptor: str | None = None
    for word in srcset.split():
        if address:
            mine, comma, word = word.partition(",")
            descriptor = mine if descriptor is None else descriptor
            if not comma:
                continue
            yield address, descriptor
            address, descriptor = "", None
        word = word.lstrip(",")
        if word.endswith(","):
            yield word.rstrip(","), ""
        else:
            address = word
    if address:
        yield address, descriptor or ""


class _Captions:
    """The captions of one page; what several pictures share (figures, boxes, parents) is looked at once."""

    def __init__(self, page: Html) -> None:
        self._captions, self._titles = _labels(page, _is_caption), _labels(page, _is_title)
        self._figures: dict[int, str] = {}
        self._several: dict[int, bool] = {}

    def find(self, node: LexborNode, alt: str) -> str:
        """The caption to trust most."""
        figure = next((n for n in _ancestors(node) if n.tag == "figure"), None)
        if figure is not None and (text := self._figure(figure)):
            return text
        boxes = [above.mem_id for above in itertools.islice(_ancestors(node), 6) if _is_box(above)]
        own = next((text for box in boxes if (text := self._captions.get(box))), "")
        return own or alt or self._nearby(node) or next((t for box in boxes if (t := self._titles.get(box))), "")

    def _figure(self, figure: LexborNode) -> str:
        if figure.mem_id not in self._figures:
            label = figure.css_first("figcaption")
            self._figures[figure.mem_id] = _text(label, _LONGEST) if label is not None else ""
        return self._figures[figure.mem_id]

    def _nearby(self, node: LexborNode) -> str:
        """Text marked as a caption beside the image or beside what holds only it; at most 300 characters."""
        current: LexborNode | None = node
        for _ in range(4):
            if current is None or current.tag in ("body", "article", "main", "section"):
                return ""
            for beside in (_element(current, True), _element(current, False)):
                if beside is None or beside.css_first("img") is not None:
                    continue
                marked = _CAPTION_CLASS.search(f"{attribute(beside, 'class')} {attribute(beside, 'id')}")
                if (marked or beside.tag in ("small", "figcaption")) and (text := _text(beside, _NEAR)):
                    return text
            parent = current.parent
            if parent is None or self._holds_several(parent):
                return ""
            current = parent
        return ""

    def _holds_several(self, node: LexborNode) -> bool:
        if node.mem_id not in self._several:
            self._several[node.mem_id] = len(node.css("img")) > 1
        return self._several[node.mem_id]


def _text(node: LexborNode, most: int) -> str:
    """The text of a node, empty when it is longer than ``most``: then it is no caption."""
    text = words(node) if len(node.text()) <= _LONGEST else ""
    return text if len(text) <= most else ""


def _labels(page: Html, marks: Callable[[LexborNode], bool]) -> dict[int, str]:
    """Each box (a ``div`` with a class as figures have) to the text of the one element that is marked in it.

    An element belongs to the innermost box around it.
    """
    known: dict[int, int] = {}
    found: defaultdict[int, list[LexborNode]] = defaultdict(list)
    for node in page.tree.css("div[class], p[class]"):
        if marks(node):
            found[_box_around(node, known)].append(node)
    return {
        box: _text(nodes[0], _NEAR)
        for box, nodes in found.items()
        if len(nodes) == 1 and nodes[0].css_first("img") is None
    }


def _box_around(node: LexborNode, known: dict[int, int]) -> int:
    """The innermost box around a node, 0 without one; ``known`` keeps it of all that are looked at."""
    passed: list[int] = []
    box = 0
    for above in _ancestors(node):
        if above.mem_id in known:
            box = known[above.mem_id]
            break
        passed.append(above.mem_id)
        if _is_box(above):
            box = above.mem_id
            break
    known.update(dict.fromkeys(passed, box))
    return box


def _is_box(node: LexborNode) -> bool:
    return node.tag == "div" and not _BOX_CLASS.isdisjoint(_classes(node))


def _is_caption(node: LexborNode) -> bool:
    return any(_CAPTION_CLASS.search(name) and name not in _BOX_CLASS for name in _classes(node))


def _is_title(node: LexborNode) -> bool:
    return not _TITLE_CLASS.isdisjoint(_classes(node))


def _classes(node: LexborNode) -> list[str]:
    return attribute(node, "class").split()


def _element(node: LexborNode, forward: bool) -> LexborNode | None:
    """The next (or previous) element, None when text stands between."""
    current = node.next if forward else node.prev
    while current is not None and not current.is_element_node:
        if current.is_text_node and (current.text() or "").strip():
            return None
        current = current.next if forward else current.prev
    return current


def _ancestors(node: LexborNode) -> Iterator[LexborNode]:
    current = node.parent
    while current is not None:
        yield current
        current = current.parent


def _inside(node: LexborNode, tags: tuple[str, ...]) -> bool:
    return any(ancestor.tag in tags for ancestor in _ancestors(node))
