"""The grid of a VGG network: 49 places of 512 features, and fc7 of the whole picture when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych.stage import Batch, Output, Tensor
from diptych.stages.network import NetworkConfig, NetworkStage, half_numbers, numbers
from diptych.stages.pixels_input import accepted, stretched

__all__ = ["Grid", "GridConfig"]


class GridConfig(NetworkConfig):
    """Which VGG, and what is kept of it."""

    model: Literal["vgg19", "vgg16"] = Field("vgg19", description="of torchvision.models")
    side: int = Field(224, ge=32, le=1024, description="the picture is resized to this square, its aspect not kept")
    fc7: bool = Field(False, description="also keep fc7 of the whole picture, 4096 values after the ReLU")


class Grid(NetworkStage):
    """VGG features of each image after the last max-pool, row by row from the top left."""

    name, version = "grid", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("norm", pa.float32(), metadata={"doc": "of all values of the grid before rounding"})])
    Config = GridConfig
    config: GridConfig

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``grid`` ((side/32)^2, 512), 50 kB an image at 224; ``fc7`` (4096,) when asked for."""
        found = {"grid": Tensor("float16", ((self.config.side // 32) ** 2, 512))}
        return found | ({"fc7": Tensor("float16", (4096,))} if self.config.fc7 else {})

    def setup(self, device: str) -> None:
        """Load the network."""
        from diptych.models.common.classifiers import vgg

        self.load(device, lambda source: vgg(self.config.model, source, fc7=self.config.fc7))

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and resize in a pool of threads."""
        side = self.config.side
        return self.pictures(batch["images.bytes"], lambda image: stretched(image, side))

    def process(self, batch: Batch) -> Output:
        """One forward pass for the rows that have a picture."""
        out = batch.output()
        good = accepted(out, batch.ready())
        if not good:
            return out
        grids, norms, fc7 = self._forward(list(good.values()))
        for n, row in enumerate(good):
            values = {"grid": grids[n]} | ({"fc7": fc7[n]} if fc7 is not None else {})
            if not all(np.isfinite(v).all() for v in values.values()):
                out.fail(row, "not_finite", "the network gave NaN or infinity for this picture")
                continue
            out.set(row, norm=float(norms[n]), **values)
        return out

    def _forward(self, pixels: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """float16 (N, cells, 512), their norms before rounding (N,), float16 (N, 4096)."""

        def finish(made: Any) -> Any:
            grids, fc7 = made
            return grids.flatten(2).transpose(1, 2), grids.flatten(1).double().square().sum(1).sqrt(), fc7

        cells, norms, fc7 = self.forward(pixels, finish)
        return half_numbers(cells), numbers(norms), None if fc7 is None else half_numbers(fc7)
