"""Markup that costs a parser more than its length: tags that nest too deeply go, too many attributes go, text stays.

Parsers keep HTML's rules about open elements by walking all of them at each tag: a megabyte of ``<div>`` takes hours.
One pass, linear in the length, before the parser sees the page.
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["ATTRIBUTES", "DEPTH", "bounded"]

DEPTH = 1000
ATTRIBUTES = 1000
_LONG = 8000
_TAG = re.compile(r"<(?:(!--)|(/?)([A-Za-z][^\s/>]{0,40}))")
_STOP = re.compile(r"[>\"']")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_RAW = frozenset("script style textarea title xmp iframe noembed noframes".split())
# Elements that have no end tag, or whose end tag is often left out and that end by themselves.
_UNCOUNTED = frozenset(
    "area base br col embed hr img input link meta source track wbr p li dt dd tr td th thead tbody tfoot option "
    "optgroup colgroup rp rt html head body".split()
)


def bounded(text: str) -> str:
    """``text`` without the tags of elements below :data:`DEPTH` others, and no tag with many attributes."""
    if text.count("<") <= DEPTH and len(text) <= _LONG:
        return text
    changed: list[tuple[int, int, str]] = []
    opened: Counter[str] = Counter()
    depth = at = 0
    while (match := _TAG.search(text, at)) is not None:
        if match.group(1):
            at = _after(text.find("-->", match.end()), text)
            continue
        name, ends = match.group(3).lower(), bool(match.group(2))
        at = end = _end(text, match.end())
        if not ends and name in _RAW:
            found = re.compile(f"</{name}", re.I).search(text, end)
            at = found.start() if found else len(text)
        counted = name not in _UNCOUNTED and (not ends or opened[name] > 0)
        if counted:
            deep = depth + (not ends) > DEPTH
            opened[name] += -1 if ends else 1
            depth += -1 if ends else 1
            if deep:
                changed.append((match.start(), at if name in _RAW and not ends else end, " "))
                continue
        if end - match.end() > _LONG and _attributes(text[match.end() : end]) > ATTRIBUTES:
            changed.append((match.start(), end, f"<{match.group(2)}{name}>"))
    parts, last = list[str](), 0
    for start, end, tag in changed:
        parts += [text[last:start], tag]
        last = end
    return "".join([*parts, text[last:]])


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
