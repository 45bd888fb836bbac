"""A parsed page: base address, links, directives, language; everything that needs no judgement about its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser, LexborNode

from diptych.sources.bounded import bounded
from diptych.sources.charset import decode_page
from diptych.sources.language import language_tag
from diptych.sources.robots import directives
from diptych.sources.urls import BadUrl, join_url

__all__ = ["INLINE", "Html", "attribute", "squeeze", "words"]

INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q rp rt ruby s samp small span "
    "strike strong sub sup tt u var wbr".split()
)
"""Elements at whose begin and end a word may go on."""
_SPACE = re.compile(r"\s+")


def squeeze(text: str) -> str:
    """Runs of white space as one space, none at the ends."""
    return _SPACE.sub(" ", text).strip()


@dataclass(frozen=True)
class Html:
    """One page as it was sent; ``url`` is where it came from after redirects."""

    text: str
    tree: LexborHTMLParser
    url: str

    @classmethod
    def parse(cls, data: bytes, content_type: str, url: str) -> Html:
        """Decode and parse; never fails."""
        text = bounded(decode_page(data, content_type).replace("\0", ""))
        return cls(text, LexborHTMLParser(text), url)

    @cached_property
    def base(self) -> str:
        """What relative addresses are relative to: the first ``<base href>``, else the page's own address."""
        node = self.tree.css_first("base[href]")
        try:
            return join_url(self.url, attribute(node, "href")) if node is not None else self.url
        except BadUrl:
            return self.url

    def address(self, reference: str) -> str | None:
        """The canonical address of a reference, None when it is no http(s) one."""
        try:
            return join_url(self.base, reference) if reference.strip() else None
        except BadUrl:
            return None

    def meta(self, *names: str) -> str:
        """The content of the first of these ``<meta>`` names or properties that is not empty."""
        for name in names:
            if value := next((value for value in self.metas(name) if value), ""):
                return value
        return ""

    def metas(self, name: str) -> Iterator[str]:
        """The contents of all ``<meta>`` of a name or property."""
        for node in self.tree.css("meta[content]"):
            if name in (attribute(node, "name").lower(), attribute(node, "property").lower()):
                yield squeeze(attribute(node, "content"))

    def directives(self, header: str, agent: str) -> frozenset[str]:
        """What meta robots, meta of our agent's name and the X-Robots-Tag header forbid."""
        values = [*self.metas("robots"), *self.metas(agent.lower())]
        return directives(values, agent) | (directives([header], agent) if header else frozenset())

    def links(self) -> Iterator[tuple[str, bool]]:
        """(address, whether it is the next page of a list) of every link, in order."""
        for node in self.tree.css("a[href], link[rel~=next][href]"):
            address = self.address(attribute(node, "href"))
            if address is not None:
                yield address, "next" in attribute(node, "rel").lower().split()

    @property
    def language(self) -> str:
        """What the page says its language is."""
        root = self.tree.root
        stated = attribute(root, "lang") or attribute(root, "xml:lang") if root is not None else ""
        return language_tag(stated) or language_tag(self._equivalent_language()) or language_tag(self.meta("og:locale"))

    def _equivalent_language(self) -> str:
        for node in self.tree.css("meta[http-equiv][content]"):
            if attribute(node, "http-equiv").lower() == "content-language":
                return attribute(node, "content")
        return ""


def attribute(node: LexborNode | None, name: str) -> str:
    """An attribute's value, empty when absent or without value."""
    return (node.attributes.get(name) or "") if node is not None else ""


def words(node: LexborNode) -> str:
    """The text of an element on one line: blocks and line breaks part words, inline elements do not."""
    parts: list[str] = []
    stack = [(node, True)]
    while stack:
        item, begins = stack.pop()
        if item.is_text_node:
            parts.append(item.text_content or "")
        elif item.is_element_node:
            if item.tag not in INLINE:
                parts.append(" ")
            if begins:
                stack.append((item, False))
                stack.extend((child, True) for child in reversed(list(item.iter(include_text=True))))
    return squeeze("".join(parts))
