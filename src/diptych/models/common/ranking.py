"""The hinge ranking loss of two sets of embeddings whose rows correspond (HM-LSTM Eq 9)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["hinge_ranking"]


def hinge_ranking(scores_PP: Tensor, wrong_PP: Tensor, margin: float) -> Tensor:
    """(P,): for pair p, ``max(0, margin - s_pp + s)`` summed over its wrong counterparts, both ways.

    ``scores_PP[i, j]`` is the score of item i of the one set and item j of the other; ``wrong_PP[i, j]`` says that j is
    wrong for i and i for j. Without wrong counterparts the loss is 0.
    """
    right_P = scores_PP.diagonal()
    zero = scores_PP.new_zeros(())
    by_row = torch.where(wrong_PP, (margin - right_P[:, None] + scores_PP).clamp_min(0), zero)
    by_column = torch.where(wrong_PP, (margin - right_P[None, :] + scores_PP).clamp_min(0), zero)
    return by_row.sum(1) + by_column.sum(0)
