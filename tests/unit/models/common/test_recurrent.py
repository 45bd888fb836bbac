"""Recurrent layers: padding is never read, and autocast leaves them in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.models.common.recurrent import last_state, recur, run_padded


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_autocast_changes_no_value(kind: type[nn.LSTM | nn.GRU]) -> None:
    torch.manual_seed(0)
    rnn = kind(4, 6, batch_first=True, bidirectional=True)
    inputs, lengths = torch.randn(3, 5, 4), torch.tensor([5, 0, 2])
    plain = run_padded(rnn, inputs, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        again = run_padded(rnn, inputs, lengths)
        half = run_padded(rnn, inputs.bfloat16(), lengths)
    for one, other, third in zip(plain, again, half, strict=True):
        assert other.dtype == third.dtype == torch.float32 and torch.equal(one, other)
        torch.testing.assert_close(one, third, rtol=0.05, atol=0.02)
    assert not plain[0][1].any() and not plain[0][2, 2:].any() and not plain[1][1].any()


def test_states_and_cells_in_half_precision_become_float32() -> None:
    torch.manual_seed(0)
    lstm, cell, gru = nn.LSTM(4, 6, batch_first=True), nn.LSTMCell(4, 6), nn.GRUCell(4, 6)
    x, h = torch.randn(3, 4), torch.randn(3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(recur(cell, x, (h, h))[0], cell(x, (h, h))[0])  # autocast is really on
        found = [*recur(cell, x.bfloat16(), (h.bfloat16(), h)), recur(gru, x, h.bfloat16()), recur(gru, x)]
        found += last_state(lstm, torch.randn(3, 5, 4).bfloat16(), torch.tensor([5, 0, 2]))
    assert {f.dtype for f in found} == {torch.float32} and not found[-1][1].any()


def test_doubles_stay_doubles() -> None:
    rnn = nn.LSTM(3, 2, batch_first=True).double()
    inputs = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: run_padded(rnn, x, torch.tensor([3, 1])), inputs)
