"""Bracket scores against a worked example and against a second implementation."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.models.parser.scoring import bracket_score
from diptych.models.parser.tree import Tree, read_brackets

GOLD = (
    "(ROOT (S (NP (DT The) (NN cat)) (, ,) (VP (VBZ sits)"
    " (PP (IN on) (NP (NP (DT a) (NN mat)) (ADVP (RB here))))) (. .)))"
)
GUESS = "(TOP (S (NP (DT The) (JJ cat) (, ,)) (VP (VBZ sits) (PP (IN on) (NP (DT a) (NN mat))) (PRT (RP here))) (. .)))"


def test_a_worked_example() -> None:
    """Without punctuation: The cat sits on a mat here = 0..7. Gold: S 0-7, NP 0-2, VP 2-7, PP 3-7, NP 4-7, NP 4-6,
    ADVP 6-7. Guess: S 0-7, NP 0-2, VP 2-7, PP 3-6, NP 4-6, PRT 6-7 (counts as ADVP). Five are common."""
    found = bracket_score([(read_brackets(GOLD), read_brackets(GUESS))])
    assert (found.matched, found.gold, found.predicted, found.exact) == (5, 7, 6, 0)
    assert found.precision == pytest.approx(5 / 6) and found.recall == pytest.approx(5 / 7)
    assert found.f1 == pytest.approx(10 / 13)
    phrases = bracket_score([(read_brackets(GOLD), read_brackets(GUESS))], frozenset({"NP"}))
    assert (phrases.matched, phrases.gold, phrases.predicted) == (2, 3, 2)


def test_sentences_with_other_words_are_errors_and_equal_brackets_count_as_often_as_they_occur() -> None:
    other = bracket_score([(read_brackets("(S (NN a))"), read_brackets("(S (NN b))"))])
    assert (other.errors, other.sentences, other.f1) == (1, 0, 1.0)
    double, single = read_brackets("(NP (NP (NP (NN a))))"), read_brackets("(NP (NN a))")
    found = bracket_score([(double, single)])
    assert (found.matched, found.gold, found.predicted) == (1, 3, 1)


def twin(gold: str, guess: str) -> tuple[int, int, int]:
    """Matched, gold, predicted: from the strings alone, spans as sets of words, matched by crossing off."""

    def read(text: str) -> tuple[list[tuple[str, list[int]]], list[str]]:
        stack: list[tuple[str, list[int]]] = []
        done: list[tuple[str, list[int]]] = []
        tags: list[str] = []
        for label, word, closed in re.findall(r"\((\S+)(?: ([^\s()]+)\))?|(\))", text):
            if closed:
                done.append(stack.pop())
            elif word:
                for _, inside in stack:
                    inside.append(len(tags))
                tags.append(label)
            else:
                stack.append((label, []))
        return done, tags

    right, tags = read(gold)
    found, _ = read(guess)
    gone = {n for n, tag in enumerate(tags) if tag in {",", ":", "``", "''", "."}}

    def clean(items: list[tuple[str, list[int]]]) -> list[tuple[str, tuple[int, ...]]]:
        made = [(re.split("[-=]", a)[0].replace("PRT", "ADVP"), tuple(n for n in b if n not in gone)) for a, b in items]
        return [(a, b) for a, b in made if b and a not in {"ROOT", "TOP", "S1"}]

    left, matched = clean(right), 0
    for item in clean(found):
        if item in left:
            left.remove(item)
            matched += 1
    return matched, len(clean(right)), len(clean(found))


@st.composite
def two_trees(draw: st.DrawFn) -> tuple[Tree, Tree]:
    """Two trees over the same words, with tags of their own."""
    size = draw(st.integers(1, 9))
    tag = st.sampled_from(["NN", "DT", ",", ".", "IN"])

    def build(start: int, end: int, depth: int) -> Tree:
        label = draw(st.sampled_from(["NP", "VP", "S", "PRT", "ADVP", "NP-SBJ"]))
        if end - start == 1:
            leaf = Tree(draw(tag), word=f"w{start}")
            return Tree(label, (leaf,)) if draw(st.booleans()) else leaf
        if depth > 4:
            return Tree(label, tuple(Tree(draw(tag), word=f"w{n}") for n in range(start, end)))
        cut = draw(st.integers(start + 1, end - 1))
        made = (build(start, cut, depth + 1), build(cut, end, depth + 1))
        return Tree(label, (Tree(label, made),) if draw(st.integers(0, 5)) == 0 else made)

    return Tree("ROOT", (build(0, size, 0),)), Tree("TOP", (build(0, size, 0),))


@settings(max_examples=300, deadline=None)
@given(two_trees())
def test_the_second_implementation_agrees(pair: tuple[Tree, Tree]) -> None:
    gold, guess = pair
    found = bracket_score([pair])
    assert (found.matched, found.gold, found.predicted) == twin(gold.bracket(), guess.bracket())
    assert bracket_score([(gold, gold)]).f1 == 1.0
