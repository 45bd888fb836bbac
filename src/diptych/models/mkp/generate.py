"""Ranked keyphrases: beam search over the pointer decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from diptych.models.common.beam import Hypothesis, State, beam_search
from diptych.models.mkp.batch import BOS, EOS, SPECIAL, UNK, MkpBatch
from diptych.models.mkp.model import Mkp

__all__ = ["generate"]


@torch.no_grad()
def generate(model: Mkp, batch: MkpBatch, *, beam: int, max_steps: int, keep: int) -> list[list[Hypothesis]]:
    """For each row the ``keep`` best keyphrases as ids (copy ids behind the vocabulary), best first."""
    encoded = model.encode(batch)
    filtered = model.filter(encoded)
    H_f = model.fused(encoded, filtered)
    classes = model.class_logits(H_f) if model.sizes.classifier else None
    memory = model.memory(batch, encoded, H_f, classes)
    rows = torch.arange(len(batch), device=H_f.device)

    def step(last_M: Tensor, state: State) -> tuple[Tensor, State]:
        s, c, rows_M = state
        fed = model.words(torch.where(last_M < model.sizes.vocabulary, last_M, UNK))
        found, s, c = model.decoder.step(fed, s, c, memory.rows(rows_M))
        return model.decoder.sayable(found, len(SPECIAL)), (s, c, rows_M)

    return beam_search(
        step, (*model.decoder.start(encoded.last_Bd), rows), len(batch),
        beam=beam, max_steps=max_steps, start=BOS, end=EOS, keep=keep,
    )  # fmt: skip
