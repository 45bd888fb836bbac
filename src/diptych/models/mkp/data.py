"""From samples of a version to MM-MKP's sources, targets, vocabulary and batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.exceptions import UsageError
from diptych.models.mkp.batch import SPECIAL, MkpBatch, Source, make_batch, source_of
from diptych.models.mkp.config import MkpConfig
from diptych.stages.splitting import tokens
from diptych.training.feed import CHOICE, EXTRA, entry_of

__all__ = [
    "ADDS",
    "Lexicon",
    "adds",
    "count_words",
    "fields_of",
    "gold_of",
    "lexicon_of",
    "parts_of",
    "posts_batch",
    "source_text",
]

ADDS = "image_adds"
"""The entry of a record's ``extra`` that says whether its picture adds to its text: 0 or 1."""


@dataclass(frozen=True)
class Lexicon:
    """What the model knows by number."""

    words: Mapping[str, int]
    classes: Mapping[str, int]
    """keyphrases, their words joined by blanks; 0 is <unk>"""


def fields_of(config: MkpConfig) -> tuple[str, ...]:
    """What a post is read with."""
    found = ["documents.text", "documents.keyphrases", "documents.extra"]
    found += ["ocr.text"] if config.ocr else []
    found += [config.entities] if config.entities else []
    return (*found, *([config.grid] if config.image else []))


def words_of(text: str | None) -> list[str]:
    """Lower-case tokens."""
    return [token.lower() for token in tokens(text or "")]


def parts_of(sample: Mapping[str, Any], config: MkpConfig) -> tuple[list[str], list[str], list[str]]:
    """Words of the post, of its pictures' OCR text, of their visual entities."""
    post = words_of(sample["documents.text"])[: config.post_tokens] if config.text else []
    ocr = [w for text in sample["ocr.text"] or () for w in words_of(text)] if config.ocr else []
    names = [name for found in sample[config.entities] or () for name in found or ()] if config.entities else []
    return post, ocr[: config.ocr_tokens], [w for name in names for w in words_of(name)]


def keyphrases_of(sample: Mapping[str, Any]) -> list[list[str]]:
    """Words of each keyphrase."""
    return [words for text in sample["documents.keyphrases"] or () if (words := words_of(text))]


def adds(sample: Mapping[str, Any]) -> int:
    """1 when the picture adds to the text, 0 when not, -1 when nobody said."""
    value = entry_of(sample[EXTRA], ADDS)
    try:
        return -1 if value is None else int(bool(int(value)))
    except (TypeError, ValueError):
        raise UsageError(f"record {sample['key']}: extra has {ADDS} {value!r}, expected 0 or 1") from None


def count_words(samples: Iterable[Mapping[str, Any]], config: MkpConfig) -> tuple[Counter[str], Counter[str]]:
    """How often each word and each keyphrase occurs in the training posts."""
    words: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    for sample in samples:
        for part in (*parts_of(sample, config), *keyphrases_of(sample)):
            words.update(part)
        classes.update(" ".join(phrase) for phrase in keyphrases_of(sample))
    return words, classes


def lexicon_of(words: Sequence[str], classes: Sequence[str]) -> Lexicon:
    """Numbers; special tokens come first."""
    return Lexicon(
        {word: n for n, word in enumerate([*SPECIAL, *words])}, {text: n for n, text in enumerate(["<unk>", *classes])}
    )


def gold_of(sample: Mapping[str, Any]) -> list[str]:
    """The post's keyphrases, words joined by blanks."""
    return [" ".join(words) for words in keyphrases_of(sample)]


def source_text(sample: Mapping[str, Any], config: MkpConfig) -> str:
    """The words in which a present keyphrase must stand: those of the post, uncut (M1), or those of the input."""
    if config.present_in == "post":
        return " ".join(words_of(sample["documents.text"]))
    return " ".join(word for part in parts_of(sample, config.model_copy(update={"text": True})) for word in part)


def posts_batch(samples: Sequence[Mapping[str, Any]], config: MkpConfig, lexicon: Lexicon, shape: tuple[int, int],
                *, targets: bool) -> MkpBatch:  # fmt: skip
    """A batch of posts; with ``targets`` each sample's ``choice`` names its keyphrase."""
    sources: list[Source] = [source_of(parts_of(s, config), lexicon.words, config.copy_words) for s in samples]
    grids: list[np.ndarray | None] = [None] * len(samples)
    if config.image:
        grids = [s[config.grid][0] if s[config.grid] is not None and len(s[config.grid]) else None for s in samples]
    keyphrases = None
    if targets:
        # `choice` counts the stored keyphrases, of which one without a word stays empty
        keyphrases = [words_of(s["documents.keyphrases"][s[CHOICE]]) for s in samples]
    made = make_batch(
        sources,
        grids,
        shape,
        keyphrases=keyphrases,
        vocabulary=lexicon.words,
        classes=[lexicon.classes.get(" ".join(k), 0) for k in keyphrases] if keyphrases is not None else None,
        matches=[adds(s) for s in samples],
        keys=[s["key"] for s in samples],
    )
    if targets:
        return made
    gold = tuple(tuple(gold_of(s)) for s in samples)
    return replace(made, gold=gold, present_in=tuple(source_text(s, config) for s in samples))
