"""InceptionV3's 2048 pooled features of each picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from diptych import weights
from diptych.exceptions import MissingExtra
from diptych.models.common.precision import Precision, inference, placed, to_device
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.pixels_input import accepted, centred, decoded, half, normalised, stretched

__all__ = ["Inception", "InceptionConfig"]


class InceptionConfig(StageConfig):
    """At which size, and of which part; the defaults are torchvision's reference."""

    weights: str = Field("inception_v3", description="a name in the weights registry, or random:<seed>")
    side: int = Field(299, ge=75, le=1024, description="side of the input in pixels; 299, or 300 as the autoencoder's")
    crop: Literal["center", "stretch"] = Field(
        "center", description="the middle square after resizing to 342/299 of the side, or the whole picture"
    )
    precision: Precision = Field("float32", description="half precision is faster on a GPU and changes values a little")


class Inception(Stage):
    """InceptionV3 after its global pooling, before the classifier."""

    name, version = "inception", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("norm", pa.float32(), metadata={"doc": "of the vector before rounding"})])
    tensors = {"pooled": Tensor("float16", (2048,))}
    Config = InceptionConfig
    config: InceptionConfig
    packages = ("torch", "torchvision", "pillow")
    accelerator: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True
    batch_size = 32
    tolerance = 2e-3
    """Of the vector's largest value: one step of float16 and the order of summation."""

    def weight_names(self) -> tuple[str, ...]:
        """The registered name, or ``random:<seed>``."""
        return (self.config.weights,)

    def setup(self, device: str) -> None:
        """Load the network."""
        for package in ("torch", "torchvision"):
            if find_spec(package) is None:
                raise MissingExtra(package, "vision")
        from diptych.models.common.classifiers import inception

        name = self.config.weights
        source = weights.random_seed(name) if weights.is_random(name) else weights.path(name)
        self._device = device
        self._network = placed(inception(source), device, self.config.precision, compiled=self.compiled)

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and resize in a pool of threads."""
        return decoded(batch["images.bytes"], self._prepared)

    def process(self, batch: Batch) -> Output:
        """One forward pass for the rows that have a picture."""
        out = batch.output()
        good = accepted(out, batch.ready())
        if not good:
            return out
        for row, pooled in zip(good, self._forward(np.stack(list(good.values()))), strict=True):
            if not np.isfinite(pooled).all():
                out.fail(row, "not_finite", "the network gave NaN for this picture")
                continue
            norm = float(np.sqrt(np.square(pooled, dtype=np.float64).sum()))
            out.set(row, norm=float(np.float32(norm)), pooled=half(pooled))
        return out

    def _prepared(self, image: Image.Image) -> np.ndarray:
        side = self.config.side
        pixels = (
            stretched(image, side) if self.config.crop == "stretch" else centred(image, side, round(side * 342 / 299))
        )
        return normalised(pixels)

    def _forward(self, pixels: np.ndarray) -> np.ndarray:
        """float32 (N, 2048)."""
        precision = self.config.precision
        with inference(self._device, precision):
            pooled = self._network(to_device(pixels, self._device, channels_last=precision != "float32"))
            return pooled.float().cpu().numpy()

    def close(self) -> None:
        """Forget the network."""
        vars(self).pop("_network", None)
