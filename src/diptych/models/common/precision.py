"""At which precision networks run, whether they are compiled, and how their inputs reach the device.

Half precision is autocast: weights stay float32, matrix products and convolutions are done in 16 bits. It changes
values by more than a stage's tolerance, so it is a setting and part of the stage key, on whatever device. Compiling
stays within the tolerance: it is an option of a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "HALF_TOLERANCE",
    "Precision",
    "compile_network",
    "has_channels_last",
    "has_depthwise",
    "inference",
    "looked_up",
    "placed",
    "stacked",
    "to_device",
    "to_host",
]

Precision = Literal["float32", "bfloat16", "float16"]
HALF_TOLERANCE: dict[Precision, float] = {"float32": 0.0, "bfloat16": 0.3, "float16": 0.03}
"""How far features may be from float32's, of the largest value of their tensor: single cells of a grid. Half of that
for pooled vectors. Tested."""


def placed(network: nn.Module, device: str, precision: Precision, *, compiled: bool = False) -> nn.Module:
    """The network on its device, compiled when asked for; for half precision with channels last, which tensor cores
    want. Depthwise convolutions want them first on a GPU: for channels last cuDNN compiles a kernel for every layer
    and size of batch, which takes seconds each time.
    """
    import torch

    moved = network.to(device)
    if has_depthwise(network) and torch.device(device).type == "cuda":
        moved = moved.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    elif precision != "float32":
        moved = moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        compile_network(moved)
    return moved


def has_depthwise(network: nn.Module) -> bool:
    """Whether a convolution of the network filters each channel by itself."""
    from torch import nn

    return any(isinstance(m, nn.Conv2d) and 1 < m.groups == m.in_channels for m in network.modules())


def has_channels_last(network: nn.Module) -> bool:
    """Whether the network's weights lie with their channels last, as its inputs then should."""
    import torch

    filters = [p for p in network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    return bool(filters) and filters[0].is_contiguous(memory_format=torch.channels_last)


def compile_network(network: nn.Module) -> None:
    """Compile in place; where that fails, at the first input, the network runs as it is and a warning says why.

    Batches of any size share one compilation.
    """
    import torch

    plain = network.forward
    compiled = torch.compile(plain, dynamic=True)

    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            return compiled(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            made = plain(*args, **kwargs)  # an input that the network refuses is no failure of the compiler
            network.forward = plain
            text = " ".join(str(error).split())[:300]
            warnings.warn(f"torch.compile failed, the network runs as it is: {text}", RuntimeWarning, stacklevel=2)
            return made

    network.forward = forward


def to_device(pixels: np.ndarray | Tensor, device: str) -> Tensor:
    """On the device; to a GPU through pinned memory, without waiting for what it still computes."""
    import torch

    made = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    if torch.device(device).type == "cuda":
        return made.pin_memory().to(device, non_blocking=True)
    return made.to(device)


def stacked(pixels: Sequence[np.ndarray], device: str) -> Tensor:
    """uint8 (N, ...) on the device, of N arrays of one shape; laid into page-locked memory on their way to a GPU."""
    import torch

    if torch.device(device).type != "cuda":
        return torch.from_numpy(np.stack(pixels)).to(device)
    held = torch.empty((len(pixels), *pixels[0].shape), dtype=torch.uint8, pin_memory=True)
    np.stack(pixels, out=held.numpy())
    return held.to(device, non_blocking=True)


def to_host(values: Tensor) -> np.ndarray:
    """The same numbers in the host's memory; from a GPU in page-locked memory, which is used again."""
    import torch

    if values.device.type != "cuda":
        return values.cpu().numpy()
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values).numpy()


def looked_up(pixels_nhwc: Tensor, levels: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> (N, 3, H, W), channels last in memory: in ``levels`` (256, 3), without rounding anew."""
    import torch

    made = torch.empty(pixels_nhwc.shape, dtype=levels.dtype, device=levels.device)
    for channel in range(3):  # one at a time: indices take four times the pixels' memory
        made[..., channel] = levels[:, channel][pixels_nhwc[..., channel].int()]
    return made.permute(0, 3, 1, 2)


@contextmanager
def inference(device: str, precision: Precision) -> Iterator[None]:
    """No gradients, no TF32 in float32, autocast else."""
    import torch

    kind = torch.device(device).type
    with torch.inference_mode(), _FULL.entered():
        if precision == "float32":
            yield
        else:
            with torch.autocast(kind, torch.bfloat16 if precision == "bfloat16" else torch.float16):
                yield


class _FullPrecision:
    """TF32 off in cuDNN while any thread is inside: the switch is the process's, and the last one out turns it back."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, False

    @contextmanager
    def entered(self) -> Iterator[None]:
        import torch

        cudnn = torch.backends.cudnn
        with self.lock:
            if not self.inside:
                self.before, cudnn.allow_tf32 = cudnn.allow_tf32, False
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if not self.inside:
                    cudnn.allow_tf32 = self.before


_FULL = _FullPrecision()
