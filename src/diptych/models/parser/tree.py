"""Constituency trees and Penn brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diptych.exceptions import UsageError

__all__ = ["Tree", "read_brackets", "read_treebank", "write_treebank"]

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_TREEBANK_FILES = (".mrg", ".txt", ".ptb", ".bracket", ".brackets", ".psd")


@dataclass(frozen=True)
class Tree:
    """A constituent with children, or a pre-terminal (label and word) without; `mention` ties a noun phrase to what
    it names.
    """

    label: str
    children: tuple[Tree, ...] = ()
    word: str | None = None
    mention: int | None = None

    def leaves(self) -> list[str]:
        """Return the words from left to right."""
        return [node.word for node in self.preterminals() if node.word is not None]

    def preterminals(self) -> list[Tree]:
        """Return the nodes that hold the words, from left to right."""
        return [node for node, _, _ in self.spans() if node.word is not None]

    def bracket(self) -> str:
        """Return Penn brackets on one line, e.g. `(NP (DT a) (NN dog))`."""
        if self.word is not None:
            return f"({self.label} {self.word})"
        return f"({self.label} {' '.join(map(Tree.bracket, self.children))})"

    def spans(self) -> list[tuple[Tree, int, int]]:
        """Return every constituent with its half-open token span, parents first."""
        found: list[tuple[Tree, int, int]] = []

        def visit(node: Tree, start: int) -> int:
            place = len(found)
            found.append((node, start, start + 1))
            end = start + 1 if node.word is not None else start
            for child in node.children:
                end = visit(child, end)
            found[place] = (node, start, end)
            return end

        visit(self, 0)
        return found


def read_brackets(text: str) -> Tree:
    """Read one tree in Penn brackets; raise ValueError when they do not balance or nest deeper than 400."""
    trees = list(_trees(text))
    if len(trees) != 1:
        raise ValueError(f"expected one tree, found {len(trees)} in {text[:200]!r}")
    return trees[0]


def _trees(text: str) -> Iterator[Tree]:
    """Every tree of a text, which may stand over several lines."""
    stack: list[tuple[str, list[Tree], list[str]]] = []
    opened = False
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "(":
            if opened:
                stack.append(("", [], []))
            if len(stack) > 400:
                raise ValueError(f"brackets nest deeper than 400 at character {match.start()}")
            opened = True
        elif token == ")":
            if opened or not stack:
                raise ValueError(f"')' without a constituent at character {match.start()}")
            label, children, words = stack.pop()
            if len(words) + len(children) == 0 or (words and (children or len(words) > 1 or not label)):
                raise ValueError(f"the bracket {label!r} that ends at character {match.start()} holds {words}")
            node = Tree(label, tuple(children), word=words[0] if words else None)
            if stack:
                stack[-1][1].append(node)
            else:
                yield node
        elif opened:
            stack.append((token, [], []))
            opened = False
        elif stack:
            stack[-1][2].append(token)
        else:
            raise ValueError(f"expected '(' at character {match.start()}, found {token!r}")
    if opened or stack:
        raise ValueError("missing ')' at the end")


def read_treebank(path: Path) -> list[Tree]:
    """Every tree of a file, or of a folder's bracket files, under ROOT; traces (-NONE-) and function tags removed.

    :class:`UsageError` names the file that cannot be read.
    """
    if not path.exists():
        raise UsageError(f"no treebank at {path}")
    files = sorted(p for p in path.rglob("*") if p.suffix in _TREEBANK_FILES) if path.is_dir() else [path]
    found: list[Tree] = []
    for file in files:
        try:
            trees = [_cleaned(tree) for tree in _trees(file.read_text(encoding="utf-8"))]
        except ValueError as error:
            raise UsageError(f"{file}: {error}; expected trees in Penn brackets") from error
        found += [_rooted(tree) for tree in trees if tree is not None]
    if not found:
        raise UsageError(f"{path} holds no trees; expected Penn brackets in {', '.join(_TREEBANK_FILES)}")
    return found


def write_treebank(trees: list[Tree], path: Path) -> None:
    """One tree a line, under ROOT."""
    path.write_text("".join(f"{_rooted(tree).bracket()}\n" for tree in trees), encoding="utf-8")


def plain_label(label: str) -> str:
    """A label without function tags and indices: `NP-SBJ-1` and `NP=2` are `NP`; `-LRB-` stays."""
    return label if label.startswith("-") else re.split(r"[-=|]", label, maxsplit=1)[0]


def _rooted(tree: Tree) -> Tree:
    if tree.label in ("ROOT", "TOP", ""):
        return Tree("ROOT", tree.children, word=tree.word) if tree.word is None else Tree("ROOT", (tree,))
    return Tree("ROOT", (tree,))


def _cleaned(tree: Tree) -> Tree | None:
    if tree.word is not None:
        return None if tree.label == "-NONE-" else Tree(tree.label, word=tree.word)
    children = tuple(child for child in map(_cleaned, tree.children) if child is not None)
    return Tree(plain_label(tree.label), children) if children else None
