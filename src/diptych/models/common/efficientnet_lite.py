"""EfficientNet-Lite0 (Google, 2020) with the state-dict keys of ``efficientnet-lite0-57934424.pth``.

EfficientNet-B0 without squeeze-and-excitation, ReLU6 for swish, stem and head fixed; padding as TensorFlow's
"same". Inputs are RGB of shape (N, 3, H, W), scaled as (value - 127) / 128. Tan and Le, ICML 2019;
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["CHANNELS", "EfficientNetLite0", "SIDE", "STRIDE"]

CHANNELS, SIDE, STRIDE = 1280, 224, 32

# repeats, kernel, stride, expansion, channels out
_BLOCKS = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _SameConv(nn.Conv2d):
    """Convolution padded so that the output is ceil(input / stride), the odd pixel at the end."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if kernel == 1:
            return super().forward(input)
        pads = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[-2:]]
        if pads[0] == pads[1] and pads[0] % 2 == 0:
            return F.conv2d(input, self.weight, self.bias, stride, pads[0] // 2, 1, self.groups)
        high, wide = pads
        padded = F.pad(input, (wide // 2, wide - wide // 2, high // 2, high - high // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, 0, 1, self.groups)


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.residual = stride == 1 and inside == out
        if expansion != 1:
            self._expand_conv = _SameConv(inside, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv(wide, out, 1, bias=False)
        self._bn2 = _norm(out)
        self.expands = expansion != 1

    def forward(self, x_nchw: Tensor) -> Tensor:
        h = F.relu6(self._bn0(self._expand_conv(x_nchw))) if self.expands else x_nchw
        h = F.relu6(self._bn1(self._depthwise_conv(h)))
        h = self._bn2(self._project_conv(h))
        return h + x_nchw if self.residual else h


class EfficientNetLite0(nn.Module):
    """``features`` gives (N, 1280, H/32, W/32) after the head; ``forward`` the 1000 ImageNet logits."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks: list[nn.Module] = []
        inside = 32
        for repeats, kernel, stride, expansion, out in _BLOCKS:
            for n in range(repeats):
                blocks.append(_Block(inside, out, kernel, stride if n == 0 else 1, expansion))
                inside = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv(inside, CHANNELS, 1, bias=False)
        self._bn1 = _norm(CHANNELS)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(CHANNELS, classes)

    def features(self, x_nchw: Tensor) -> Tensor:
        """The last feature map, not pooled."""
        h = F.relu6(self._bn0(self._conv_stem(x_nchw)))
        for block in self._blocks:
            h = block(h)
        return F.relu6(self._bn1(self._conv_head(h)))

    def maps(self, x_nchw: Tensor, after: tuple[int, ...]) -> list[Tensor]:
        """The maps after these of the 16 blocks, in rising order; what follows the last is not computed."""
        h = F.relu6(self._bn0(self._conv_stem(x_nchw)))
        found = []
        for n in range(after[-1] + 1):
            h = self._blocks[n](h)
            if n in after:
                found.append(h)
        return found

    def forward(self, x_nchw: Tensor) -> Tensor:
        pooled = torch.flatten(F.adaptive_avg_pool2d(self.features(x_nchw), 1), 1)
        return self._fc(self._dropout(pooled))
