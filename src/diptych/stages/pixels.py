"""The pictures themselves at one size, for models that reconstruct them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.pixels_input import accepted, centred, decoded, stretched

__all__ = ["Pixels", "PixelsConfig"]


class PixelsConfig(StageConfig):
    """At which size, and of which part."""

    side: int = Field(300, ge=1, le=2048, description="side of the square in pixels")
    crop: Literal["stretch", "center"] = Field("stretch", description="the whole picture, or its middle square")


class Pixels(Stage):
    """Each image as uint8 RGB of one size; 270 kB an image at 300 x 300."""

    name, version = "pixels", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema(
        [
            pa.field("width", pa.int32(), metadata={"doc": "pixels of the decoded picture"}),
            pa.field("height", pa.int32(), metadata={"doc": "pixels of the decoded picture"}),
        ]
    )
    Config = PixelsConfig
    config: PixelsConfig
    packages = ("pillow",)
    batch_size: ClassVar[int] = 64

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``pixels`` (side, side, 3), rows from the top, RGB."""
        return {"pixels": Tensor("uint8", (self.config.side, self.config.side, 3))}

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and resize in a pool of threads."""
        return decoded(batch["images.bytes"], self._prepared)

    def process(self, batch: Batch) -> Output:
        """Those that have a picture."""
        out = batch.output()
        for row, (width, height, pixels) in accepted(out, batch.ready()).items():
            out.set(row, width=width, height=height, pixels=pixels)
        return out

    def _prepared(self, image: Image.Image) -> tuple[int, int, np.ndarray]:
        side = self.config.side
        pixels = stretched(image, side) if self.config.crop == "stretch" else centred(image, side, side)
        return image.width, image.height, pixels
