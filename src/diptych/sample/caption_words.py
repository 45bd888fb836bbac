"""The words of the caption grammar and their forms, read from `captions.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["Words", "read_words"]


@dataclass(frozen=True)
class Words:
    """Word lists by name; a word's form by Penn tag."""

    lists: Mapping[str, tuple[str, ...]]
    plurals: Mapping[str, str]
    verbs: Mapping[str, tuple[str, str]]
    """irregular verbs: past tense, participle"""
    doubled: frozenset[str]
    fixed: frozenset[str]
    """lists whose entries already have the form of their tag"""

    def leaves(self, entry: str, tag: str, *, as_is: bool = False) -> str:
        """An entry in the form of the tag, in the grammar's notation: `stop/NN signs/NNS`; ``as_is``: it has it."""
        *before, last = entry.split()
        if "/" not in last:
            last = f"{last if as_is else self.form(last, tag)}/{tag}"
        # a name is one throughout; before another word stand nouns, or what the entry says
        other = tag if tag == "NNP" else "NN"
        return " ".join([*(word if "/" in word else f"{word}/{other}" for word in before), last])

    def form(self, word: str, tag: str) -> str:
        """The form of a base word that bears a tag; tags of words that do not change give the word itself."""
        if tag == "NNS":
            return self._plural(word)
        if tag == "VBZ":
            return self._third(word)
        if tag == "VBG":
            return {"lie": "lying", "tie": "tying"}.get(word, self._stem(word) + "ing")
        if tag in ("VBD", "VBN"):
            past = self._past(word)
            return self.verbs.get(word, (past, past))[tag == "VBN"]
        return word

    def _plural(self, noun: str) -> str:
        if noun in self.plurals:
            return self.plurals[noun]
        if noun.endswith(("tracks", "bushes", "woods", "skis", "glasses")):
            return noun
        if noun.endswith("y") and noun[-2] not in "aeiou":
            return noun[:-1] + "ies"
        return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")

    def _third(self, verb: str) -> str:
        if verb == "have":
            return "has"
        if verb.endswith("y") and verb[-2] not in "aeiou":
            return verb[:-1] + "ies"
        return verb + ("es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")

    def _stem(self, verb: str) -> str:
        if verb in self.doubled:
            return verb + verb[-1]
        return verb[:-1] if verb.endswith("e") and not verb.endswith(("ee", "ie")) else verb

    def _past(self, verb: str) -> str:
        if verb.endswith("e"):
            return verb + "d"
        if verb.endswith("y") and verb[-2] not in "aeiou":
            return verb[:-1] + "ied"
        return self._stem(verb) + "ed"


def read_words() -> Words:
    """The words that Diptych ships."""
    raw = tomllib.loads((files("diptych.sample") / "captions.toml").read_text(encoding="utf-8"))
    irregular = raw["irregular"]
    return Words(
        {name: tuple(_entries(text)) for name, text in (*raw["words"].items(), *raw["fixed"].items())},
        {base: form for base, form in (entry.split() for entry in _entries(irregular["plurals"]))},
        {base: (past, part) for base, past, part in (entry.split() for entry in _entries(irregular["verbs"]))},
        frozenset(_entries(irregular["doubled"])),
        frozenset(raw["fixed"]),
    )


def _entries(text: str) -> list[str]:
    return [" ".join(entry.split()) for entry in text.split(",") if entry.strip()]
