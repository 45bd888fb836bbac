"""Searching sequences over a batch: beam search by mean log-probability per token (the end included), and greedy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Hypothesis", "State", "beam_search", "greedy_search"]

State = tuple[Tensor, ...]
"""Whatever a step carries on; the first dimension of each tensor is (rows x beam)."""
Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""Last tokens (M,) and the state to log-probabilities (M, V) and the next state."""


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence without its start and end; ``score`` is the mean log-probability, the end included."""

    tokens: tuple[int, ...]
    score: float


@torch.no_grad()
def beam_search(
    step: Step,
    state: State,
    rows: int,
    *,
    beam: int,
    max_steps: int,
    start: int,
    end: int,
    keep: int,
    min_tokens: int = 1,
) -> list[list[Hypothesis]]:
    """For each of ``rows`` rows the ``keep`` best hypotheses, best first; equal scores in order of being found.

    ``state`` holds one entry a row; it is repeated for the beam here. A hypothesis has at least ``min_tokens`` tokens
    and ends after at most ``max_steps`` steps, the end included: the last step allows only the end. Tokens with
    log-probability -inf are never taken.
    """
    device = state[0].device
    state = tuple(part.repeat_interleave(beam, 0) for part in state)
    scores_RK = torch.full((rows, beam), -math.inf, device=device)
    scores_RK[:, 0] = 0.0  # all beams start alike: only one may be continued
    last_M = torch.full((rows * beam,), start, dtype=torch.int64, device=device)
    history_RKt = torch.zeros(rows, beam, 0, dtype=torch.int64, device=device)
    finished: list[list[Hypothesis]] = [[] for _ in range(rows)]
    first_R1 = torch.arange(rows, device=device)[:, None] * beam
    for number in range(1, max_steps + 1):
        found_MV, state = step(last_M, state)
        size = found_MV.shape[1]
        allowed_RKV = found_MV.double().view(rows, beam, size)  # sums of float32 would let ties depend on their order
        if number > min_tokens:
            _finish(finished, history_RKt, scores_RK + allowed_RKV[..., end], number)
        if number == max_steps:
            break
        total_RKV = scores_RK[..., None] + allowed_RKV
        total_RKV[..., end] = -math.inf
        width = min(beam, beam * size)
        scores_RK, place_RK = total_RKV.flatten(1).topk(width, dim=1)
        parent_RK, token_RK = place_RK // size, place_RK % size
        history_RKt = torch.cat(
            [history_RKt.gather(1, parent_RK[..., None].expand(-1, -1, number - 1)), token_RK[..., None]], 2
        )
        chosen_M = (first_R1 + parent_RK).flatten()
        state = tuple(part[chosen_M] for part in state)
        last_M = token_RK.flatten()
        if bool(torch.isinf(scores_RK).all()):
            break
    return [sorted(row, key=lambda h: -h.score)[:keep] for row in finished]


def _finish(finished: list[list[Hypothesis]], history_RKt: Tensor, ended_RK: Tensor, steps: int) -> None:
    """Every beam may end here; what it would score then joins the finished ones."""
    for row, (histories, scores) in enumerate(zip(history_RKt.tolist(), ended_RK.tolist(), strict=True)):
        finished[row] += [
            Hypothesis(tuple(tokens), score / steps)
            for tokens, score in zip(histories, scores, strict=True)
            if score > -math.inf
        ]


@torch.no_grad()
def greedy_search(step: Step, state: State, rows: int, *, max_steps: int, start: int, end: int) -> list[Hypothesis]:
    """For each row the likeliest token at every step, until the end or ``max_steps`` steps (the end included)."""
    last = torch.full((rows,), start, dtype=torch.int64, device=state[0].device)
    said: list[list[int]] = [[] for _ in range(rows)]
    totals, steps, alive = [0.0] * rows, [0] * rows, [True] * rows
    for number in range(1, max_steps + 1):
        found_RV, state = step(last, state)
        last = torch.full_like(last, end) if number == max_steps else found_RV.argmax(1)
        scores = found_RV.gather(1, last[:, None])[:, 0].tolist()
        for row, token in enumerate(last.tolist()):
            if alive[row]:
                totals[row], steps[row], alive[row] = totals[row] + scores[row], number, token != end
                if token != end:
                    said[row].append(token)
        if not any(alive):
            break
    return [Hypothesis(tuple(t), total / max(n, 1)) for t, total, n in zip(said, totals, steps, strict=True)]
