"""BLEU-1 to BLEU-4: corpus-level, cumulative, with brevity penalty, on lower-cased text.

The variant is sacrebleu's default with ``lowercase=True``: words by the tokenizer 13a, an order without a match
smoothed by halving ("exp"). Characters (Chinese) are its tokenizer ``char``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from diptych.metrics.text import Unit, characters, ngrams

__all__ = ["bleu", "bleu_words"]

ORDERS = 4
_SPLITS = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def bleu(predicted: Sequence[str], gold: Sequence[str], unit: Unit = "words") -> dict[str, float]:
    """``bleu_1`` to ``bleu_4`` of texts with one reference each, in [0, 1]; nan without documents."""
    if not predicted and not gold:
        return {f"bleu_{n}": math.nan for n in range(1, ORDERS + 1)}
    split = bleu_words if unit == "words" else characters
    hits, counts = [0] * ORDERS, [0] * ORDERS
    ours = theirs = 0
    for p, g in zip(map(split, predicted), map(split, gold), strict=True):
        ours, theirs = ours + len(p), theirs + len(g)
        for n in range(ORDERS):
            found = ngrams(p, n + 1)
            hits[n] += (found & ngrams(g, n + 1)).total()
            counts[n] += found.total()
    penalty = 1.0 if ours >= theirs else math.exp(1 - theirs / ours) if ours else 0.0
    return {f"bleu_{n}": penalty * _geometric_mean(hits[:n], counts[:n]) for n in range(1, ORDERS + 1)}


def bleu_words(text: str) -> list[str]:
    """Lower-cased words and punctuation, as mteval-v13a splits them."""
    text = text.lower().rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    text = f" {text} "
    for pattern, split in _SPLITS:
        text = pattern.sub(split, text)
    return text.split()


def _geometric_mean(hits: Sequence[int], counts: Sequence[int]) -> float:
    """Of the orders' precisions; 0 when nothing matched or an order has no n-gram."""
    if not any(hits) or not all(counts):
        return 0.0
    logs, smooth = 0.0, 1.0
    for hit, count in zip(hits, counts, strict=True):
        smooth *= 1 if hit else 2
        logs += math.log((hit or 1 / smooth) / count)
    return math.exp(logs / len(hits))
