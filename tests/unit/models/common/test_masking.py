from __future__ import annotations

import numpy as np
import torch
from torch import nn

from diptych.models.common.attention import MultiHeadAttention
from diptych.models.common.masking import length_mask, masked_max, masked_mean, masked_softmax
from diptych.models.common.recurrent import run_padded


def test_masked_softmax_is_softmax_over_what_is_there() -> None:
    draw = np.random.default_rng(0)
    scores = draw.normal(size=(4, 5)) * 30
    mask = length_mask(torch.tensor([5, 3, 1, 0]), 5)
    found = masked_softmax(torch.from_numpy(scores), mask).numpy()
    for row, count in enumerate([5, 3, 1, 0]):
        e = np.exp(scores[row, :count] - scores[row, :count].max()) if count else np.zeros(0)
        np.testing.assert_allclose(found[row, :count], e / e.sum() if count else e)
        assert (found[row, count:] == 0).all()


def test_gradients_through_empty_sets_are_finite() -> None:
    scores = torch.zeros(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    items = torch.randn(2, 3, 4, requires_grad=True)
    value = masked_softmax(scores, mask).square().sum() + masked_mean(items, mask).sum() + masked_max(items, mask).sum()
    value.backward()
    assert scores.grad is not None and items.grad is not None
    assert torch.isfinite(scores.grad).all() and torch.isfinite(items.grad).all()
    assert (items.grad[1] == 0).all()


def test_mean_and_maximum_against_numpy() -> None:
    items = torch.randn(3, 4, 2)
    counts = [4, 2, 0]
    mask = length_mask(torch.tensor(counts), 4)
    for row, count in enumerate(counts):
        part = items[row, :count].numpy()
        zero = np.zeros(2)
        np.testing.assert_allclose(masked_mean(items, mask)[row], part.mean(0) if count else zero, rtol=1e-6)
        np.testing.assert_allclose(masked_max(items, mask)[row], part.max(0) if count else zero, rtol=1e-6)
    assert masked_max(items[:, :0], mask[:, :0]).eq(0).all()


def test_padding_is_never_read_and_comes_out_as_zeros() -> None:
    torch.manual_seed(0)
    rnns: list[nn.GRU | nn.LSTM] = [
        nn.GRU(3, 5, num_layers=2, batch_first=True, bidirectional=True),
        nn.LSTM(3, 5, batch_first=True),
    ]
    for rnn in rnns:
        inputs, lengths = torch.randn(4, 6, 3), torch.tensor([6, 0, 2, 1])
        outputs, last = run_padded(rnn, inputs, lengths)
        other, other_last = run_padded(rnn, torch.cat([inputs.clone(), torch.randn(4, 2, 3)], 1), lengths)
        torch.testing.assert_close(other[:, :6], outputs)
        torch.testing.assert_close(other_last, last)
        assert (outputs[1] == 0).all() and (last[1] == 0).all() and (outputs[2, 2:] == 0).all()
        alone, state = rnn(inputs[[2], :2])
        torch.testing.assert_close(outputs[2, :2], alone[0])
        hidden = state if isinstance(state, torch.Tensor) else state[0]
        top = hidden[-2:] if rnn.bidirectional else hidden[-1:]
        torch.testing.assert_close(last[2], top[:, 0].reshape(-1))
    nothing, _ = run_padded(rnns[0], torch.randn(2, 3, 3), torch.tensor([0, 0]))
    assert nothing.shape == (2, 3, 10) and (nothing == 0).all()


def test_gradients_of_masked_softmax_attention_and_maximum_check() -> None:
    """Also of a row whose set is empty; float64, against differences."""
    torch.manual_seed(0)
    mask = length_mask(torch.tensor([3, 1, 0]), 3)
    scores = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    items = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: masked_softmax(s, mask), (scores,))
    assert torch.autograd.gradcheck(lambda i: (masked_mean(i, mask), masked_max(i, mask)), (items,))
    attention = MultiHeadAttention(4, 2, 3).double()
    queries, keys = (torch.randn(3, n, 4, dtype=torch.float64, requires_grad=True) for n in (2, 3))
    assert torch.autograd.gradcheck(lambda q, k: attention(q, k, mask), (queries, keys))
