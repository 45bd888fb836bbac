"""What the stages share that send pictures through one network: settings, loading, decoding, one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from PIL import Image
from pydantic import Field

from diptych import weights
from diptych.imaging import ImageRefused
from diptych.models.common.alone import is_processor, side_by_side
from diptych.models.common.precision import (
    Precision,
    has_channels_last,
    inference,
    looked_up,
    placed,
    stacked,
    to_device,
    to_host,
)
from diptych.releases import require
from diptych.stage import Stage, StageConfig
from diptych.stages.decoders import Decoder
from diptych.stages.pixels_input import IMAGENET, decoded, normalised
from diptych.stages.pool import decoded_once

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["NetworkConfig", "NetworkStage", "half_numbers", "numbers", "weights_source"]

Prepared = TypeVar("Prepared")


class NetworkConfig(StageConfig):
    """Which weights, at which precision, on pictures that which decoder gave."""

    weights: str = Field("", description="a name in the weights registry, or random:<seed>; empty: the model's own")
    precision: Precision = Field("float32", description="half precision is faster on a GPU and changes values a little")
    decoder: Decoder = Field(
        "pillow", description="device: JPEG files are decoded where the network runs, which changes values a little"
    )


def weights_source(name: str) -> Path | int:
    """The file of registered weights, or the seed of random ones."""
    return weights.random_seed(name) if weights.is_random(name) else weights.path(name)


class NetworkStage(Stage):
    """A stage with one network of torch; subclasses say how it is made and what its output becomes."""

    packages = ("torch", "torchvision", "pillow")
    accelerator: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True
    batch_size: ClassVar[int] = 32
    tolerance: ClassVar[float] = 2e-3
    """Of the tensor's largest value: one step of float16 and the order of summation."""

    @property
    def network_config(self) -> NetworkConfig:
        """The settings that these stages share."""
        assert isinstance(self.config, NetworkConfig)
        return self.config

    def weight_names(self) -> tuple[str, ...]:
        """The registered name, or ``random:<seed>``."""
        return (self.network_config.weights or vars(self.config).get("model", ""),)

    def check(self) -> None:
        """torch and torchvision."""
        require("vision", "torch", "torchvision")

    def load(self, device: str, make: Callable[[Path | int], nn.Module], levels: np.ndarray = IMAGENET) -> None:
        """Make the network from its weights and put it on the device; ``levels`` (256, 3) are its inputs' values."""
        self._device, self._levels = device, levels
        network = make(weights_source(self.weight_names()[0]))
        self._network = placed(network, device, self.network_config.precision, compiled=self.compiled)
        self._channels_last = has_channels_last(network)

    def pictures(
        self,
        data: Sequence[bytes | None],
        prepare: Callable[[Image.Image], Prepared],
        decode: Callable[[bytes], Image.Image] = decoded_once,
    ) -> list[Prepared | ImageRefused]:
        """Each row's picture through ``prepare``, in a pool of threads."""
        on = self._device if self.network_config.decoder == "device" else None
        return decoded(data, prepare, on=on, decode=decode)

    def on_device(self, pixels: Sequence[np.ndarray]) -> Tensor:
        """N pictures, uint8 (H, W, 3) -> float32 (N, 3, H, W) on the device, each level's value looked up there."""
        import torch

        layout = torch.channels_last if self._channels_last else torch.contiguous_format
        if is_processor(self._device):
            return torch.from_numpy(normalised(np.stack(pixels), self._levels)).to(memory_format=layout)
        found = looked_up(stacked(pixels, self._device), to_device(self._levels, self._device))
        return found.contiguous(memory_format=layout)

    def forward(self, pixels: Sequence[np.ndarray], finish: Callable[[Any], Any] = lambda made: made) -> Any:
        """What the network makes of N pictures, uint8 (H, W, 3), and ``finish`` of that.

        A tensor, or a tuple of them and None. On a processor each picture is seen alone.
        """

        def seen(some: Sequence[np.ndarray]) -> Any:
            with inference(self._device, self.network_config.precision):
                return finish(self._network(self.on_device(some)))

        if not is_processor(self._device):
            return seen(pixels)
        return _joined(side_by_side(seen, [[p] for p in pixels], most=1 if self.compiled else None))

    def close(self) -> None:
        """Forget the network."""
        vars(self).pop("_network", None)


def _joined(each: Sequence[Any]) -> Any:
    """One output of the outputs of single rows."""
    import torch

    if isinstance(each[0], tuple):
        return tuple(None if part[0] is None else torch.cat(part) for part in zip(*each, strict=True))
    return torch.cat(list(each))


def numbers(values: Tensor) -> np.ndarray:
    """float32 on the host."""
    return to_host(values.float())


def half_numbers(values: Tensor) -> np.ndarray:
    """float16 on the host, converted where the values are; as ``pixels_input.half`` does it."""
    found = values.float()
    return to_host(found.clamp(-65504, 65504).where(found.isfinite(), found).half().contiguous())
