"""Recurrent encoders over padded rows: what stands behind a row's length is never read and comes out as zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

__all__ = ["run_padded"]


def run_padded(rnn: nn.GRU | nn.LSTM, inputs_BNd: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (B, N, hidden x directions) and last states of the top layer (B, hidden x directions).

    ``rnn`` is batch-first; ``lengths_B`` is on the CPU. Rows of length 0 give zeros.
    """
    directions = 2 if rnn.bidirectional else 1
    width = rnn.hidden_size * directions
    outputs = inputs_BNd.new_zeros(*inputs_BNd.shape[:2], width)
    last = inputs_BNd.new_zeros(len(inputs_BNd), width)
    full = torch.nonzero(lengths_B)[:, 0]
    if not len(full):
        return outputs, last
    place = full.to(inputs_BNd.device)
    packed = pack_padded_sequence(inputs_BNd[place], lengths_B[full], batch_first=True, enforce_sorted=False)
    found, state = rnn(packed)
    hidden = state[0] if isinstance(state, tuple) else state
    found, _ = pad_packed_sequence(found, batch_first=True, total_length=inputs_BNd.shape[1])
    top = hidden[-directions:].transpose(0, 1).reshape(len(full), width)
    return outputs.index_copy(0, place, found), last.index_copy(0, place, top)
