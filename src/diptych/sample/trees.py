"""Constituency trees: the notation the English grammar is written in, Penn brackets, tokens and plain text.

The grammar's notation is `[NP a/DT dog/NN]`: a labelled bracket of `word/TAG` leaves, brackets and `<slot>`s. A
slot is replaced by
another piece in the same notation before anything is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from diptych.models.parser.tree import Tree, read_brackets

__all__ = ["Tree", "capitalised", "detokenise", "fill", "parse", "read_brackets"]

_PIECE = re.compile(r"\[([A-Z]+)\s*|(\])|([^\s\[\]]+)/([A-Z$.,:'`-]+)|(\S+)")
_SLOT = re.compile(r"<([a-z_0-9]+)>")
_NO_SPACE_BEFORE = frozenset({",", ".", ";", ":", "?", "!", "'s", "”", "%"})


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


def detokenise(words: list[str]) -> str:
    """Join words the way a newspaper prints them."""
    text = ""
    for word in words:
        glued = not text or word in _NO_SPACE_BEFORE or text.endswith("“")
        text += word if glued else f" {word}"
    return text
