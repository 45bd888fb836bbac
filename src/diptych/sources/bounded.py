"""Markup that costs a parser more than its length: tags that nest too deeply go, too many attributes go, text stays.

Parsers keep HTML's rules about open elements by walking all of them at each tag: a megabyte of ``<div>`` takes hours.
One pass, linear in the length, before the parser sees the page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

__all__ = ["ATTRIBUTES", "DEPTH", "bounded"]

DEPTH = 1000
ATTRIBUTES = 1000
_LONG = 8000
_TAG = re.compile(r"<(?:(!--)|(/?)([A-Za-z][^\s/>]{0,40}))")
_STOP = re.compile(r"[>\"']")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_RAW = frozenset("script style textarea title xmp iframe noembed noframes".split())
# Elements that have no end tag, or that end by themselves where the next one begins: anywhere,
_NEVER = frozenset("br embed hr img meta p li dt dd head body".split())
# but not inside svg and math, where they are like all others,
_OUTSIDE = frozenset(
    "area base col input link source track wbr tr td th thead tbody tfoot option colgroup html".split()
)
# and only inside one of these.
_WITHIN = {"rp": "ruby", "rt": "ruby", "optgroup": "select"}
# Of svg: drawings have thousands of them, without end tags.
_SHAPES = frozenset(
    "svg g defs symbol path circle ellipse line polygon polyline rect use stop image text tspan animate marker mask "
    "animatetransform lineargradient radialgradient clippath pattern filter feblend fecolormatrix fecomposite feflood "
    "fegaussianblur femergenode femerge feoffset".split()
)
_CLOSED = re.compile(r"(?:\s++[^\s=/>\"'<]++(?:=(?:\"[^\"]*+\"|'[^']*+'))?+)*+\s*+/>")
_LABEL = re.compile(r"[^<]*+</(?:title|desc)\s*+>", re.I)


def bounded(text: str) -> str:
    """``text`` without the tags of elements below :data:`DEPTH` others, and no tag with many attributes."""
    if text.count("<") <= DEPTH and len(text) <= _LONG:
        return text
    changed: list[tuple[int, int, str]] = []
    opened: Counter[str] = Counter()
    depth = at = 0
    drawing = False  # surely inside svg: there, and nowhere else, a slash ends an element
    while (match := _TAG.search(text, at)) is not None:
        if match.group(1):
            at = _after(text.find("-->", match.end()), text)
            continue
        name, ends = match.group(3).lower(), bool(match.group(2))
        at = end = _end(text, match.end())
        foreign = opened["svg"] + opened["math"] > 0
        raw = name in _RAW and not ends and not foreign
        if raw:
            found = re.compile(f"</{name}", re.I).search(text, end)
            at = found.start() if found else len(text)
        label = _LABEL.match(text, end) if drawing and not ends and name in ("title", "desc") else None
        if label is not None:
            at = label.end()
        shape = name == "svg" or (drawing and name in _SHAPES)
        closed = label is not None or (shape and not ends and _CLOSED.match(text, match.end()) is not None)
        counted = opened[name] > 0 if ends else not closed and _stays_open(name, opened, foreign)
        if name == "svg":
            drawing = not ends if not closed else drawing
        else:
            drawing = drawing and (shape or label is not None)
        if counted:
            deep = depth + (not ends) > DEPTH
            opened[name] += -1 if ends else 1
            depth += -1 if ends else 1
            if deep:
                drawing = False
                changed.append((match.start(), at if raw else end, " "))
                continue
        if end - match.end() > _LONG and _attributes(text[match.end() : end]) > ATTRIBUTES:
            changed.append((match.start(), end, f"<{match.group(2)}{name}>"))
    parts, last = list[str](), 0
    for start, end, tag in changed:
        parts += [text[last:start], tag]
        last = end
    return "".join([*parts, text[last:]])


def _stays_open(name: str, opened: Mapping[str, int], foreign: bool) -> bool:
    """Whether an element lasts until its own end tag, or that of one around it."""
    if name in _NEVER:
        return False
    return foreign or not (name in _OUTSIDE or (name in _WITHIN and opened[_WITHIN[name]]))


def _after(found: int, text: str) -> int:
    return found if found >= 0 else len(text)


def _end(text: str, at: int) -> int:
    """Where the tag ends whose name ends at ``at``: behind the first '>' outside quotes."""
    while (match := _STOP.search(text, at)) is not None:
        if match.group() == ">":
            return match.end()
        closing = text.find(match.group(), match.end())
        if closing < 0:
            break
        at = closing + 1
    return len(text)


def _attributes(tag: str) -> int:
    return len(_QUOTED.sub('"" ', tag).split())
