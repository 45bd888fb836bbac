"""A treebank for training and checking a constituency parser: everyday captions, and the site's captions and news."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

from diptych.models.parser.tree import read_brackets, write_treebank
from diptych.sample.article import Sentence, english_sentence
from diptych.sample.caption_grammar import CaptionGrammar
from diptych.sample.site import Site

_CYCLE = ("everyday",) * 7 + ("news", "news", "site")
"""Which of the three gives the next sentence."""
_MOST_WORDS = 32


def treebank(count: int, seed: int = 0) -> Iterator[Sentence]:
    """Yield `count` different English sentences with trees: seven everyday captions to two sentences of news and one
    caption of the site.

    Use another seed for held-out sentences: what both draw is then equal by chance only.
    """
    sources = {"everyday": _everyday(seed), "news": _site(seed, pictures=False), "site": _site(seed, pictures=True)}
    seen: set[str] = set()
    for kind in chain.from_iterable(repeat(_CYCLE)):
        if len(seen) == count:
            return
        for sentence in sources[kind]:
            if sentence.text not in seen:
                seen.add(sentence.text)
                yield sentence
                break


def _everyday(seed: int) -> Iterator[Sentence]:
    grammar = CaptionGrammar(f"captions {seed}")
    while True:
        sentence = english_sentence(grammar.caption(), capital=grammar.random.random() < 0.85)
        if len(sentence.tokens) <= _MOST_WORDS:
            yield sentence


def _site(seed: int, *, pictures: bool) -> Iterator[Sentence]:
    for document in Site(documents=10_000_000, seed=seed, dirt=False).iterate():
        if document.language != "en":
            continue
        shown = (
            sentence
            for image in document.images
            for sentence in (*image.descriptions, *([image.caption] if image.caption else []))
        )
        news = (*document.article.sentences, document.article.summary)
        yield from (sentence for sentence in (shown if pictures else news) if sentence.tree is not None)


def write_grammar_treebank(out: Path, count: int, seed: int = 0) -> dict[str, int]:
    """Write `train.mrg`, `dev.mrg` and `test.mrg` (of `count`, `count` / 40 and `count` / 25 sentences); no sentence of
    training is in the others. Return how many each has.
    """
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    known: set[str] = set()
    for number, (part, size) in enumerate((("train", count), ("dev", count // 40), ("test", count // 25))):
        sentences = [item for item in treebank(size, 3 * seed + number) if item.text not in known]
        known.update(item.text for item in sentences)
        write_treebank([read_brackets(item.tree) for item in sentences if item.tree], out / f"{part}.mrg")
        written[part] = len(sentences)
    return written
