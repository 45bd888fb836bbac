"""Image classifiers as feature extractors: the map before the pooling, by name, with their preprocessing."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from diptych.exceptions import UsageError
from diptych.models.common.efficientnet_lite import EfficientNetLite0
from diptych.models.common.state_file import fill_network, read_state

__all__ = ["Preprocessing", "build", "feature_shape", "preprocessing"]

Crop = Literal["center", "stretch"]
_OWN = "efficientnet_lite0"
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "inception_v3": {"transform_input": True, "init_weights": False, "aux_logits": True},
    "googlenet": {"transform_input": True, "init_weights": False, "aux_logits": True},
    "vit_h_14": {"image_size": 518},
}  # the input transform is part of what the published weights expect, as are the auxiliary heads in their files
_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


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


class _Tokens(_Features):
    """(N, 3, H, W) -> (N, C, h, w) of the patches, and the class token (N, C), which is what the classifier sees."""

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        tokens = self._features(x_nchw)
        side = round((tokens.shape[1] - 1) ** 0.5)
        return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side)), tokens[:, 0]


def build(name: str, weights: Path | int) -> nn.Module:
    """The feature extractor in eval mode, from a state-dict file or from a random seed; CPU, float32.

    (N, 3, H, W) -> (N, C, h, w); a vision transformer gives the pair of this map and its class token (N, C).
    """
    if isinstance(weights, int):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(weights)
            network = _network(name)
    else:
        network = _network(name)
        state = {_DENSE_LAYER.sub(r"\1\2", key): tensor for key, tensor in read_state(weights).items()}
        fill_network(network, state, weights, name)
    made = _cut(network.eval()).requires_grad_(False)
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.6 times as fast on a CPU


def _network(name: str) -> nn.Module:
    if name == _OWN:
        return EfficientNetLite0()
    _weights_of(name)
    return torchvision.models.get_model(name, weights=None, **_ARGUMENTS.get(name, {}))


def _cut(network: nn.Module) -> nn.Module:
    """The part before the global pooling; of a vision transformer, which has none, the part before the classifier."""
    models = torchvision.models
    if isinstance(network, (EfficientNetLite0, models.SqueezeNet)):  # SqueezeNet pools what its classifier made
        return _Features(network, network.features)
    if isinstance(network, models.VisionTransformer):
        return _Tokens(*_until("encoder.ln", network))
    from torchvision.models.feature_extraction import get_graph_node_names

    nodes, parts = get_graph_node_names(network, suppress_diff_warning=True)[1], dict(network.named_modules())
    pools = [
        n
        for n, node in enumerate(nodes)
        if isinstance(parts.get(node), nn.AdaptiveAvgPool2d) or node in ("adaptive_avg_pool2d", "mean")
    ]
    return _Features(*_until(nodes[pools[-1] - 1], network))


def _until(node: str, network: nn.Module) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    from torchvision.models.feature_extraction import create_feature_extractor

    extractor = create_feature_extractor(network, [node], suppress_diff_warning=True).eval()
    return extractor, lambda x: extractor(x)[node]


class _WithoutNumbers(TorchFunctionMode):
    """Parameters are made on "meta": without memory, numbers or time. RegNet computes its widths with tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        made = func in (torch.empty, torch.ones, torch.zeros)
        return func(*args, **(kwargs or {}) | ({"device": "meta"} if made else {}))


@cache
def feature_shape(name: str, side: int | None = None) -> tuple[int, int, int]:
    """Channels, height and width of the map for one input; computed without weights or data.

    :class:`UsageError` for a name that torchvision does not know and a side that the network cannot take.
    """
    own = preprocessing(name).side
    with _WithoutNumbers():
        network = _cut(_network(name).eval()).to("meta")
    try:
        with redirect_stderr(StringIO()):  # torch prints the code that it made
            made = network(torch.empty(1, 3, side or own, side or own, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(
            f"{name} takes no pictures of {side} x {side} pixels; leave `side` out for its own, {own}"
        ) from error
    channels, high, wide = (made[0] if isinstance(made, tuple) else made).shape[1:]
    return int(channels), int(high), int(wide)
