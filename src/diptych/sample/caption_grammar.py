"""Draws everyday captions with their trees from the rules in `captions.rules`."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from diptych.sample.caption_words import Words, read_words

__all__ = ["CaptionGrammar"]

_HEADER = re.compile(r"([a-z_]+)((?:\([^()]*\))*)$")
_SLOT = re.compile(r"<([a-zA-Z_.$]+)>(?:\?(\d+))?|\{([a-z_]+) ([A-Z$]+)\}")
_ARTICLE = re.compile(r"\b([Aa])n?/DT(?= (?:\[[A-Z]+ )?([a-z]))")
_MOST_LEAVES = 48
"""A draw that has grown beyond this is given up and begun again."""


@dataclass(frozen=True)
class _Rule:
    alternatives: tuple[str, ...]
    weights: tuple[int, ...]


class CaptionGrammar:
    """A stream of captions; the same seed gives the same captions."""

    def __init__(self, seed: str | int) -> None:
        self.random = random.Random(seed)
        self._rules, self._words = _shipped()

    def caption(self) -> str:
        """One caption in the notation of `trees.py`; three in ten have no full stop."""
        while True:
            self._left = _MOST_LEAVES
            text = self._expanded("caption")
            if self._left >= 0:
                text = _ARTICLE.sub(lambda found: found[1] + ("n/DT" if found[2] in "aeio" else "/DT"), text)
                return text if self.random.random() < 0.3 else f"{text} ./."

    def _expanded(self, name: str) -> str:
        rule = self._rules[name]
        chosen = self.random.choices(rule.alternatives, rule.weights)[0]
        return " ".join(_SLOT.sub(self._filled, chosen).split())

    def _filled(self, slot: re.Match[str]) -> str:
        if self._left < 0:
            return ""
        rule, share, words, tag = slot.groups()
        if rule:
            return self._expanded(rule) if share is None or self.random.random() < int(share) / 100 else ""
        self._left -= 1
        return self._words.leaves(self.random.choice(self._words.lists[words]), tag, as_is=words in self._words.fixed)


@cache
def _shipped() -> tuple[Mapping[str, _Rule], Words]:
    words = read_words()
    text = (files("diptych.sample") / "captions.rules").read_text(encoding="utf-8")
    return read_rules(text, words), words


def read_rules(text: str, words: Words) -> dict[str, _Rule]:
    """Rules by name, families written out; ValueError names what is used but not there."""
    found: dict[str, _Rule] = {}
    block: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(" "):
            block.append(line)
            continue
        if block:
            found |= _family(block)
        block = [line]
    for name, rule in found.items():
        for used, _, listed, _ in (slot for item in rule.alternatives for slot in _SLOT.findall(item)):
            if (used and used not in found) or (listed and listed not in words.lists):
                raise ValueError(f"captions.rules: {name} uses {used or listed!r}, which does not exist")
    return found


def _family(block: list[str]) -> dict[str, _Rule]:
    """The rules of one block: one for each combination of its header's parameters."""
    header = _HEADER.match(block[0])
    if header is None:
        raise ValueError(f"captions.rules: expected a rule's name, found {block[0]!r}")
    name, lists = header[1], [part.split() for part in re.findall(r"\(([^()]*)\)", header[2])]
    weights = tuple(int(line.split()[0]) for line in block[1:])
    made: dict[str, _Rule] = {}
    for values in itertools.product(*lists):
        lines = [line.split(maxsplit=1)[1] for line in block[1:]]
        for number, value in enumerate(values, 1):
            lines = [line.replace(f"${number}", value) for line in lines]
        made[".".join((name, *values))] = _Rule(tuple(lines), weights)
    return made
