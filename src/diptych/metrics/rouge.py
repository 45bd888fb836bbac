"""ROUGE-1, ROUGE-2 and ROUGE-L: F1 of n-grams and of the longest common subsequence, mean over documents.

The variant is that of the Python package rouge-score 0.1.2 without stemming, ROUGE-L over the whole text (not
sentence by sentence); it differs from the Perl script where that stems. Words are lower-cased runs of a-z and 0-9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from diptych.metrics.text import Unit, characters, ngrams

__all__ = ["longest_common_subsequence", "rouge", "rouge_l", "rouge_n", "rouge_words"]


def rouge(predicted: Sequence[str], gold: Sequence[str], unit: Unit = "words") -> dict[str, float]:
    """``rouge_1``, ``rouge_2`` and ``rouge_l`` of texts, each in [0, 1]; nan without documents."""
    split = rouge_words if unit == "words" else characters
    pairs = [(split(p), split(g)) for p, g in zip(predicted, gold, strict=True)]
    if not pairs:
        return dict.fromkeys(("rouge_1", "rouge_2", "rouge_l"), float("nan"))
    return {
        "rouge_1": sum(rouge_n(p, g, 1) for p, g in pairs) / len(pairs),
        "rouge_2": sum(rouge_n(p, g, 2) for p, g in pairs) / len(pairs),
        "rouge_l": sum(rouge_l(p, g) for p, g in pairs) / len(pairs),
    }


def rouge_words(text: str) -> list[str]:
    """Lower-cased words; whatever is neither a-z nor 0-9 separates them."""
    return re.findall("[a-z0-9]+", text.lower())


def rouge_n(predicted: Sequence[str], gold: Sequence[str], n: int) -> float:
    """F1 of the n-grams of two token lists, each n-gram matched as often as both have it."""
    ours, theirs = ngrams(predicted, n), ngrams(gold, n)
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(predicted: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of the longest common subsequence of two token lists."""
    return _f1(longest_common_subsequence(predicted, gold), len(predicted), len(gold))


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest list of tokens that both have in this order, gaps allowed."""
    row = [0] * (len(b) + 1)
    for token in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            above = row[j]
            row[j] = diagonal + 1 if token == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]


def _f1(hits: int, predicted: int, gold: int) -> float:
    if not hits:
        return 0.0
    precision, recall = hits / predicted, hits / gold
    return 2 * precision * recall / (precision + recall)
