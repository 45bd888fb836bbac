"""A summary and its picture for each document: search over the decoder, then selection by the best hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from diptych.models.common.beam import Hypothesis, beam_search, greedy_search
from diptych.models.common.beam import State as SearchState
from diptych.models.hcscl.batch import BOS, EOS, PAD, SPECIAL, HcsclBatch
from diptych.models.hcscl.model import Hcscl

__all__ = ["Summary", "summarize"]


@dataclass(frozen=True)
class Summary:
    """The words' ids and mean log-probability; a score for each candidate image and each object."""

    tokens: tuple[int, ...]
    score: float
    images: tuple[float, ...]
    objects: tuple[float, ...] = ()
    """how well each object of the batch's row matches the summary, in (0, 1)"""


@torch.no_grad()
def summarize(model: Hcscl, batch: HcsclBatch, *, beam: int, min_tokens: int, max_tokens: int) -> list[Summary]:
    """``beam`` 1 is greedy, without a least length; at most ``max_tokens`` words."""
    encoded = model.encode(batch)
    memory = model.memory(batch, encoded)
    device = memory.h1.device
    start = (*model.summarizer.start(memory), torch.arange(len(batch), device=device))

    def step(last_M: Tensor, state: SearchState) -> tuple[Tensor, SearchState]:
        h, cell, context, rows_M = state
        logits, following = model.summarizer.step(last_M, (h, cell, context), memory.rows(rows_M))
        logits[:, [i for i in range(len(SPECIAL)) if i != EOS]] = -torch.inf
        return logits.log_softmax(1), (*following, rows_M)

    if beam == 1:
        best = greedy_search(step, start, len(batch), max_steps=max_tokens + 1, start=BOS, end=EOS)
    else:
        found = beam_search(
            step, start, len(batch), beam=beam, max_steps=max_tokens + 1, start=BOS, end=EOS, keep=1,
            min_tokens=min_tokens,
        )  # fmt: skip
        best = [row[0] if row else Hypothesis((), 0.0) for row in found]
    scores: list[_Scores] = _choose(model, batch, best) if model.sizes.selector else [((), ())] * len(batch)
    return [Summary(h.tokens, h.score, *found) for h, found in zip(best, scores, strict=True)]


_Scores = tuple[tuple[float, ...], tuple[float, ...]]


def _choose(model: Hcscl, batch: HcsclBatch, best: list[Hypothesis]) -> list[_Scores]:
    """The images' and the objects' scores once the decoder has said the best hypothesis and its end."""
    length = max(len(h.tokens) for h in best) + 1
    outputs = np.full((len(best), length), PAD, np.int64)
    for row, hypothesis in zip(outputs, best, strict=True):
        row[: len(hypothesis.tokens) + 1] = [*hypothesis.tokens, EOS]
    said = torch.from_numpy(outputs).to(batch.boxes_BQ4.device)
    fed = torch.cat([torch.full_like(said[:, :1], BOS), said[:, :-1]], 1)
    again = replace(batch, inputs_BT=torch.where(fed == EOS, PAD, fed))
    encoded = model.encode(again)
    _, states = model.summary_logits(again, encoded)
    scores = model.select(again, encoded, states, said).tolist()
    reading = model.summarizer.reading(states, said, model.sizes.selector_state)
    objects = model.selector.matches(model.selector.objects, encoded.v1, reading).tolist()
    counts = zip(scores, batch.image_counts_B.tolist(), objects, (batch.image_of_BQ >= 0).sum(1).tolist(), strict=True)
    return [(tuple(row[:images]), tuple(some[:count])) for row, images, some, count in counts]
