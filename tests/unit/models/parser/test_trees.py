"""Reading brackets and treebanks, and the flat arrays that a tree model reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.exceptions import UsageError
from diptych.models.common.trees import Tree as ModelTree
from diptych.models.common.trees import plan_trees
from diptych.models.parser.flat import FlatTree, flat_tree, flatten, is_punctuation
from diptych.models.parser.tree import Tree, read_brackets, read_treebank, write_treebank

LABELS = st.sampled_from(["NP", "VP", "S", "PP", "NP-SBJ", "ADVP=2"])
LEAVES = st.builds(
    lambda tag, word: Tree(tag, word=word),
    st.sampled_from(["NN", "DT", ","]),
    st.sampled_from(["dog", "a", ",", ".", "&", "-LRB-"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda label, parts: Tree(label, tuple(parts)), LABELS, st.lists(inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
).map(lambda tree: Tree("ROOT", (tree,)))


@given(TREES)
def test_brackets_are_read_as_they_are_written(tree: Tree) -> None:
    assert read_brackets(tree.bracket()) == tree


@pytest.mark.parametrize(
    "text", ["", "(NP", "(NP (DT a)))", "NP", "(NP a b)", "(NP (DT a) b)", "()", "(NP (", "(" * 500]
)
def test_broken_brackets_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|expected|missing|constituent"):
        read_brackets(text)


def test_the_deepest_tree_that_is_read_is_written_and_flattened() -> None:
    text = "(NP (NP (NN a) (NN b)) " * 396 + "(NN c)" + ")" * 396
    tree = read_brackets(text)
    assert tree.bracket() == text and len(flatten(tree, tree.leaves())) == 4 * 396 + 1


def test_a_treebank_loses_traces_and_function_tags(tmp_path: Path) -> None:
    (tmp_path / "a.mrg").write_text(
        "( (S (NP-SBJ-1 (NNS Dogs)\n  )\n (VP (VBP bark) (NP (-NONE- *T*-1))) (. .)) )\n(TOP (NP (NN Rain)))\n"
    )
    (tmp_path / "readme.md").write_text("not a tree (")
    found = read_treebank(tmp_path)
    assert [tree.bracket() for tree in found] == [
        "(ROOT (S (NP (NNS Dogs)) (VP (VBP bark)) (. .)))",
        "(ROOT (NP (NN Rain)))",
    ]
    write_treebank(found, tmp_path / "b.mrg")
    assert read_treebank(tmp_path / "b.mrg") == found
    (tmp_path / "a.mrg").write_text("(S (NP a b))")
    with pytest.raises(UsageError, match=r"a\.mrg"):
        read_treebank(tmp_path)
    with pytest.raises(UsageError, match="no treebank"):
        read_treebank(tmp_path / "nothing")


def flat(bracket: str) -> FlatTree:
    tree = read_brackets(bracket)
    return flatten(tree, tree.leaves())


def test_normalisation_of_a_known_tree() -> None:
    found = flat(
        "(ROOT (S (NP-SBJ (NP (DT A) (NN man)) (VP (VBG riding) (NP (NNS waves)))) (, ,) (VP (VBZ smiles)) (. .)))"
    )
    assert list(zip(*vars(found).values(), strict=True)) == [
        (-1, "ROOT", 0, 6, False),
        (0, "NP", 0, 4, True),
        (1, "NP", 0, 2, True),
        (2, "DT", 0, 1, False),
        (2, "NN", 1, 2, False),
        (1, "VP", 2, 4, False),
        (5, "VBG", 2, 3, False),
        (5, "NP", 3, 4, True),  # NP over NNS: one leaf, a noun phrase
        (0, "VP", 5, 6, False),
    ]


def test_the_root_is_never_a_phrase_and_odd_sentences_have_one_node() -> None:
    assert flat("(ROOT (NP (DT a) (NN dog)))").noun_phrase == (False, False, False)
    assert flat("(ROOT (NP (NNS Dogs) (. .)))") == FlatTree((-1,), ("ROOT",), (0,), (1,), (False,))
    assert flat("(ROOT (. .) (. !))") == FlatTree((-1,), ("ROOT",), (0,), (0,), (False,))
    assert flat("(ROOT (NP (NNP AT) (CC &) (NNP T)))").label == ("ROOT", "NNP", "CC", "NNP")


def test_a_sentence_without_a_parse_is_flat() -> None:
    assert flat_tree(["A", ",", "dog", "."]) == FlatTree(
        (-1, 0, 0), ("ROOT", "X", "X"), (0, 0, 2), (3, 1, 3), (False, False, False)
    )
    assert flat_tree([]) == flat_tree(["."]) == FlatTree((-1,), ("ROOT",), (0,), (0,), (False,))
    assert flat_tree(["“", "Dogs"]) == FlatTree((-1,), ("ROOT",), (1,), (2,), (False,))


def test_punctuation() -> None:
    assert [is_punctuation(t) for t in (",", "...", "“", "-LRB-", "。", "&", "%", "#tag", "$", "😀", "'s", "3.5")] == [
        *[True] * 5,
        *[False] * 7,
    ]


@settings(max_examples=200)
@given(TREES)
def test_arrays_hold_what_the_brackets_say(tree: Tree) -> None:
    """Checked against the definition, span by span, without the code's way of collapsing."""
    tokens = tree.leaves()
    found = flatten(tree, tokens)
    kept = [n for n, token in enumerate(tokens) if not is_punctuation(token)]
    inner = {found.parent[n] for n in range(len(found))}
    leaves = [n for n in range(len(found)) if n not in inner]
    if kept:
        assert [found.start[n] for n in leaves] == kept and all(found.end[n] - found.start[n] == 1 for n in leaves)
    assert found.parent[0] == -1 and all(0 <= p < n for n, p in enumerate(found.parent) if n)
    sizes = {p: found.parent.count(p) for p in inner if p >= 0}
    assert all(size >= 2 for size in sizes.values())
    wanted: dict[tuple[int, ...], bool] = {}
    for node, start, end in tree.spans():
        words = tuple(n for n in kept if start <= n < end)
        if words:
            wanted[words] = wanted.get(words, False) or node.label.split("-")[0] == "NP"
    got = {
        tuple(k for k in kept if found.start[n] <= k < found.end[n]): found.noun_phrase[n]
        for n in range(len(found))
        if kept
    }
    assert got == {words: phrase and len(words) < len(kept) for words, phrase in wanted.items()}


def test_the_level_batched_cell_reads_them() -> None:
    trees = [
        flat("(ROOT (S (NP (DT a) (NN dog)) (VP (VBZ runs)) (. .)))"),
        flat_tree(["a", "b", "c"]),
        flat_tree(["a"]),
    ]
    plan = plan_trees(
        [ModelTree(np.array(t.parent), np.array(t.noun_phrase, np.int64), np.array(t.start)) for t in trees]
    )
    assert plan.nodes == 5 + 4 + 1 and plan.word_L.numel() == 3 + 3 + 1
