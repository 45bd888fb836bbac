"""The cross-modality encoder (Tan and Bansal 2019, as HCSCL Eq 4-9 uses it).

Each layer: cross-attention to the other modality, self-attention, feed-forward; residual and LayerNorm after each.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from diptych.models.common.attention import FeedForward, MultiHeadAttention
from diptych.models.common.masking import masked_softmax

__all__ = ["CrossModalityLayer", "PlainAttention", "Score"]

Score = Literal["scaled", "plain"]
"""``scaled``: heads with learned projections, over the square root of their width, as the cited encoder has it;
``plain``: the bare product that Eq 4 prints.
"""


class PlainAttention(nn.Module):
    """Weights are the softmax of bare products, values the keys themselves (Eq 4-6)."""

    def forward(self, queries_BQd: Tensor, keys_BKd: Tensor, mask_BK: Tensor) -> Tensor:
        """(B, Q, d); zeros where no key may be attended."""
        return masked_softmax(queries_BQd @ keys_BKd.transpose(1, 2), mask_BK[:, None]) @ keys_BKd


class CrossModalityLayer(nn.Module):
    """One repetition of the three steps (Eq 7-9)."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, score: Score) -> None:
        super().__init__()

        def attention() -> nn.Module:
            return PlainAttention() if score == "plain" else MultiHeadAttention(width, heads, width // heads, dropout)

        self.cross, self.own = attention(), attention()
        self.feed_forward = FeedForward(width, inner, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BNd: Tensor, mask_BN: Tensor, keys_BKd: Tensor, mask_BK: Tensor) -> Tensor:
        """(B, N, d): x attends to the keys, then to itself."""
        return self.rest(self.attend(x_BNd, keys_BKd, mask_BK), mask_BN)

    def attend(self, x_BNd: Tensor, keys_BKd: Tensor, mask_BK: Tensor) -> Tensor:
        """Eq 7, with residual and norm."""
        return self.norms[0](x_BNd + self.dropout(self.cross(x_BNd, keys_BKd, mask_BK)))

    def rest(self, x_BNd: Tensor, mask_BN: Tensor) -> Tensor:
        """Eq 8-9."""
        x_BNd = self.norms[1](x_BNd + self.dropout(self.own(x_BNd, x_BNd, mask_BN)))
        return self.norms[2](x_BNd + self.dropout(self.feed_forward(x_BNd)))
