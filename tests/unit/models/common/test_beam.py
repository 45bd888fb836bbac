from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from diptych.models.common.beam import beam_search, greedy_search

V, END, START = 4, 0, 3


def tables(rows: int, steps: int, seed: int) -> Tensor:
    """Log-probabilities by row, step, previous token, next token; START can never be said."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, steps, V, V, generator=draw) * 2
    logits[..., START] = -math.inf
    return logits.log_softmax(-1)


def step_of(table: Tensor, beam: int):
    rows_M = torch.arange(table.shape[0]).repeat_interleave(beam)

    def step(last_M: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        (number_M,) = state
        return table[rows_M, number_M, last_M], (number_M + 1,)

    return step


def exhaustive(table: Tensor, steps: int, least: int) -> list[tuple[float, tuple[int, ...]]]:
    found = []
    for length in range(least, steps):
        for tokens in itertools.product((1, 2), repeat=length):
            path = [START, *tokens, END]
            total = sum(float(table[i, path[i], path[i + 1]]) for i in range(length + 1))
            found.append((total / (length + 1), tokens))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("least", [1, 2])
def test_a_wide_beam_finds_what_trying_everything_finds(least: int) -> None:
    steps, beam = 5, 32
    table = tables(3, steps, least)
    state = (torch.zeros(3, dtype=torch.int64),)
    found = beam_search(step_of(table, beam), state, 3, beam=beam, max_steps=steps, start=START, end=END, keep=4,
                        min_tokens=least)  # fmt: skip
    for row in range(3):
        expected = exhaustive(table[row], steps, least)[:4]
        assert [h.tokens for h in found[row]] == [tokens for _, tokens in expected]
        assert [h.score for h in found[row]] == pytest.approx([score for score, _ in expected], rel=1e-5)


def test_beam_of_one_is_greedy_until_the_end_wins() -> None:
    table = tables(1, 6, 7)
    (found,) = beam_search(step_of(table, 1), (torch.zeros(1, dtype=torch.int64),), 1, beam=1, max_steps=6, start=START,
                           end=END, keep=10)  # fmt: skip
    path, last = [], START
    for number in range(5):
        last = int(table[0, number, last, 1:3].argmax()) + 1
        path.append(last)
    assert {h.tokens for h in found} == {tuple(path[:n]) for n in range(1, 6)}  # each prefix may end
    assert found == sorted(found, key=lambda h: -h.score)


def test_no_way_to_go_on_ends_the_search() -> None:
    table = tables(1, 4, 0)
    table[..., 1:] = -math.inf  # nothing but the end may be said, and one token is the least
    found = beam_search(step_of(table, 2), (torch.zeros(1, dtype=torch.int64),), 1, beam=2, max_steps=4, start=START,
                        end=END, keep=2)  # fmt: skip
    assert found == [[]]


def test_greedy_takes_the_best_token_and_stops_at_the_end() -> None:
    table = tables(4, 5, 3)
    found = greedy_search(step_of(table, 1), (torch.zeros(4, dtype=torch.int64),), 4, max_steps=5, start=START, end=END)
    for row in range(4):
        tokens, total, last = [], 0.0, START
        for number in range(5):
            token = END if number == 4 else int(table[row, number, last].argmax())
            total += float(table[row, number, last, token])
            if token == END:
                break
            tokens.append(token)
            last = token
        assert found[row].tokens == tuple(tokens)
        assert found[row].score == pytest.approx(total / (len(tokens) + 1), rel=1e-5)
