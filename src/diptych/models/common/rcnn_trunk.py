"""ResNet trunks and the feature pyramid of detectron2's Faster R-CNN, on torch alone.

Modules bear detectron2's names, so that its checkpoints load without renaming. Batch normalisation is frozen: its
statistics and weights are constants of the checkpoint (eps 1e-5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BLOCKS", "Pyramid", "Trunk", "stage"]

BLOCKS: dict[int, tuple[int, int, int, int]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Bottlenecks of the stages res2 to res5 by depth."""


class FrozenNorm(nn.Module):
    """Batch normalisation with constant statistics."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_nchw: Tensor) -> Tensor:
        return functional.batch_norm(x_nchw, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


class NormedConv(nn.Conv2d):
    """A convolution without bias and its normalisation."""

    def __init__(
        self, wide_in: int, wide_out: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> None:
        super().__init__(wide_in, wide_out, kernel, stride, padding, dilation, bias=False)
        self.norm = FrozenNorm(wide_out)

    def forward(self, input: Tensor) -> Tensor:
        return self.norm(super().forward(input))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a shortcut; the stride stands in the first 1x1, as in the original ResNets."""

    def __init__(self, wide_in: int, narrow: int, wide_out: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.shortcut = None if wide_in == wide_out else NormedConv(wide_in, wide_out, 1, stride=stride)
        self.conv1 = NormedConv(wide_in, narrow, 1, stride=stride)
        self.conv2 = NormedConv(narrow, narrow, 3, padding=dilation, dilation=dilation)
        self.conv3 = NormedConv(narrow, wide_out, 1)

    def forward(self, x_nchw: Tensor) -> Tensor:
        made = functional.relu_(self.conv1(x_nchw))
        made = functional.relu_(self.conv2(made))
        made = self.conv3(made)
        return functional.relu_(made + (x_nchw if self.shortcut is None else self.shortcut(x_nchw)))


def stage(number: int, blocks: int, *, dilated: bool = False) -> nn.Sequential:
    """res2 to res5; ``dilated`` keeps the resolution and widens the 3x3 convolutions instead (bottom-up attention)."""
    wide = 256 << (number - 2)
    stride = 1 if number == 2 or dilated else 2
    wide_in = 64 if number == 2 else wide // 2
    return nn.Sequential(
        *(
            Bottleneck(wide_in if n == 0 else wide, wide // 4, wide, stride if n == 0 else 1, 2 if dilated else 1)
            for n in range(blocks)
        )
    )


class Stem(nn.Module):
    """A 7x7 convolution and a 3x3 max-pool, both of stride 2; Caffe pads the pool only at its far ends."""

    def __init__(self, caffe_pool: bool) -> None:
        super().__init__()
        self.conv1 = NormedConv(3, 64, 7, stride=2, padding=3)
        self._caffe = caffe_pool

    def forward(self, x_nchw: Tensor) -> Tensor:
        made = functional.relu_(self.conv1(x_nchw))
        if self._caffe:
            return functional.max_pool2d(made, 3, 2, 0, ceil_mode=True)
        return functional.max_pool2d(made, 3, 2, 1)


class Trunk(nn.Module):
    """(N, 3, H, W) -> maps of the stages, each half as large as the one before; the first at a quarter of H and W."""

    stride = 16

    def __init__(self, depth: int, last: int = 4, *, caffe_pool: bool = False) -> None:
        super().__init__()
        self.stem = Stem(caffe_pool)
        self._names = [f"res{number}" for number in range(2, last + 1)]
        for number, name in enumerate(self._names, 2):
            self.add_module(name, stage(number, BLOCKS[depth][number - 2]))

    def stages(self, x_nchw: Tensor) -> list[Tensor]:
        """The maps of all stages."""
        maps = []
        made = self.stem(x_nchw)
        for name in self._names:
            made = self.get_submodule(name)(made)
            maps.append(made)
        return maps

    def forward(self, x_nchw: Tensor) -> list[Tensor]:
        return self.stages(x_nchw)[-1:]


class Pyramid(nn.Module):
    """(N, 3, H, W), H and W multiples of 32 -> maps of 256 channels at 1/4, 1/8, 1/16, 1/32 and 1/64 (FPN)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.bottom_up = Trunk(depth, 5)
        for number in range(2, 6):
            self.add_module(f"fpn_lateral{number}", nn.Conv2d(256 << (number - 2), 256, 1))
            self.add_module(f"fpn_output{number}", nn.Conv2d(256, 256, 3, padding=1))

    def forward(self, x_nchw: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        above: Tensor | None = None
        for number, made in zip(range(5, 1, -1), reversed(self._bottom(x_nchw)), strict=True):
            level = self.get_submodule(f"fpn_lateral{number}")(made)
            above = level if above is None else level + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            found.insert(0, self.get_submodule(f"fpn_output{number}")(above))
        return [*found, functional.max_pool2d(found[-1], 1, 2, 0)]

    def _bottom(self, x_nchw: Tensor) -> Sequence[Tensor]:
        return self.bottom_up.stages(x_nchw)
