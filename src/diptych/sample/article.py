"""The written article: sentences with trees and linked phrases, title, summary, keyphrases."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.sample.story import Mention
from diptych.sample.trees import Tree, capitalised, detokenise, parse


@dataclass(frozen=True)
class Phrase:
    """A noun phrase: half-open token span, its text, the referents it names, and whether it holds another linked
    phrase.
    """

    start: int
    end: int
    text: str
    referents: tuple[int, ...]
    nested: bool


@dataclass(frozen=True)
class Sentence:
    """One sentence; `tree` is Penn brackets (English only), `tokens` its leaves."""

    text: str
    tree: str | None = None
    tokens: tuple[str, ...] = ()
    phrases: tuple[Phrase, ...] = ()


@dataclass(frozen=True)
class Keyphrase:
    """A keyphrase and where it stands: `text`, `banner` (only in a picture's text) or `objects` (only shown)."""

    text: str
    where: str


@dataclass(frozen=True)
class Article:
    """All the words of a document but its captions; `named` holds everything the words mention."""

    title: str
    sentences: tuple[Sentence, ...]
    summary: Sentence
    keyphrases: tuple[Keyphrase, ...]
    named: tuple[Mention, ...]
    place: str
    day: str
    occasion: str

    @property
    def text(self) -> str:
        """Return the body, one sentence after another."""
        glue = " " if any(" " in sentence.text for sentence in self.sentences) else ""
        return glue.join(sentence.text for sentence in self.sentences)


def english_sentence(notation: str, referents: tuple[tuple[int, ...], ...] = (), *, capital: bool = True) -> Sentence:
    """Return a sentence from the grammar's notation; `#k` on a noun phrase links it to `referents[k]`, or to k
    itself; `capital` begins it with a capital letter.
    """
    tree = parse(notation)
    tree = capitalised(tree) if capital else tree
    tokens = tree.leaves()
    phrases: list[Phrase] = []
    for node, start, end in tree.spans():
        if node.mention is not None:
            linked = referents[node.mention] if referents else (node.mention,)
            inner = any(child.mention is not None for child in _below(node))
            phrases.append(Phrase(start, end, detokenise(tokens[start:end]), linked, inner))
    return Sentence(detokenise(tokens), tree.bracket(), tuple(tokens), tuple(phrases))


def _below(tree: Tree) -> list[Tree]:
    return [node for child in tree.children for node in (child, *_below(child))]
