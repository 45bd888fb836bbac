"""Multi-head attention with masks that may be empty, and the usual block around it."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.common.masking import masked_softmax

__all__ = ["AttentionBlock", "FeedForward", "MultiHeadAttention"]


class MultiHeadAttention(nn.Module):
    """Scaled dot products of learned projections; a query whose keys are all masked gets the output's bias."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        inner = heads * head_width
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries_BQd: Tensor, keys_BKd: Tensor, mask_BK: Tensor | None = None) -> Tensor:
        """(B, Q, d); ``mask_BK`` (or (B, Q, K)) is True where a key may be attended."""
        q = self._split(self.query(queries_BQd))
        k, v = self._split(self.key(keys_BKd)), self._split(self.value(keys_BKd))
        scores = q @ k.transpose(2, 3) / math.sqrt(self.head_width)
        if mask_BK is None:
            weights = scores.softmax(3)
        else:
            mask = mask_BK[:, None, None] if mask_BK.dim() == 2 else mask_BK[:, None]
            weights = masked_softmax(scores, mask)
        return self.out((self.dropout(weights) @ v).transpose(1, 2).flatten(2))

    def _split(self, x_BNi: Tensor) -> Tensor:
        """(B, heads, N, head width)"""
        return x_BNi.unflatten(2, (self.heads, self.head_width)).transpose(1, 2)


class FeedForward(nn.Module):
    """Position-wise: width -> inner -> width, ReLU between."""

    def __init__(self, width: int, inner: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return self.second(self.dropout(F.relu(self.first(x))))


class AttentionBlock(nn.Module):
    """Cross-attention, then feed-forward; residual and LayerNorm after each."""

    def __init__(self, width: int, heads: int, head_width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads, head_width, dropout)
        self.feed_forward = FeedForward(width, inner, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries_BQd: Tensor, keys_BKd: Tensor, mask_BK: Tensor | None = None) -> Tensor:
        """(B, Q, d)"""
        x = self.norms[0](queries_BQd + self.dropout(self.attention(queries_BQd, keys_BKd, mask_BK)))
        return self.norms[1](x + self.dropout(self.feed_forward(x)))
