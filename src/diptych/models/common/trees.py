"""The order in which the nodes of all trees of a batch are evaluated: level by level, children before parents.

A node's level is the length of the longest way down to a leaf. Nodes are sorted by level and, inside a level, into
children of type 0, children of type 1 and roots, so that what a level computes for its parents needs no gathering.
Shape suffixes: N nodes, L leaves, M nodes that have a parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

__all__ = ["Level", "Tree", "TreePlan", "plan_trees"]


@dataclass(frozen=True)
class Tree:
    """One tree as flat arrays; nodes may stand in any order."""

    parent: np.ndarray
    """int, place of the parent in this tree; -1 at the root, of which there is exactly one"""
    kind: np.ndarray
    """0 or 1: which of two weights a node has as a child (1: a noun phrase)"""
    word: np.ndarray
    """int, the word of a leaf; not read at inner nodes"""


@dataclass(frozen=True)
class Level:
    """How many nodes of a level are children of type 0, children of type 1 and roots, in this order."""

    others: int
    noun_phrases: int
    roots: int

    @property
    def children(self) -> int:
        """Nodes that have a parent."""
        return self.others + self.noun_phrases

    def __len__(self) -> int:
        return self.children + self.roots


@dataclass(frozen=True)
class TreePlan:
    """The sorted nodes of a batch of trees."""

    levels: tuple[Level, ...]
    word_L: Tensor
    """int64, the words of the leaves"""
    parent_M: Tensor
    """int64, for each node that has a parent, in order, the parent's place among the inner nodes"""
    place_N: Tensor
    """int64, where the nodes, tree after tree, stand in the sorted order"""
    root_T: Tensor
    """int64, where the roots of the trees stand in the sorted order"""

    @property
    def nodes(self) -> int:
        """How many nodes all trees have."""
        return len(self.place_N)

    def to(self, device: torch.device | str) -> Self:
        """The same plan there."""
        names = ("word_L", "parent_M", "place_N", "root_T")
        return replace(self, **{n: getattr(self, n).to(device, non_blocking=True) for n in names})


def plan_trees(trees: Sequence[Tree]) -> TreePlan:
    """Plan one evaluation; :class:`ValueError` names the tree that is none: empty, several roots, or a cycle."""
    sizes = np.array([len(tree.parent) for tree in trees], np.int64)
    starts = np.cumsum(sizes) - sizes
    for number, tree in enumerate(trees):
        _check(number, tree)
    owner_N = np.repeat(np.arange(len(trees)), sizes)
    parent_N = _joined([tree.parent for tree in trees])
    root_N = parent_N < 0
    parent_N = np.where(root_N, -1, parent_N + starts[owner_N])
    level_N = _levels(parent_N, owner_N)
    kind_N = np.where(root_N, 2, _joined([tree.kind for tree in trees]))
    order_N = np.lexsort((kind_N, level_N))
    place_N = np.empty(len(order_N), np.int64)
    place_N[order_N] = np.arange(len(order_N))
    counts = np.zeros((int(level_N.max(initial=-1)) + 1, 3), np.int64)
    np.add.at(counts, (level_N, kind_N), 1)
    leaves = int(counts[:1].sum())
    inner = order_N[~root_N[order_N]]
    return TreePlan(
        levels=tuple(Level(*row) for row in counts.tolist()),
        word_L=torch.from_numpy(_joined([tree.word for tree in trees])[order_N[:leaves]]),
        parent_M=torch.from_numpy(place_N[parent_N[inner]] - leaves),
        place_N=torch.from_numpy(place_N),
        root_T=torch.from_numpy(place_N[np.flatnonzero(root_N)]),
    )


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *arrays]).astype(np.int64)


def _check(number: int, tree: Tree) -> None:
    parent = np.asarray(tree.parent)
    size = len(parent)
    if not len(tree.kind) == len(tree.word) == size:
        raise ValueError(f"tree {number}: {size} parents, {len(tree.kind)} kinds and {len(tree.word)} words")
    roots = int((parent == -1).sum())
    if roots != 1:
        raise ValueError(f"tree {number}: expected one node without parent (-1), found {roots} of {size}")
    if parent.min() < -1 or parent.max() >= size:
        raise ValueError(f"tree {number}: parents are places from 0 to {size - 1}, found {parent.tolist()}")


def _levels(parent_N: np.ndarray, owner_N: np.ndarray) -> np.ndarray:
    """Longest way down from each node; a wave from the leaves up, one step a level."""
    level_N = np.zeros(len(parent_N), np.int64)
    nodes = np.flatnonzero(parent_N >= 0)
    for level in range(1, len(parent_N) + 1):
        if not len(nodes):
            return level_N
        nodes = np.unique(parent_N[nodes])
        level_N[nodes] = level
        nodes = nodes[parent_N[nodes] >= 0]
    if not len(nodes):
        return level_N
    raise ValueError(f"tree {owner_N[nodes[0]]}: a node is its own ancestor")
