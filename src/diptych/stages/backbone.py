"""Pooled and grid features of an ImageNet classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych import weights
from diptych.exceptions import MissingExtra
from diptych.imaging import ImageRefused, decode
from diptych.models.common.precision import Precision, inference, placed, to_device
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.pixels_input import accepted, half
from diptych.stages.pool import mapped

__all__ = ["Backbone", "BackboneConfig"]


class BackboneConfig(StageConfig):
    """Which network sees which part of the picture."""

    model: str = Field("efficientnet_lite0", description="or a classifier of torchvision.models, by its name there")
    weights: str = Field("", description="a name in the weights registry, or random:<seed>; empty: the model's own")
    side: int | None = Field(None, ge=32, le=2048, description="input side in pixels; None: the model's own")
    crop: Literal["center", "stretch"] = Field("center", description="the middle square, or the whole picture")
    grid: bool = Field(False, description="also keep the map before pooling, row by row from the top left")
    precision: Precision = Field("float32", description="half precision is faster on a GPU and changes values a little")


class Backbone(Stage):
    """Features of each image; ``pooled`` is the mean of the map over places, ``norm`` its Euclidean length.

    Large JPEG files are decoded at 1/2, 1/4 or 1/8 while twice the input's side is left, which halves the time; the
    pooled vector's cosine with that of a full decoding is at least 0.998.
    """

    name, version = "backbone", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("norm", pa.float32(), metadata={"doc": "of the pooled vector, before rounding"})])
    Config = BackboneConfig
    config: BackboneConfig
    packages = ("torch", "torchvision", "pillow")
    accelerator: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True
    batch_size = 32
    tolerance = 2e-3
    """Of the vector's largest value: one step of float16 and the order of summation."""

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``pooled`` (C,), and ``grid`` (H*W, C) when asked for."""
        channels, high, wide = self._shape()
        found = {"pooled": Tensor("float16", (channels,))}
        if self.config.grid:
            found["grid"] = Tensor("float16", (high * wide, channels))
        return found

    def weight_names(self) -> tuple[str, ...]:
        """The registered name, or ``random:<seed>``."""
        return (self.config.weights or self.config.model,)

    def _shape(self) -> tuple[int, int, int]:
        if self.config.model == "efficientnet_lite0":
            cells = -(-(self.config.side or 224) // 32)
            return 1280, cells, cells
        from diptych.models.common.backbones import feature_shape

        return feature_shape(self.config.model, self.config.side)

    def setup(self, device: str) -> None:
        """Load the network."""
        for package in ("torch", "torchvision"):
            if find_spec(package) is None:
                raise MissingExtra(package, "vision")
        from diptych.models.common.backbones import build, preprocessing

        name = self.weight_names()[0]
        source = weights.random_seed(name) if weights.is_random(name) else weights.path(name)
        self._device = device
        self._prepare = preprocessing(self.config.model)
        self._network = placed(build(self.config.model, source), device, self.config.precision, compiled=self.compiled)

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode, at a scale where that is enough, and resize in a pool of threads."""
        return mapped(self._pixels, batch["images.bytes"])

    def process(self, batch: Batch) -> Output:
        """One forward pass for the rows that have a picture."""
        out = batch.output()
        good = accepted(out, batch.ready())
        if good:
            for row, cells in zip(good, self._forward(np.stack(list(good.values()))), strict=True):
                pooled = cells.mean(axis=0, dtype=np.float32)
                if not np.isfinite(pooled).all():
                    out.fail(row, "not_finite", "the network gave NaN for this picture")
                    continue
                values: dict[str, Any] = {"norm": float(np.sqrt((pooled * pooled).sum())), "pooled": half(pooled)}
                if self.config.grid:
                    values["grid"] = half(cells)
                out.set(row, **values)
        return out

    def _pixels(self, data: bytes | None) -> np.ndarray | ImageRefused:
        try:
            if data is None:
                raise ImageRefused("not_an_image", "no bytes")
            side = self.config.side or self._prepare.side
            return self._prepare(decode(data, at_least=2 * side), self.config.crop, side)
        except ImageRefused as error:
            return error

    def _forward(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (N, cells, channels)."""
        with inference(self._device, self.config.precision):
            x_nchw = to_device(pixels, self._device, channels_last=True)
            maps = self._network(x_nchw).float().permute(0, 2, 3, 1)
            return maps.reshape(len(pixels), -1, maps.shape[-1]).cpu().numpy()

    def close(self) -> None:
        """Forget the network."""
        vars(self).pop("_network", None)
