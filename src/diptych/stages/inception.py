"""InceptionV3's 2048 pooled features of each picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from diptych.stage import Batch, Output, Tensor
from diptych.stages.network import NetworkConfig, NetworkStage, numbers
from diptych.stages.pixels_input import accepted, centred, half, stretched

__all__ = ["Inception", "InceptionConfig"]


class InceptionConfig(NetworkConfig):
    """At which size, and of which part; the defaults are torchvision's reference."""

    weights: str = Field("inception_v3", description="a name in the weights registry, or random:<seed>")
    side: int = Field(299, ge=75, le=1024, description="side of the input in pixels; 299, or 300 as the autoencoder's")
    crop: Literal["center", "stretch"] = Field(
        "center", description="the middle square after resizing to 342/299 of the side, or the whole picture"
    )


class Inception(NetworkStage):
    """InceptionV3 after its global pooling, before the classifier."""

    name, version = "inception", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("norm", pa.float32(), metadata={"doc": "of the vector before rounding"})])
    tensors = {"pooled": Tensor("float16", (2048,))}
    Config = InceptionConfig
    config: InceptionConfig

    def weight_names(self) -> tuple[str, ...]:
        """The registered name, or ``random:<seed>``."""
        return (self.config.weights,)

    def setup(self, device: str) -> None:
        """Load the network."""
        from diptych.models.common.classifiers import inception

        self.load(device, inception)

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and resize in a pool of threads."""
        return self.pictures(batch["images.bytes"], self._prepared)

    def process(self, batch: Batch) -> Output:
        """One forward pass for the rows that have a picture."""
        out = batch.output()
        good = accepted(out, batch.ready())
        if not good:
            return out
        for row, pooled in zip(good, self._forward(list(good.values())), strict=True):
            if not np.isfinite(pooled).all():
                out.fail(row, "not_finite", "the network gave NaN or infinity for this picture")
                continue
            norm = float(np.sqrt(np.square(pooled, dtype=np.float64).sum()))
            out.set(row, norm=float(np.float32(norm)), pooled=half(pooled))
        return out

    def _prepared(self, image: Image.Image) -> np.ndarray:
        side = self.config.side
        if self.config.crop == "stretch":
            return stretched(image, side)
        return centred(image, side, round(side * 342 / 299))

    def _forward(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (N, 2048)."""
        return numbers(self.forward(pixels))
