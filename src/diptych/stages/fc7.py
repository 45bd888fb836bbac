"""VGG's fc7 of the whole picture and of boxes in it, as the phrase models read pictures (HM-LSTM).

Each box is cut out and warped to a square, its aspect not kept, as R-CNN does. Row 0 is the whole picture; then the
boxes of ``regions`` or ``proposals`` in their order, then the annotated ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from diptych.imaging import ImageRefused, misplaced
from diptych.stage import Batch, Output, StageConfig, Tensor
from diptych.stages.annotated import annotated
from diptych.stages.network import NetworkConfig, NetworkStage, numbers
from diptych.stages.pixels_input import accepted, half
from diptych.stages.pool import mapped

__all__ = ["Fc7", "Fc7Config"]

_TOGETHER = 32
"""Crops in one forward pass, or four a picture where that is more."""


class Fc7Config(NetworkConfig):
    """Which network, and which boxes."""

    model: Literal["vgg19", "vgg16"] = Field("vgg19", description="of torchvision.models")
    side: int = Field(224, ge=32, le=1024, description="each crop is warped to this square")
    boxes: Literal["proposals", "annotated", "both"] = Field(
        "proposals", description="boxes of a stage, those in pairs.extra (crowds left out), or both"
    )
    source: Literal["proposals", "regions"] = Field("proposals", description="the stage whose boxes are taken")
    count: int = Field(19, ge=0, le=1000, description="the first boxes of that stage")
    max_annotated: int = Field(100, ge=0, le=1000, description="the first annotated boxes")


class Fc7(NetworkStage):
    """fc7 of each pair's picture and of its boxes, after the ReLU."""

    name, version = "fc7", 1
    key = "pair"
    inputs = ("images.bytes", "proposals.boxes")
    outputs = pa.schema(
        [
            pa.field("width", pa.int32(), metadata={"doc": "pixels of the decoded picture"}),
            pa.field("height", pa.int32(), metadata={"doc": "pixels of the decoded picture"}),
            pa.field(
                "boxes",
                pa.list_(pa.list_(pa.float32())),
                metadata={"doc": "x1, y1, x2, y2 in pixels of the decoded picture; the first is the whole picture"},
            ),
            pa.field("kinds", pa.list_(pa.string()), metadata={"doc": "picture, proposal or annotated"}),
            pa.field("names", pa.list_(pa.string()), metadata={"doc": "the annotator's class; else empty"}),
        ]
    )
    tensors: ClassVar[Mapping[str, Tensor]] = {"features": Tensor("float16", (None, 4096))}
    """8 kB a row: 164 kB for a picture with 19 boxes, 164 GB a million pictures."""
    Config = Fc7Config
    config: Fc7Config
    batch_size = 8

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        stage = () if self.config.boxes == "annotated" else (f"{self.config.source}.boxes",)
        drawn = () if self.config.boxes == "proposals" else ("pairs.extra",)
        self.inputs = ("images.bytes", *stage, *drawn)  # type: ignore[misc]  # these settings say what is read

    def setup(self, device: str) -> None:
        """Load the network."""
        from diptych.models.common.classifiers import vgg

        self.load(device, lambda source: vgg(self.config.model, source, fc7=True))

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and cut out in a pool of threads."""
        pictures = self.pictures(batch["images.bytes"], lambda image: image)

        def cut(row: int) -> _Crops | ImageRefused | str:
            image = pictures[row]
            return image if isinstance(image, ImageRefused) else self._crops(batch, row, image)

        return mapped(cut, range(len(batch)))

    def process(self, batch: Batch) -> Output:
        """Crops of several pictures share a forward pass."""
        out = batch.output()
        good: dict[int, _Crops] = {}
        for row, found in accepted(out, batch.ready()).items():
            if isinstance(found, str):
                out.fail(row, "bad_boxes", found)
            else:
                good[row] = found
        crops = [pixels for found in good.values() for pixels in found.pixels]
        features = np.empty((len(crops), 4096), np.float32)
        most = max(_TOGETHER, 4 * len(batch))
        for start in range(0, len(crops), most):
            some = crops[start : start + most]
            features[start : start + len(some)] = self._forward(some)
        done = 0
        for row, found in good.items():
            mine = half(features[done : done + len(found.boxes)])
            done += len(found.boxes)
            if not np.isfinite(mine).all():
                out.fail(row, "not_finite", "the network gave NaN or infinity for this picture")
                continue
            lists = {"boxes": found.boxes.tolist(), "kinds": found.kinds, "names": found.names}
            out.set(row, width=found.width, height=found.height, features=mine, **lists)
        return out

    def _crops(self, batch: Batch, row: int, image: Image.Image) -> _Crops | str:
        """The picture's boxes and what they show; or what is wrong with them."""
        width, height = image.size
        found, kinds, names = [np.array([[0, 0, width, height]], np.float64)], ["picture"], [""]
        if self.config.boxes != "annotated":
            given = batch[f"{self.config.source}.boxes"][row]
            if given is None:
                return f"no row of {self.config.source} for this picture"
            proposed = np.asarray(given[: self.config.count], np.float64).reshape(-1, 4)
            found.append(proposed)
            kinds += ["proposal"] * len(proposed)
            names += [""] * len(proposed)
        if self.config.boxes != "proposals":
            drawn = annotated(batch["pairs.extra"][row])
            if isinstance(drawn, str):
                return drawn
            if len(drawn.boxes) and (why := misplaced(batch["images.bytes"][row], drawn.size)):
                return why
            some = drawn.boxes[: self.config.max_annotated]
            outside = ((some[:, 2:] < 0) | (some[:, :2] > (width, height))).any(axis=1)
            if outside.any():
                return f"the box {some[outside][0].tolist()} lies outside the picture, {width}x{height} pixels"
            found.append(some)
            kinds += ["annotated"] * len(some)
            names += drawn.names[: len(some)]
        boxes = np.concatenate(found)
        if not np.isfinite(boxes).all():
            return "a box is not finite"
        inside = np.clip(boxes, 0, np.array([width, height] * 2)).astype(np.float32)
        return _Crops(width, height, inside, kinds, names, [_warped(image, box, self.config.side) for box in inside])

    def _forward(self, pixels: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (N, 4096)."""
        return numbers(self.forward(pixels)[1])


@dataclass(frozen=True)
class _Crops:
    """What is cut out of a picture of this size: boxes (K, 4), of each its kind, the annotator's name, its pixels."""

    width: int
    height: int
    boxes: np.ndarray
    kinds: list[str]
    names: list[str]
    pixels: list[np.ndarray]


def _warped(image: Image.Image, box: np.ndarray, side: int) -> np.ndarray:
    """uint8 (side, side, 3) of the pixels that a box touches; one without area touches a pixel."""
    x1, y1 = (min(math.floor(v), most - 1) for v, most in zip(box[:2], image.size, strict=True))
    x2, y2 = max(math.ceil(box[2]), x1 + 1), max(math.ceil(box[3]), y1 + 1)
    return np.asarray(image.crop((x1, y1, x2, y2)).resize((side, side), Image.Resampling.BILINEAR))
