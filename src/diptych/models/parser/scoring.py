"""Labelled bracket precision, recall and F1 as EVALB counts them with COLLINS.prm.

Pre-terminals and the top label (TOP, ROOT, S1) are no brackets; words whose gold tag is punctuation (, : `` '' .) are
taken out of both trees before spans are counted, and brackets that held nothing else with them; ADVP and PRT are one
label; equal brackets are counted as often as they occur. A sentence whose words differ counts as an error and is left
out, as EVALB does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from diptych.models.parser.tree import Tree, plain_label

__all__ = ["BracketScore", "bracket_score", "brackets"]

_TOP = frozenset({"TOP", "ROOT", "S1", ""})
_LEFT_OUT = frozenset({",", ":", "``", "''", "."})
_SAME = {"PRT": "ADVP"}


@dataclass(frozen=True)
class BracketScore:
    """Sums over sentences; ``exact`` of them have every bracket right, ``errors`` could not be compared."""

    matched: int
    gold: int
    predicted: int
    sentences: int
    exact: int
    errors: int

    @property
    def precision(self) -> float:
        """Right among the predicted brackets; 1 when there are none."""
        return self.matched / self.predicted if self.predicted else 1.0

    @property
    def recall(self) -> float:
        """Found among the gold brackets; 1 when there are none."""
        return self.matched / self.gold if self.gold else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        total = self.gold + self.predicted
        return 2 * self.matched / total if total else 1.0


def bracket_score(pairs: Iterable[tuple[Tree, Tree]], labels: frozenset[str] | None = None) -> BracketScore:
    """Score (gold, predicted) trees; only brackets with one of ``labels`` when given."""
    matched = gold_count = predicted_count = sentences = exact = errors = 0
    for gold, predicted in pairs:
        if gold.leaves() != predicted.leaves():
            errors += 1
            continue
        left_out = [node.label in _LEFT_OUT for node in gold.preterminals()]
        right, found = brackets(gold, left_out, labels), brackets(predicted, left_out, labels)
        common = (right & found).total()
        matched, gold_count, predicted_count = (
            matched + common,
            gold_count + right.total(),
            predicted_count + found.total(),
        )
        sentences, exact = sentences + 1, exact + (right == found)
    return BracketScore(matched, gold_count, predicted_count, sentences, exact, errors)


def brackets(tree: Tree, left_out: list[bool], labels: frozenset[str] | None = None) -> Counter[tuple[str, int, int]]:
    """How often each (label, start, end) occurs; positions count only words that are not left out."""
    place = [0]
    for out in left_out:
        place.append(place[-1] + (not out))
    found: Counter[tuple[str, int, int]] = Counter()
    for node, start, end in tree.spans():
        label = plain_label(node.label)
        if (
            node.word is None
            and label not in _TOP
            and place[start] < place[end]
            and (labels is None or label in labels)
        ):
            found[_SAME.get(label, label), place[start], place[end]] += 1
    return found
