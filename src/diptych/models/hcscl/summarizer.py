"""The multimodal output summarizer of HCSCL: decoder with hierarchical attention (Eq 20-25), image selector (26-29).

Shape suffixes: B documents, S sentences, W words, Q objects, Z scenes, P images, T steps, V words, d width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.common.masking import length_mask, masked_softmax
from diptych.models.common.recurrent import last_state, recur
from diptych.models.hcscl.batch import EOS, PAD, UNK

__all__ = ["Memory", "Selector", "State", "Summarizer"]

State = tuple[Tensor, Tensor, Tensor]
"""h', the cell and the last context, each (B, d)."""


class Memory(NamedTuple):
    """What the decoder attends to."""

    h1: Tensor
    word_mask_BSW: Tensor
    h3: Tensor
    sentence_mask_BS: Tensor
    source_BSW: Tensor | None = None
    """ids of the words, to copy them"""
    extra: int = 0
    """how many ids there are behind the vocabulary"""

    def rows(self, rows_M: Tensor) -> Memory:
        """The same for those documents, in that order."""
        source = None if self.source_BSW is None else self.source_BSW[rows_M]
        h1, words, h3, sentences = (part[rows_M] for part in self[:4])
        return Memory(h1, words, h3, sentences, source, self.extra)


class Summarizer(nn.Module):
    """Says the summary; a word's weight is multiplied by its sentence's inside one softmax over all words."""

    def __init__(self, width: int, word: int, vocabulary: int, attend: str, dropout: float,
                 vectors_Vw: Tensor | None, copies: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.attend = attend
        self.generate = nn.Linear(2 * width + word, 1) if copies else None
        self.embedding = nn.Embedding(vocabulary, word, padding_idx=PAD)
        if vectors_Vw is not None:
            with torch.no_grad():
                self.embedding.weight.copy_(vectors_Vw)
        self.read = nn.LSTM(width, width, batch_first=True)
        self.cell = nn.LSTMCell(word + width, width)
        self.combine = nn.Linear(2 * width, width)
        self.predict = nn.Linear(width, vocabulary)
        self.dropout = nn.Dropout(dropout)

    def start(self, memory: Memory) -> State:
        """h'_0: the LSTM of Eq 20 has read the sentences; c_0 = 0."""
        counts = memory.sentence_mask_BS.sum(1).cpu()
        h, cell = last_state(self.read, memory.h3, counts)
        return h, cell, torch.zeros_like(h)

    def step(self, word_B: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Logits (B, V) and the next state; attention asks with h'_{t-1}, the output uses h'_t and c_t."""
        word = self._embedded(word_B)
        state, weights = self._recur(word, state, memory)
        h, _, context = state
        return self._logits(h, context, word, weights, memory), state

    def forced(self, words_BT: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and states h' (B, T, d) when these words are said, whatever the logits are.

        Only the recurrence goes step by step; what is made of its states is made of all of them at once.
        """
        words_BTw, state = self._embedded(words_BT), self.start(memory)
        steps = []
        for word in words_BTw.unbind(1):
            state, weights = self._recur(word, state, memory)
            steps.append((state[0], state[2], weights))
        h_BTd, context_BTd, weights_BTN = (torch.stack(some, 1) for some in zip(*steps, strict=True))
        return self._logits(h_BTd, context_BTd, words_BTw, weights_BTN, memory), h_BTd

    def _embedded(self, words: Tensor) -> Tensor:
        return self.embedding(torch.where(words < self.embedding.num_embeddings, words, UNK))

    def _recur(self, word_Bw: Tensor, state: State, memory: Memory) -> tuple[State, Tensor]:
        """The next state, and the weights of the attention with h'_{t-1}."""
        before, cell, context = state
        context_next, weights = self.context(before, memory)
        h, cell = recur(self.cell, self.dropout(torch.cat([word_Bw, context], 1)), (before, cell))
        return (h, cell, context_next), weights

    def _logits(self, h: Tensor, context: Tensor, word: Tensor, weights: Tensor, memory: Memory) -> Tensor:
        """Eq 24 of one step (B, ...) or of all (B, T, ...)."""
        combined = F.relu(self.combine(self.dropout(torch.cat([h, context], -1))))
        logits = self.predict(combined)
        if self.generate is None:
            return logits
        assert memory.source_BSW is not None
        share = self.generate(torch.cat([h, context, word], -1))
        source = memory.source_BSW.flatten(1)
        source = source if weights.ndim == 2 else source[:, None].expand_as(weights)
        return _pointed(logits, share, weights, source, memory.extra)

    def context(self, h_Bd: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """c_t (B, d) of Eq 21-23, and the weights: of all words, or of the sentences where these alone are read."""
        if self.attend == "sentences":
            weights = self.sentence_weights(h_Bd, memory)
            return (weights[:, None] @ memory.h3)[:, 0], weights
        scores_BSW = (memory.h1 @ h_Bd[:, None, :, None])[..., 0]
        if self.attend == "both":
            scores_BSW = self.sentence_weights(h_Bd, memory)[..., None] * scores_BSW
        # padding is masked after the product: a weight of 0 would still count as exp(0)
        weights = masked_softmax(scores_BSW.flatten(1), memory.word_mask_BSW.flatten(1))
        return (weights[:, None] @ memory.h1.flatten(1, 2))[:, 0], weights

    def sentence_weights(self, h_Bd: Tensor, memory: Memory) -> Tensor:
        """beta^sent (B, S) of Eq 21."""
        return masked_softmax((memory.h3 @ h_Bd[..., None])[..., 0], memory.sentence_mask_BS)

    @staticmethod
    def reading(states_BTd: Tensor, outputs_BT: Tensor, which: Literal["eos", "mean"]) -> Tensor:
        """The state that has read the whole summary: the one that said [EOS], or the mean over the summary."""
        if which == "mean":
            said = (outputs_BT != PAD)[..., None]
            return (states_BTd * said).sum(1) / said.sum(1).clamp_min(1)
        place = (outputs_BT == EOS).int().argmax(1)
        return states_BTd[torch.arange(len(place), device=place.device), place]


def _pointed(logits_V: Tensor, share_1: Tensor, weights_N: Tensor, source_N: Tensor, extra: int) -> Tensor:
    """Logarithms (..., V + extra) of the pointer-generator's mixture (See et al. 2017, Eq 8-9), in float32."""
    weights_N, share_1 = weights_N.float(), share_1.float().sigmoid()
    share_1 = torch.where(weights_N.sum(-1, keepdim=True) > 0, share_1, 1.0)  # without a word nothing can be copied
    mixed = F.pad(logits_V.float().softmax(-1) * share_1, (0, extra))
    return mixed.scatter_add(-1, source_N, weights_N * (1 - share_1)).clamp_min(1e-12).log()


class Selector(nn.Module):
    """How well each image's objects and scenes match the summary; ``gate`` fixes lambda* for the ablations."""

    def __init__(self, width: int, gate: float | None) -> None:
        super().__init__()
        self.gate = gate

        def scorer() -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

        self.objects, self.scenes = scorer(), scorer()
        self.balance = scorer() if gate is None else None

    def forward(self, said_Bd: Tensor, v1_BQd: Tensor, image_of_BQ: Tensor, v3_BZd: Tensor, image_of_BZ: Tensor,
                image_counts_B: Tensor) -> Tensor:  # fmt: skip
        """s_image (B, P): sums over an image's objects and scenes; 0 for one without any, -inf behind the last."""
        images = max(1, int(image_counts_B.max())) if len(image_counts_B) else 1
        objects = self._sum(self.objects, v1_BQd, said_Bd, image_of_BQ, images)
        scenes = torch.zeros_like(objects)
        if v3_BZd.shape[1]:
            scenes = self._sum(self.scenes, v3_BZd, said_Bd, image_of_BZ, images)
        balance = torch.sigmoid(self.balance(said_Bd)) if self.balance is not None else self.gate
        assert balance is not None
        scores = balance * objects + (1 - balance) * scenes
        return scores.masked_fill(~length_mask(image_counts_B, images), -torch.inf)

    @staticmethod
    def _sum(scorer: nn.Module, items_BNd: Tensor, said_Bd: Tensor, image_of_BN: Tensor, images: int) -> Tensor:
        """Sum of sigma(FF(item * h')) by image (Eq 26-27, 29)."""
        scores_BN = Selector.matches(scorer, items_BNd, said_Bd)
        place = torch.where(image_of_BN < 0, images, image_of_BN)
        return scores_BN.new_zeros(len(scores_BN), images + 1).scatter_add(1, place, scores_BN)[:, :images]

    @staticmethod
    def matches(scorer: nn.Module, items_BNd: Tensor, said_Bd: Tensor) -> Tensor:
        """sigma(FF(item * h')) of each object or scene (B, N), in (0, 1)."""
        return torch.sigmoid(scorer(items_BNd * said_Bd[:, None]))[..., 0]
