"""Recurrent encoders over padded rows: what stands behind a row's length is never read and comes out as zeros.

Recurrences are computed in float32 also under autocast: cuDNN would be handed float16 whatever type was asked for, and
a state that many steps are added to has not the digits for it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

__all__ = ["last_state", "recur", "run_padded"]


def recur(rnn: nn.Module, inputs: Tensor | PackedSequence, state: Any = None) -> Any:
    """What the recurrent layer or cell returns, computed without autocast; half-precision inputs become float32."""
    data = inputs.data if isinstance(inputs, PackedSequence) else inputs
    with torch.autocast(data.device.type, enabled=False):
        known = tuple(map(_full, state)) if isinstance(state, tuple) else None if state is None else _full(state)
        return rnn(_full(inputs), known)


def _full(values: Any) -> Any:
    data = values.data if isinstance(values, PackedSequence) else values
    return values.float() if data.dtype in (torch.float16, torch.bfloat16) else values


def run_padded(rnn: nn.GRU | nn.LSTM, inputs_BNd: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (B, N, hidden x directions) and last states of the top layer (B, hidden x directions).

    ``rnn`` is batch-first; ``lengths_B`` is on the CPU. Rows of length 0 give zeros.
    """
    directions = 2 if rnn.bidirectional else 1
    width = rnn.hidden_size * directions
    inputs_BNd = _full(inputs_BNd)
    outputs = inputs_BNd.new_zeros(*inputs_BNd.shape[:2], width)
    last = inputs_BNd.new_zeros(len(inputs_BNd), width)
    place, packed = _pack(inputs_BNd, lengths_B)
    if packed is None:
        return outputs, last
    found, state = recur(rnn, packed)
    hidden = state[0] if isinstance(state, tuple) else state
    found, _ = pad_packed_sequence(found, batch_first=True, total_length=inputs_BNd.shape[1])
    top = hidden[-directions:].transpose(0, 1).reshape(len(place), width)
    return outputs.index_copy(0, place, found), last.index_copy(0, place, top)


def last_state(rnn: nn.LSTM, inputs_BNd: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Last hidden and cell state (B, hidden) of a one-directional LSTM's first layer; zeros for a row of length 0."""
    inputs_BNd = _full(inputs_BNd)
    h = inputs_BNd.new_zeros(len(inputs_BNd), rnn.hidden_size)
    place, packed = _pack(inputs_BNd, lengths_B)
    if packed is None:
        return h, h.clone()
    _, (last, cell) = recur(rnn, packed)
    return h.index_copy(0, place, last[0]), h.index_copy(0, place, cell[0])


def _pack(inputs_BNd: Tensor, lengths_B: Tensor) -> tuple[Tensor, PackedSequence | None]:
    """The rows that are not empty, and what they hold."""
    full = torch.nonzero(lengths_B)[:, 0]
    place = full.to(inputs_BNd.device)
    if not len(full):
        return place, None
    return place, pack_padded_sequence(inputs_BNd[place], lengths_B[full], batch_first=True, enforce_sorted=False)
