"""The sections of a page and the pictures that stand in each, as an encyclopedia has them.

A section begins at a heading of the second level; what stands before the first one is the lead. Text and its blocks are
those of :mod:`diptych.sources.extract`, so that captions, navigation and boxes beside the text are no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from selectolax.lexbor import LexborNode

from diptych.records import Picture
from diptych.sources.extract import article_walk, container_of
from diptych.sources.html import Html, squeeze
from diptych.sources.pictures import picture_mentions

__all__ = ["Section", "page_sections"]

_HEADING = "h2"


@dataclass(frozen=True)
class Section:
    """A heading (empty: the lead), the text below it with one block a line, and its pictures in order."""

    title: str
    text: str
    pictures: tuple[Picture, ...]


def page_sections(page: Html) -> tuple[Section, ...]:
    """The sections of the page's article; a picture that occurs twice belongs where it stands first."""
    container = container_of(page)
    if container is None:
        return ()
    titles, lines, headings = _texts(container)
    pictures: list[list[Picture]] = [[] for _ in titles]
    mentioned = {node.mem_id: picture for node, picture in picture_mentions(page)}
    seen: set[str] = set()
    place = 0
    for node in container.traverse(include_text=False):
        if node.tag == _HEADING and node.mem_id in headings:
            place += 1
        picture = mentioned.get(node.mem_id)
        if picture is not None and picture.url not in seen:
            seen.add(picture.url)
            pictures[place].append(picture)
    return tuple(
        Section(title, "\n".join(text), tuple(shown))
        for title, text, shown in zip(titles, lines, pictures, strict=True)
    )


def _texts(container: LexborNode) -> tuple[list[str], list[list[str]], set[int]]:
    """Headings and lines of each section, and which nodes the headings are."""
    titles, lines = [""], [[]]
    headings: set[int] = set()
    parts: list[str] = []
    inside = False

    def flush() -> None:
        line = squeeze("".join(parts))
        parts.clear()
        if line and inside:
            titles[-1] = line
        elif line:
            lines[-1].append(line)

    for node, begins, is_break in article_walk(container):
        if node.is_text_node:
            parts.append(node.text_content or "")
        elif node.tag == _HEADING:
            flush()
            inside = begins
            if begins:
                headings.add(node.mem_id)
                titles.append("")
                lines.append([])
        elif is_break:
            flush()
    flush()
    return titles, lines, headings
