"""The pointer decoder of MM-MKP (Section 3.1.4, Eq 8-14).

Shape suffixes as in :mod:`diptych.models.mkp.model`; K words of a row's top classes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from diptych.models.common.masking import masked_softmax
from diptych.models.common.recurrent import recur
from diptych.models.mkp.batch import EOS, PAD

__all__ = ["Copies", "Decoder", "Memory", "class_copies"]


class Copies(NamedTuple):
    """Words that a row may copy from its classifier's predictions."""

    words_BK: Tensor
    beta_BK: Tensor
    """their probabilities; they sum to 1 where a row has any"""

    @property
    def any_B1(self) -> Tensor:
        """bool: the row has a word to copy from its classes."""
        return (self.words_BK != PAD).any(1, keepdim=True)


class Memory(NamedTuple):
    """What the decoder reads of its input."""

    H_T: Tensor
    keys_BNd: Tensor
    """W_alpha's half of Eq 10 that no step changes"""
    mask_BN: Tensor
    copies_BN: Tensor
    H_f: Tensor
    classes: Copies | None
    lambda_copy: float
    extra: int

    def rows(self, rows_M: Tensor) -> Memory:
        """The same for those rows, in that order."""
        classes = None if self.classes is None else Copies(*(part[rows_M] for part in self.classes))
        taken = {n: getattr(self, n)[rows_M] for n in ("H_T", "keys_BNd", "mask_BN", "copies_BN", "H_f")}
        return self._replace(classes=classes, **taken)


def class_copies(logits_BC: Tensor, class_words_CL: Tensor, top: int) -> Copies:
    """Every word of a top class gets its class's logit; beta is the softmax over all these words.

    Longer classes weigh more, equal words are summed where they are copied; gradients flow through the logits.
    """
    values_Bk, classes_Bk = logits_BC[:, 1:].topk(min(top, logits_BC.shape[1] - 1), dim=1)
    words_BkL = class_words_CL[classes_Bk + 1]
    logits_BK = values_Bk[..., None].expand_as(words_BkL).flatten(1)
    words_BK = words_BkL.flatten(1)
    return Copies(words_BK, masked_softmax(logits_BK, words_BK != PAD))


class Decoder(nn.Module):
    """A GRU with additive attention that says words of the vocabulary, of the source and of the likely classes."""

    def __init__(self, word: int, hidden: int, vocabulary: int, context_in_gru: Literal["previous", "none"],
                 dropout: float) -> None:  # fmt: skip
        super().__init__()
        self.context_in_gru, self.vocabulary = context_in_gru, vocabulary
        fed = word + (hidden if context_in_gru == "previous" else 0)
        self.cell = nn.GRUCell(fed, hidden)
        self.attend_state, self.attend_source = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.attend = nn.Linear(hidden, 1, bias=False)
        self.predict = nn.Linear(word + 2 * hidden, vocabulary)
        self.switch = nn.Linear(word + 2 * hidden, 1)
        self.dropout = nn.Dropout(dropout)

    def start(self, last_Bd: Tensor) -> tuple[Tensor, Tensor]:
        """s_0, the encoder's final states, and c_0 = 0."""
        return last_Bd, torch.zeros_like(last_Bd)

    def step(self, fed_Be: Tensor, state_Bd: Tensor, context_Bd: Tensor, memory: Memory) -> tuple[Tensor, ...]:
        """p(y_j) over vocabulary and copy ids (B, X), s_j, c_j; Eq 8 reads c_{j-1}, since c_j needs s_j."""
        inputs = torch.cat([fed_Be, context_Bd], 1) if self.context_in_gru == "previous" else fed_Be
        s = recur(self.cell, self.dropout(inputs), state_Bd)
        scores_BN = self.attend(torch.tanh(self.attend_state(s)[:, None] + memory.keys_BNd))[..., 0]
        alpha_BN = masked_softmax(scores_BN, memory.mask_BN)  # Eq 10
        c = (alpha_BN[:, None] @ memory.H_T)[:, 0]  # Eq 9
        features = self.dropout(torch.cat([fed_Be, s, c + memory.H_f], 1))
        p_p = self.predict(features).softmax(1)  # Eq 11
        switch = torch.sigmoid(self.switch(features))  # Eq 14
        lambda_c = torch.ones_like(switch)  # a row without class words copies from its source only
        if memory.classes is not None:
            lambda_c = torch.where(memory.classes.any_B1, memory.lambda_copy, lambda_c)
        p_BX = torch.cat([switch * p_p, p_p.new_zeros(len(p_p), memory.extra)], 1)
        p_BX = p_BX.scatter_add(1, memory.copies_BN, (1 - switch) * lambda_c * alpha_BN)  # Eq 12-13
        if memory.classes is not None:
            p_BX = p_BX.scatter_add(1, memory.classes.words_BK, (1 - switch) * (1 - lambda_c) * memory.classes.beta_BK)
        return p_BX, s, c

    @staticmethod
    def sayable(p_BX: Tensor, specials: int) -> Tensor:
        """Log-probabilities for the search: no special token but the end."""
        logs = p_BX.clamp_min(1e-12).log()
        logs[:, :EOS] = -torch.inf
        logs[:, EOS + 1 : specials] = -torch.inf
        return logs
