"""The H-LSTM straight from Eq 2-8, node by node: what the batched one must equal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diptych.models.common.trees import Tree
from diptych.models.hmlstm.cell import HierarchicalLSTM


def recursive(cell: HierarchicalLSTM, tree: Tree, words_NE: Tensor) -> Tensor:
    """h of every node of one tree, in its own order: (N, H); ``words_NE`` is read at the leaves only."""
    H = cell.hidden
    W = dict(zip("iou", cell.word.weight.split(H), strict=True))
    U_bar = dict(zip("iouf", cell.other.weight.split(H), strict=True))
    hat = cell.other if cell.noun_phrase is None else cell.noun_phrase
    U_hat = dict(zip("iouf", hat.weight.split(H), strict=True))
    b = dict(zip("iouf", cell.bias.split(H), strict=True))
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parent.tolist()):
        children.setdefault(parent, []).append(node)
    hidden: dict[int, Tensor] = {}

    def visit(j: int) -> tuple[Tensor, Tensor]:
        below = [(k, *visit(k)) for k in children.get(j, [])]
        zero = words_NE.new_zeros(H)
        h_hat = sum((h for k, h, _ in below if tree.kind[k]), start=zero)  # Eq 2
        h_bar = sum((h for k, h, _ in below if not tree.kind[k]), start=zero)

        def gate(name: str) -> Tensor:  # Eq 5-7
            x = W[name] @ words_NE[j] if not below else 0
            return x + U_hat[name] @ h_hat + U_bar[name] @ h_bar + b[name]

        c = torch.sigmoid(gate("i")) * torch.tanh(gate("u"))
        for k, h_k, c_k in below:  # Eq 3-4; W^(f) x_j is zero where there are children
            c = c + torch.sigmoid((U_hat if tree.kind[k] else U_bar)["f"] @ h_k + b["f"]) * c_k
        hidden[j] = torch.sigmoid(gate("o")) * torch.tanh(c)  # Eq 8
        return hidden[j], c

    visit(int(np.flatnonzero(tree.parent == -1)[0]))
    return torch.stack([hidden[j] for j in range(len(tree.parent))])


def random_tree(draw: np.random.Generator, words: int) -> Tree:
    """A tree over so many words; brackets have two to four parts, about two in five are noun phrases."""
    parent: list[int] = []

    def grow(size: int, above: int) -> None:
        place = len(parent)
        parent.append(above)
        if size > 1:
            cuts = np.sort(draw.choice(np.arange(1, size), min(size, int(draw.integers(2, 5))) - 1, replace=False))
            for part in np.diff([0, *cuts, size]):
                grow(int(part), place)

    grow(words, -1)
    count = len(parent)
    return Tree(np.array(parent), (draw.random(count) < 0.4).astype(np.int64), draw.integers(0, 50, count))
