"""The grid of a VGG network: 49 places of 512 features, and fc7 of the whole picture when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych import weights
from diptych.exceptions import MissingExtra
from diptych.models.common.precision import Precision, inference, placed, to_device
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.pixels_input import accepted, decoded, half, normalised, stretched

__all__ = ["Grid", "GridConfig"]


class GridConfig(StageConfig):
    """Which VGG, and what is kept of it."""

    model: Literal["vgg19", "vgg16"] = Field("vgg19", description="of torchvision.models")
    weights: str = Field("", description="a name in the weights registry, or random:<seed>; empty: the model's own")
    side: int = Field(224, ge=32, le=1024, description="the picture is resized to this square, its aspect not kept")
    fc7: bool = Field(False, description="also keep fc7 of the whole picture, 4096 values after the ReLU")
    precision: Precision = Field("float32", description="half precision is faster on a GPU and changes values a little")


class Grid(Stage):
    """VGG features of each image after the last max-pool, row by row from the top left."""

    name, version = "grid", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("norm", pa.float32(), metadata={"doc": "of all values of the grid before rounding"})])
    Config = GridConfig
    config: GridConfig
    packages = ("torch", "torchvision", "pillow")
    accelerator: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True
    batch_size = 32
    tolerance = 2e-3
    """Of the tensor's largest value: one step of float16 and the order of summation."""

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``grid`` ((side/32)^2, 512), 50 kB an image at 224; ``fc7`` (4096,) when asked for."""
        found = {"grid": Tensor("float16", ((self.config.side // 32) ** 2, 512))}
        return found | ({"fc7": Tensor("float16", (4096,))} if self.config.fc7 else {})

    def weight_names(self) -> tuple[str, ...]:
        """The registered name, or ``random:<seed>``."""
        return (self.config.weights or self.config.model,)

    def setup(self, device: str) -> None:
        """Load the network."""
        for package in ("torch", "torchvision"):
            if find_spec(package) is None:
                raise MissingExtra(package, "vision")
        from diptych.models.common.classifiers import vgg

        name = self.weight_names()[0]
        source = weights.random_seed(name) if weights.is_random(name) else weights.path(name)
        self._device = device
        self._network = placed(
            vgg(self.config.model, source, fc7=self.config.fc7), device, self.config.precision, compiled=self.compiled
        )

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and resize in a pool of threads."""
        side = self.config.side
        return decoded(batch["images.bytes"], lambda image: normalised(stretched(image, side)))

    def process(self, batch: Batch) -> Output:
        """One forward pass for the rows that have a picture."""
        out = batch.output()
        good = accepted(out, batch.ready())
        if not good:
            return out
        grids, fc7 = self._forward(np.stack(list(good.values())))
        for n, row in enumerate(good):
            values = {"grid": half(grids[n])} | ({"fc7": half(fc7[n])} if fc7 is not None else {})
            if not all(np.isfinite(v).all() for v in values.values()):
                out.fail(row, "not_finite", "the network gave NaN for this picture")
                continue
            norm = float(np.sqrt(np.square(grids[n], dtype=np.float64).sum()))
            out.set(row, norm=float(np.float32(norm)), **values)
        return out

    def _forward(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """float32 (N, cells, 512) and (N, 4096)."""
        precision = self.config.precision
        with inference(self._device, precision):
            grids, fc7 = self._network(to_device(pixels, self._device, channels_last=precision != "float32"))
            cells = grids.float().flatten(2).transpose(1, 2)
            return cells.cpu().numpy(), None if fc7 is None else fc7.float().cpu().numpy()

    def close(self) -> None:
        """Forget the network."""
        vars(self).pop("_network", None)
