"""Keyphrase scores as the task's released scorer computes them: macro F1@k and MAP@5 over stemmed phrases.

Words are lower-cased and Porter-stemmed (nltk, default mode). Targets and predictions are deduplicated after that;
predictions with a word ``<unk>``, ``,`` or ``.`` are dropped. P@k = hits / min(k, kept), R@k = hits / targets; F1@k is
of P and R averaged over posts, not the mean of the posts' F1. AP@5 divides by the number of targets. Scores of present
and absent keyphrases run over the posts that have such a target, with the predictions restricted likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from diptych.exceptions import MissingExtra

__all__ = ["KeyphraseScores", "Kind", "Post", "is_present", "keyphrase_scores", "stemmed"]

Kind = Literal["all", "present", "absent"]
Phrase = tuple[str, ...]
CUTS = (1, 3, 5)
_NEVER = {"<unk>", ",", "."}


@dataclass(frozen=True)
class Post:
    """Ranked predictions, gold phrases and the text in which a phrase is looked for; words stand between spaces."""

    predicted: Sequence[str]
    gold: Sequence[str]
    source: str | None = None


@dataclass(frozen=True)
class KeyphraseScores:
    """Shares in [0, 1], averaged over ``posts``; nan when there is none."""

    f1_at_1: float
    f1_at_3: float
    f1_at_5: float
    map_at_5: float
    posts: int


def keyphrase_scores(posts: Sequence[Post], kind: Kind = "all") -> KeyphraseScores:
    """Score the posts; ``present`` and ``absent`` need each post's source, and :class:`ValueError` says where it lacks.

    What the source is, the post alone or the model's whole input (post, OCR text, entities), is the caller's choice.
    """
    precision, recall = dict.fromkeys(CUTS, 0.0), dict.fromkeys(CUTS, 0.0)
    average = 0.0
    counted = 0
    for place, post in enumerate(posts):
        targets = _distinct(post.gold)
        kept = [p for p in _distinct(post.predicted) if not _NEVER.intersection(p)]
        if kind != "all":
            if post.source is None:
                raise ValueError(f"{kind} keyphrases need the source of every post; post {place} has none")
            source = stemmed(post.source)
            targets, kept = (
                [p for p in side if is_present(p, source) == (kind == "present")] for side in (targets, kept)
            )
        if not targets:
            continue
        counted += 1
        wanted = set(targets)
        hits = [p in wanted for p in kept]
        for k in CUTS:
            found = sum(hits[:k])
            precision[k] += found / min(k, len(kept)) if kept else 0.0
            recall[k] += found / len(targets)
        average += sum(sum(hits[: n + 1]) / (n + 1) for n, hit in enumerate(hits[:5]) if hit) / len(targets)
    if not counted:
        return KeyphraseScores(math.nan, math.nan, math.nan, math.nan, 0)
    f1_at_1, f1_at_3, f1_at_5 = (_f1(precision[k] / counted, recall[k] / counted) for k in CUTS)
    return KeyphraseScores(f1_at_1, f1_at_3, f1_at_5, average / counted, counted)


def stemmed(text: str) -> Phrase:
    """The stems of a text's words."""
    stem = _stemmer()
    return tuple(stem(word) for word in text.lower().split())


def is_present(phrase: Phrase, source: Phrase) -> bool:
    """Whether the source has the phrase's words, in one run."""
    n = len(phrase)
    return any(source[i : i + n] == phrase for i in range(len(source) - n + 1))


def _distinct(phrases: Sequence[str]) -> list[Phrase]:
    """Stemmed, empty ones and later repetitions left out."""
    return [p for p in dict.fromkeys(map(stemmed, phrases)) if p]


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@lru_cache(maxsize=1)
def _stemmer() -> Callable[[str], str]:
    try:
        from nltk.stem.porter import PorterStemmer
    except ImportError as error:
        raise MissingExtra("nltk", "metrics") from error
    return lru_cache(maxsize=100_000)(PorterStemmer().stem)
