"""Constituency trees: the notation the English grammar is written in, Penn brackets, tokens and plain text.

The grammar's notation is `[NP a/DT dog/NN]`: a labelled bracket of `word/TAG` leaves, brackets and `<slot>`s. A
slot is replaced by
another piece in the same notation before anything is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

_PIECE = re.compile(r"\[([A-Z]+)\s*|(\])|([^\s\[\]]+)/([A-Z$.,:'`-]+)|(\S+)")
_SLOT = re.compile(r"<([a-z_0-9]+)>")
_NO_SPACE_BEFORE = frozenset({",", ".", ";", ":", "?", "!", "'s", "”", "%"})


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
        if self.word is not None:
            return [self.word]
        return [word for child in self.children for word in child.leaves()]

    def bracket(self) -> str:
        """Return Penn brackets on one line, e.g. `(NP (DT a) (NN dog))`."""
        if self.word is not None:
            return f"({self.label} {self.word})"
        return f"({self.label} {' '.join(child.bracket() for child in self.children)})"

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


def fill(template: str, slots: Mapping[str, str]) -> str:
    """Replace every `<slot>` of a template, also the slots inside the pieces that were put in."""
    for _ in range(6):
        if "<" not in template:
            return template
        template = _SLOT.sub(lambda match: slots[match.group(1)], template)
    raise ValueError(f"sample grammar: the template does not come to an end: {template!r}; a slot contains itself")


def parse(notation: str, label: str = "S") -> Tree:
    """Read the grammar's notation; several pieces side by side are put under `label`."""
    stack: list[tuple[str, int | None, list[Tree]]] = [(label, None, [])]
    for match in _PIECE.finditer(notation):
        opened, closed, word, tag, other = match.groups()
        if opened:
            stack.append((opened, None, []))
        elif closed:
            name, mention, children = stack.pop()
            stack[-1][2].append(Tree(name, tuple(children), mention=mention))
        elif word:
            stack[-1][2].append(Tree(tag, word=word))
        elif other.startswith("#"):
            name, _, children = stack.pop()
            stack.append((name, int(other[1:]), children))
        else:
            raise ValueError(f"sample grammar: {other!r} is neither a bracket nor word/TAG in {notation!r}")
    if len(stack) != 1:
        raise ValueError(f"sample grammar: brackets do not close in {notation!r}")
    children = stack[0][2]
    return children[0] if len(children) == 1 else Tree(label, tuple(children))


def capitalised(tree: Tree) -> Tree:
    """Return the tree with its first word in a capital letter."""
    if tree.word is not None:
        return replace(tree, word=tree.word[:1].upper() + tree.word[1:])
    return replace(tree, children=(capitalised(tree.children[0]), *tree.children[1:]))


def read_brackets(text: str) -> Tree:
    """Read one tree in Penn brackets; raise ValueError when they do not balance."""
    tokens = re.findall(r"\(|\)|[^\s()]+", text)
    position = 0

    def constituent() -> Tree:
        nonlocal position
        if position >= len(tokens) or tokens[position] != "(":
            raise ValueError(f"expected '(' at token {position} of {text!r}")
        label = tokens[position + 1]
        position += 2
        children: list[Tree] = []
        word = None
        while position < len(tokens) and tokens[position] != ")":
            if tokens[position] == "(":
                children.append(constituent())
            else:
                word, position = tokens[position], position + 1
        if position >= len(tokens):
            raise ValueError(f"missing ')' in {text!r}")
        position += 1
        return Tree(label, tuple(children), word=word)

    tree = constituent()
    if position != len(tokens):
        raise ValueError(f"text after the last bracket in {text!r}")
    return tree


def detokenise(words: list[str]) -> str:
    """Join words the way a newspaper prints them."""
    text = ""
    for word in words:
        glued = not text or word in _NO_SPACE_BEFORE or text.endswith("“")
        text += word if glued else f" {word}"
    return text
