"""The grammar of everyday captions: its words' forms, its rules, its trees."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from itertools import islice
from pathlib import Path

import pytest

from diptych.models.parser.tree import read_brackets, read_treebank
from diptych.sample import treebank
from diptych.sample.article import english_sentence
from diptych.sample.caption_grammar import CaptionGrammar, read_rules
from diptych.sample.caption_words import read_words
from diptych.sample.treebank import write_grammar_treebank

WORDS = read_words()


@pytest.mark.parametrize(
    ("word", "tag", "form"),
    [
        ("sit", "VBG", "sitting"), ("ride", "VBG", "riding"), ("lie", "VBG", "lying"), ("eat", "VBN", "eaten"),
        ("carry", "VBZ", "carries"), ("play", "VBZ", "plays"), ("watch", "VBZ", "watches"), ("have", "VBZ", "has"),
        ("park", "VBD", "parked"), ("chop", "VBN", "chopped"), ("run", "VBP", "run"), ("knife", "NNS", "knives"),
        ("box", "NNS", "boxes"), ("cherry", "NNS", "cherries"), ("skis", "NNS", "skis"), ("red", "JJ", "red"),
    ],
)  # fmt: skip
def test_forms(word: str, tag: str, form: str) -> None:
    assert WORDS.form(word, tag) == form


def test_entries_of_several_words() -> None:
    assert WORDS.leaves("stop sign", "NNS") == "stop/NN signs/NNS"
    assert WORDS.leaves("hot/JJ dog", "NN") == "hot/JJ dog/NN"
    assert WORDS.leaves("New York", "NNP") == "New/NNP York/NNP"
    assert WORDS.leaves("snow covered", "VBN", as_is=True) == "snow/NN covered/VBN"


def test_rules_are_checked_when_they_are_read() -> None:
    made = read_rules("a(x y)(p)\n  2 {person NN} <b.$1>\n  1 $2\nb(x y)\n  1 $1/NN\n", WORDS)
    assert made["a.x.p"].alternatives == ("{person NN} <b.x>", "p") and made["a.x.p"].weights == (2, 1)
    for text, name in (("a\n  1 <c>\n", "'c'"), ("a\n  1 {nothing NN}\n", "nothing"), ("A b\n  1 x\n", "A b")):
        with pytest.raises(ValueError, match=name):
            read_rules(text, WORDS)


def test_every_word_list_is_used() -> None:
    rules = (files("diptych.sample") / "captions.rules").read_text()
    families = {"person", "animal", "vehicle", "furniture", "device", "food", "dish", "thing", "building", "nature",
                "mass", "stuff", "cloth", "in_place", "on_place", "at_place", "person_adjectives", "animal_adjectives",
                "food_adjectives", "place_adjectives", "thing_adjectives"}  # fmt: skip
    assert [name for name in WORDS.lists if f"{{{name} " not in rules and name not in families] == []


def test_the_same_seed_gives_the_same_captions_whose_trees_are_whole() -> None:
    first, second = ([grammar.caption() for _ in range(300)] for grammar in (CaptionGrammar(4), CaptionGrammar(4)))
    assert first == second != [CaptionGrammar(5).caption() for _ in range(300)]
    labels: Counter[str] = Counter()
    for notation in first:
        sentence = english_sentence(notation)
        tree = read_brackets(sentence.tree or "")
        assert tuple(tree.leaves()) == sentence.tokens and not {"<", ">", "{", "}", "$"} & set(sentence.text)
        labels.update(node.label for node, _, _ in tree.spans() if node.word is None)
        for node, _, _ in tree.spans():
            assert node.word is not None or len(node.children) > 1 or node.label != node.children[0].label, (
                sentence.tree
            )
    assert labels["NP"] > labels["PP"] > 150 and labels["VP"] > 150


def test_a_written_treebank_keeps_its_parts_apart(tmp_path: Path) -> None:
    sizes = write_grammar_treebank(tmp_path, 200)
    parts = {part: [" ".join(t.leaves()) for t in read_treebank(tmp_path / f"{part}.mrg")] for part in sizes}
    assert {part: len(items) for part, items in parts.items()} == sizes and sizes["train"] == 200
    assert not set(parts["train"]) & {*parts["dev"], *parts["test"]}
    assert max(len(s.tokens) for s in islice(treebank(200, 3), 200)) <= 40
