"""At which precision networks run, and how their inputs reach the device.

Half precision is autocast: weights stay float32, matrix products and convolutions are done in 16 bits. It changes
values by more than a stage's tolerance, so it is a setting and part of the stage key, on whatever device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["HALF_TOLERANCE", "Precision", "inference", "placed", "to_device"]

Precision = Literal["float32", "bfloat16", "float16"]
HALF_TOLERANCE: dict[Precision, float] = {"float32": 0.0, "bfloat16": 0.1, "float16": 0.02}
"""How far pooled features may be from float32's, of a vector's largest value; tested."""


def placed(network: nn.Module, device: str, precision: Precision) -> nn.Module:
    """The network on its device; for half precision with channels last, which tensor cores want."""
    import torch

    moved = network.to(device)
    if precision != "float32":
        moved = moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def to_device(pixels: np.ndarray | Tensor, device: str, *, channels_last: bool = False) -> Tensor:
    """On the device; to a GPU through pinned memory, without waiting for what it still computes."""
    import torch

    made = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    layout = torch.channels_last if channels_last else torch.preserve_format
    if torch.device(device).type == "cuda":
        return made.pin_memory().to(device, non_blocking=True).to(memory_format=layout)
    return made.to(device, memory_format=layout)


@contextmanager
def inference(device: str, precision: Precision) -> Iterator[None]:
    """No gradients, no TF32 in float32, autocast else."""
    import torch

    kind = torch.device(device).type
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        if precision == "float32":
            yield
        else:
            with torch.autocast(kind, torch.bfloat16 if precision == "bfloat16" else torch.float16):
                yield
