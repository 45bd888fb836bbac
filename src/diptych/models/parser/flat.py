"""Parse trees as the flat arrays that a tree model reads.

Normalisation: words are leaves, a pre-terminal is merged with its word; a chain of single children is one node, a
noun phrase if any label of the chain is NP; nothing is binarised; ROOT is the one node on top and never a noun phrase;
punctuation leaves are dropped, and brackets that held nothing else with them; function tags are stripped.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from diptych.models.parser.tree import Tree, plain_label

__all__ = ["FlatTree", "flat_tree", "flatten", "is_punctuation"]

_WORDLIKE = frozenset("&%#@*+")
_BRACKETS = frozenset({"-LRB-", "-RRB-", "-LSB-", "-RSB-", "-LCB-", "-RCB-"})


@dataclass(frozen=True)
class FlatTree:
    """Nodes with parents before children, children from left to right; node 0 is the root.

    ``parent`` is -1 at the root; ``start`` and ``end`` are half-open positions among the sentence's tokens, punctuation
    counted; a leaf is a node that is nobody's parent, and holds the token at ``start``.
    """

    parent: tuple[int, ...]
    label: tuple[str, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]
    noun_phrase: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.parent)


def is_punctuation(token: str) -> bool:
    """Whether a token is left out of trees: only punctuation characters (Unicode P), and none of ``& % # @ * +``."""
    return token in _BRACKETS or all(unicodedata.category(c)[0] == "P" and c not in _WORDLIKE for c in token)


def flatten(tree: Tree, tokens: Sequence[str]) -> FlatTree:
    """The normalised arrays of a parse of ``tokens``; of a sentence without a word that is kept, the root alone."""
    kept = [not is_punctuation(token) for token in tokens]
    top, _ = _reduced(tree, 0, kept)
    if top is None:
        return flat_tree(tokens)
    nodes: list[tuple[int, str, int, int, bool]] = []

    def add(node: _Node, parent: int) -> None:
        phrase = "NP" in node.labels
        place = len(nodes)
        nodes.append((parent, "NP" if phrase else node.labels[0], node.start, node.end, phrase))
        for child in node.children:
            add(child, place)

    add(top, -1)
    parent, label, start, end, phrase = zip(*nodes, strict=True)
    return FlatTree(parent, ("ROOT", *label[1:]), start, end, (False, *phrase[1:]))


@dataclass(frozen=True)
class _Node:
    """A chain of labels over a word or over two or more children."""

    labels: tuple[str, ...]
    start: int
    end: int
    children: tuple[_Node, ...] = ()


def _reduced(tree: Tree, first: int, kept: Sequence[bool]) -> tuple[_Node | None, int]:
    """What is left of a constituent whose words begin at ``first``, and the position behind it."""
    label = plain_label(tree.label)
    if tree.word is not None:
        return (_Node((label,), first, first + 1) if kept[first] else None), first + 1
    found: list[_Node] = []
    for child in tree.children:
        node, first = _reduced(child, first, kept)
        if node is not None:
            found.append(node)
    if len(found) < 2:
        return (replace(found[0], labels=(label, *found[0].labels)) if found else None), first
    return _Node((label,), found[0].start, found[-1].end, tuple(found)), first


def flat_tree(tokens: Sequence[str]) -> FlatTree:
    """What stands for a sentence that could not be parsed: every word below the root, no noun phrase."""
    words = [n for n, token in enumerate(tokens) if not is_punctuation(token)]
    if len(words) <= 1:
        at = words[0] if words else 0
        return FlatTree((-1,), ("ROOT",), (at,), (at + len(words),), (False,))
    root = (-1, "ROOT", words[0], words[-1] + 1, False)
    parent, label, start, end, phrase = zip(root, *((0, "X", n, n + 1, False) for n in words), strict=True)
    return FlatTree(parent, label, start, end, phrase)
