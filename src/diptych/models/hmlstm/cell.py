"""The H-LSTM unit (Section 3.2.1, Eq 2-8) over all trees of a batch at once, level by level.

Only leaves take words and only inner nodes have children, so at an inner node W x_j is zero, and everything that a
node gives to its parent is known where the node is: its part of the gates' sums (Eq 5-7) and its gated memory
(Eq 3-4). A level is two matrix products, one for each type of child, and one sum by parent.

Shape suffixes: N nodes, L leaves, E word width, H hidden width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.common.trees import TreePlan

__all__ = ["HierarchicalLSTM"]


class HierarchicalLSTM(nn.Module):
    """Child-sum LSTM with distinct weights for noun-phrase children; ``distinct=False`` is the plain Tree-LSTM.

    ``word`` holds W^(i), W^(o), W^(u); ``noun_phrase`` (U with a hat) and ``other`` (U with a bar) each hold U^(i),
    U^(o), U^(u), U^(f). W^(f) of Eq 3-4 always meets x_j = 0 and does not exist.
    """

    def __init__(self, words: int, hidden: int, *, distinct: bool = True) -> None:
        super().__init__()
        self.hidden = hidden
        self.word = nn.Linear(words, 3 * hidden, bias=False)
        self.other = nn.Linear(hidden, 4 * hidden, bias=False)
        self.noun_phrase = nn.Linear(hidden, 4 * hidden, bias=False) if distinct else None
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        """b^(i), b^(o), b^(u), b^(f); a forget gate starts open"""
        with torch.no_grad():
            self.bias[3 * hidden :] = 1.0

    def forward(self, plan: TreePlan, words_LE: Tensor) -> Tensor:
        """h of every node, in the plan's sorted order: (N, H)."""
        three = 3 * self.hidden
        bias_gates, bias_forget = self.bias[:three], self.bias[three:]
        leaves = len(words_LE)
        sums = words_LE.new_zeros(plan.nodes - leaves, 4 * self.hidden)
        """of each inner node over its children: parts of the gates (3H) and gated memories (H)"""
        found: list[Tensor] = []
        start = given = 0
        for level in plan.levels:
            if start == 0:
                gates, memory = self.word(words_LE), None
            else:
                row = sums[start - leaves : start - leaves + len(level)]
                gates, memory = row[:, :three], row[:, three:]
            i, o, u = (gates + bias_gates).chunk(3, 1)
            c = torch.sigmoid(i) * torch.tanh(u)
            if memory is not None:
                c = c + memory
            h = torch.sigmoid(o) * torch.tanh(c)
            found.append(h)
            if level.children:
                parts = self._parts(h[: level.children], level.others)
                kept = torch.sigmoid(parts[:, three:] + bias_forget) * c[: level.children]
                parents = plan.parent_M[given : given + level.children]
                sums.index_add_(0, parents, torch.cat([parts[:, :three], kept], 1).to(sums.dtype))
            start, given = start + len(level), given + level.children
        return torch.cat(found) if found else words_LE.new_zeros(0, self.hidden)

    def _parts(self, h_MH: Tensor, others: int) -> Tensor:
        """U h of a level's children: those of the other type first, then noun phrases; (M, 4H)."""
        if self.noun_phrase is None:
            return self.other(h_MH)
        weights = (self.other.weight, self.noun_phrase.weight)
        return torch.cat([F.linear(h, U) for h, U in zip((h_MH[:others], h_MH[others:]), weights, strict=True)])
