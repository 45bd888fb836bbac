"""Pooled and grid features of an ImageNet classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych.imaging import decode
from diptych.stage import Batch, Output, Tensor
from diptych.stages.network import NetworkConfig, NetworkStage, half_numbers, numbers
from diptych.stages.pixels_input import accepted, half
from diptych.stages.pool import decoded_once

__all__ = ["Backbone", "BackboneConfig"]

ENOUGH = 448
"""Pixels that the shorter side keeps when a file is decoded at a scale."""


class BackboneConfig(NetworkConfig):
    """Which network sees which part of the picture."""

    model: str = Field("efficientnet_lite0", description="or a classifier of torchvision.models, by its name there")
    side: int | None = Field(None, ge=32, le=2048, description="input side in pixels; None: the model's own")
    crop: Literal["center", "stretch"] = Field("center", description="the middle square, or the whole picture")
    grid: bool = Field(False, description="also keep the map before pooling, row by row from the top left")
    scaled: bool = Field(
        True, description="decode large JPEG files at 1/2, 1/4 or 1/8 of their size where that changes features little"
    )


class Backbone(NetworkStage):
    """Features of each image; ``pooled`` is the mean of the map over places, ``norm`` its Euclidean length.

    Of a vision transformer ``pooled`` is the class token, and the map that of its patches. ``model`` is any classifier
    of torchvision; its features are what the global pooling takes (SqueezeNet: what the classifier takes).

    With ``scaled`` JPEG files are decoded at 1/2, 1/4 or 1/8 while twice the input's side and 448 pixels are left,
    which is up to several times as fast: the pooled vector's cosine with that of a full decoding is at least 0.99 for
    photographs and pages of text (tested). Patterns as fine as a pixel are another picture at another scale; where
    they matter, say ``scaled: false``.
    """

    name, version = "backbone", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("norm", pa.float32(), metadata={"doc": "of the pooled vector, before rounding"})])
    Config = BackboneConfig
    config: BackboneConfig

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``pooled`` (C,), and ``grid`` (H*W, C) when asked for."""
        channels, high, wide = self._shape()
        found = {"pooled": Tensor("float16", (channels,))}
        if self.config.grid:
            found["grid"] = Tensor("float16", (high * wide, channels))
        return found

    def _shape(self) -> tuple[int, int, int]:
        if self.config.model == "efficientnet_lite0":
            cells = -(-(self.config.side or 224) // 32)
            return 1280, cells, cells
        from diptych.models.common.backbones import feature_shape

        return feature_shape(self.config.model, self.config.side)

    def setup(self, device: str) -> None:
        """Load the network."""
        from diptych.models.common.backbones import build, preprocessing

        self._prepare = preprocessing(self.config.model)
        self.load(device, lambda source: build(self.config.model, source), self._prepare.levels)

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode, at a scale where that is enough, and resize in a pool of threads."""
        side = self.config.side or self._prepare.side
        least = max(2 * side, ENOUGH)
        return self.pictures(
            batch["images.bytes"],
            lambda image: self._prepare(image, self.config.crop, side),
            decode=(lambda data: decode(data, at_least=least)) if self.config.scaled else decoded_once,
        )

    def process(self, batch: Batch) -> Output:
        """One forward pass for the rows that have a picture."""
        out = batch.output()
        good = accepted(out, batch.ready())
        if good:
            means, grids = self._forward(list(good.values()))
            for n, row in enumerate(good):
                pooled = means[n]
                if not np.isfinite(pooled).all():
                    out.fail(row, "not_finite", "the network gave NaN or infinity for this picture")
                    continue
                values: dict[str, Any] = {"norm": float(np.sqrt((pooled * pooled).sum())), "pooled": half(pooled)}
                if grids is not None:
                    values["grid"] = grids[n]
                out.set(row, **values)
        return out

    def _forward(self, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """float32 (N, channels), and float16 (N, cells, channels) when the grid is kept."""

        def finish(made: Any) -> Any:
            maps, pooled = made if isinstance(made, tuple) else (made, None)
            cells = maps.float().flatten(2).transpose(1, 2)
            return cells.mean(1) if pooled is None else pooled.float(), cells if self.config.grid else None

        means, cells = self.forward(pixels, finish)
        return numbers(means), None if cells is None else half_numbers(cells)
