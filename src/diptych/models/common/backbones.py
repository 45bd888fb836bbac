"""Image classifiers as feature extractors: the map before the pooling, by name, with their preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from diptych.exceptions import UsageError
from diptych.models.common.efficientnet_lite import EfficientNetLite0
from diptych.models.common.state_file import fill_network, read_state

__all__ = ["Preprocessing", "build", "feature_shape", "preprocessing"]

Crop = Literal["center", "stretch"]
_OWN = "efficientnet_lite0"
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "inception_v3": {"transform_input": True, "init_weights": False, "aux_logits": True},
    "googlenet": {"transform_input": True, "init_weights": False, "aux_logits": False},
}  # the input transform is part of what the published weights expect


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input: crop, side in pixels, scaling (value - mean) / std in levels of 255."""

    side: int
    crop_share: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bicubic: bool

    def __call__(self, image: Image.Image, crop: Crop = "center", side: int | None = None) -> np.ndarray:
        """uint8 of shape (side, side, 3); ``stretch`` shows the whole picture, ``center`` the middle square."""
        side = side or self.side
        box = None
        if crop == "center":
            length = min(image.size) * self.crop_share
            left, top = (image.width - length) / 2, (image.height - length) / 2
            box = (left, top, left + length, top + length)
        method = Image.Resampling.BICUBIC if self.bicubic else Image.Resampling.BILINEAR
        return np.asarray(image.resize((side, side), method, box=box))

    @property
    def levels(self) -> np.ndarray:
        """float32 (256, 3): the value of each level in each channel."""
        shifted = np.arange(256, dtype=np.float32)[:, None] - np.array(self.mean, np.float32)
        return shifted / np.array(self.std, np.float32)


def _weights_of(name: str) -> Any:
    try:
        found = torchvision.models.get_model_weights(name)
    except ValueError as error:
        raise UsageError(f"no classifier named {name!r}: use {_OWN} or a classifier of torchvision.models") from error
    return found["IMAGENET1K_V1"] if "IMAGENET1K_V1" in found.__members__ else next(iter(found))


@cache
def preprocessing(name: str) -> Preprocessing:
    """What the published weights of this model were trained with."""
    if name == _OWN:
        return Preprocessing(224, 224 / 256, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), bicubic=True)
    given = _weights_of(name).transforms()
    side, resize = given.crop_size[0], given.resize_size[0]
    mean, std = _levels(*given.mean), _levels(*given.std)
    bicubic = given.interpolation.value == "bicubic"
    return Preprocessing(side, side / resize, mean, std, bicubic)


def _levels(red: float, green: float, blue: float) -> tuple[float, float, float]:
    return 255.0 * red, 255.0 * green, 255.0 * blue


class _Features(nn.Module):
    """(N, 3, H, W) -> (N, C, h, w)."""

    def __init__(self, network: nn.Module, features: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._features = features

    def forward(self, x_nchw: Tensor) -> Tensor:
        return self._features(x_nchw)


def build(name: str, weights: Path | int) -> nn.Module:
    """The feature extractor in eval mode, from a state-dict file or from a random seed; CPU, float32."""
    if isinstance(weights, int):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights)
            network = _network(name)
    else:
        network = _network(name)
        fill_network(network, read_state(weights), weights, name)
    made = _cut(name, network.eval()).requires_grad_(False)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.6 times as fast on a CPU


def _network(name: str) -> nn.Module:
    if name == _OWN:
        return EfficientNetLite0()
    _weights_of(name)
    return torchvision.models.get_model(name, weights=None, **_ARGUMENTS.get(name, {}))


def _cut(name: str, network: nn.Module) -> nn.Module:
    """The part before the global pooling."""
    if isinstance(network, EfficientNetLite0):
        return _Features(network, network.features)
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    nodes = get_graph_node_names(network, suppress_diff_warning=True)[1]
    if "avgpool" not in nodes:
        raise UsageError(f"{name!r} has no average pooling to cut before; use a ResNet, VGG, Inception or EfficientNet")
    last = nodes[nodes.index("avgpool") - 1]
    extractor = create_feature_extractor(network, [last], suppress_diff_warning=True).eval()
    return _Features(extractor, lambda x: extractor(x)[last])


@cache
def feature_shape(name: str, side: int | None = None) -> tuple[int, int, int]:
    """Channels, height and width of the map for one input; computed without weights or data."""
    with torch.device("meta"):
        network = _cut(name, _network(name).eval())
        side = side or preprocessing(name).side
        channels, high, wide = network(torch.empty(1, 3, side, side)).shape[1:]
    return int(channels), int(high), int(wide)
