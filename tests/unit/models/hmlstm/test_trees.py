"""The plan of a batch of trees, and the batched H-LSTM against the recursive one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diptych.models.common.trees import Tree, plan_trees
from diptych.models.hmlstm.cell import HierarchicalLSTM

sys.path.insert(0, str(Path(__file__).parent))

from recursive import random_tree, recursive

ONE = Tree(np.array([-1]), np.array([0]), np.array([3]))
"""A sentence of one word: the root is a leaf."""


def some_trees(seed: int, count: int = 6, longest: int = 14) -> list[Tree]:
    draw = np.random.default_rng(seed)
    return [ONE, *(random_tree(draw, int(draw.integers(1, longest))) for _ in range(count))]


def evaluate(cell: HierarchicalLSTM, trees: list[Tree], vectors: torch.Tensor) -> list[torch.Tensor]:
    """h of each tree's nodes, in their own order."""
    plan = plan_trees(trees)
    h = cell(plan, vectors[plan.word_L])[plan.place_N]
    return list(h.split([len(tree.parent) for tree in trees]))


def test_children_stand_before_parents_and_levels_are_heights() -> None:
    for seed in range(5):
        trees = some_trees(seed)
        plan = plan_trees(trees)
        offset, heights, places = 0, {}, plan.place_N.tolist()
        for tree in trees:
            parent = tree.parent.tolist()

            def height(node: int, parent: list[int] = parent) -> int:
                return max((height(k) + 1 for k, p in enumerate(parent) if p == node), default=0)

            for node in range(len(parent)):
                heights[places[offset + node]] = height(node)
            offset += len(parent)
        bounds = np.cumsum([0, *map(len, plan.levels)])
        for level, (start, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            assert {heights[place] for place in range(start, end)} == {level}
        assert sorted(places) == list(range(plan.nodes)) and len(plan.parent_M) == plan.nodes - len(trees)
        assert len(plan.word_L) == len(plan.levels[0]) and sum(level.roots for level in plan.levels) == len(trees)


@pytest.mark.parametrize("distinct", [True, False])
def test_batched_equals_recursive(distinct: bool) -> None:
    torch.manual_seed(0)
    cell, vectors, trees = HierarchicalLSTM(12, 16, distinct=distinct), torch.randn(50, 12), some_trees(1, 20)
    torch.nn.init.normal_(cell.bias)
    found = evaluate(cell, trees, vectors)
    expected = [recursive(cell, tree, vectors[tree.word]) for tree in trees]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    weights = torch.randn_like(torch.cat(found))
    gradients = []
    for outcome in (found, expected):
        cell.zero_grad()
        (torch.cat(outcome) * weights).sum().backward()
        gradients.append([p.grad.clone() for p in cell.parameters() if p.grad is not None])
    assert len(gradients[0]) == 4 if distinct else 3
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_gradients_of_the_cell() -> None:
    torch.manual_seed(1)
    cell, trees = HierarchicalLSTM(3, 4).double(), some_trees(2, 3, 6)
    plan = plan_trees(trees)
    leaves = torch.randn(len(plan.word_L), 3, dtype=torch.double, requires_grad=True)
    names = [name for name, _ in cell.named_parameters()]

    def run(leaves: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(cell, dict(zip(names, values, strict=True)), (plan, leaves))

    assert torch.autograd.gradcheck(run, (leaves, *cell.parameters()))


def test_a_tree_is_the_same_in_any_batch() -> None:
    torch.manual_seed(2)
    cell, vectors, trees = HierarchicalLSTM(8, 8), torch.randn(50, 8), some_trees(3)
    together = evaluate(cell, trees, vectors)
    backwards = evaluate(cell, trees[::-1], vectors)[::-1]
    alone = [evaluate(cell, [tree], vectors)[0] for tree in trees]
    for a, b, c in zip(together, backwards, alone, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
        torch.testing.assert_close(a, c, atol=1e-6, rtol=0)


def test_noun_phrases_are_told_apart() -> None:
    torch.manual_seed(3)
    tree = Tree(np.array([-1, 0, 0]), np.array([0, 1, 0]), np.array([0, 1, 2]))
    other = Tree(tree.parent, np.array([0, 0, 1]), tree.word)
    vectors = torch.randn(3, 6)
    for distinct in (True, False):
        cell = HierarchicalLSTM(6, 6, distinct=distinct)
        roots = [evaluate(cell, [t], vectors)[0][0] for t in (tree, other)]
        assert torch.allclose(*roots, atol=1e-5) is not distinct


def test_no_tree_at_all() -> None:
    plan = plan_trees([])
    assert HierarchicalLSTM(2, 4)(plan, torch.zeros(0, 2)).shape == (0, 4) and plan.levels == ()


@pytest.mark.parametrize(
    ("parent", "said"),
    [
        ([], "tree 1: expected one node without parent"),
        ([-1, -1], "found 2 of 2"),
        ([-1, 5], "places from 0 to 1"),
        ([-1, 2, 1], "tree 1: a node is its own ancestor"),
    ],
)
def test_what_is_no_tree_is_refused(parent: list[int], said: str) -> None:
    zeros = np.zeros(len(parent), np.int64)
    with pytest.raises(ValueError, match=said):
        plan_trees([ONE, Tree(np.array(parent, np.int64), zeros, zeros)])
    with pytest.raises(ValueError, match="1 parents, 2 kinds and 1 words"):
        plan_trees([Tree(ONE.parent, np.zeros(2), ONE.word)])
