"""Where objects may be, without any network: selective search (Uijlings et al. 2013) through OpenCV's ximgproc.

OpenCV orders its boxes by the C library's random numbers; its set of boxes is always the same. So they are ordered
here: the largest first, each overlapping those before it by no more than ``nms_threshold``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from diptych.exceptions import MissingExtra
from diptych.geometry import suppressed
from diptych.releases import load
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.pixels_input import accepted, decoded

__all__ = ["Proposals", "ProposalsConfig"]

_LONGEST = 4
"""The longer side is at most so many times the shorter one when it is searched; a line of pixels stays small."""


class ProposalsConfig(StageConfig):
    """How the picture is searched, and which boxes stay."""

    strategy: Literal["single", "fast", "quality"] = Field(
        "fast",
        description="OpenCV's: colour spaces and scales that are searched; 0.1, 0.5 and 3 s a picture at side 200",
    )
    side: int = Field(200, ge=32, le=1000, description="shorter side in pixels at which the picture is searched")
    count: int = Field(100, ge=1, le=2000, description="boxes that stay")
    nms_threshold: float = Field(0.4, ge=0, le=1, description="IoU above which the smaller box goes")


class Proposals(Stage):
    """Boxes of each image that may hold an object, the largest first; 2 kB an image."""

    name, version = "proposals", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema(
        [
            pa.field("width", pa.int32(), metadata={"doc": "pixels of the decoded picture"}),
            pa.field("height", pa.int32(), metadata={"doc": "pixels of the decoded picture"}),
            pa.field(
                "boxes",
                pa.list_(pa.list_(pa.float32())),
                metadata={"doc": "x1, y1, x2, y2 in pixels of the decoded picture"},
            ),
        ]
    )
    Config = ProposalsConfig
    config: ProposalsConfig
    packages = ("opencv-contrib-python", "pillow")
    batch_size = 32

    def check(self) -> None:
        """OpenCV with its contributed modules; another distribution may have written over cv2."""
        if not hasattr(load("cv2", "opencv-contrib-python", "proposals"), "ximgproc"):
            raise MissingExtra("opencv-contrib-python", "proposals")

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode and search in a pool of threads."""
        return decoded(batch["images.bytes"], self._searched)

    def process(self, batch: Batch) -> Output:
        """A picture in which nothing is found is ok and has no boxes."""
        out = batch.output()
        for row, values in accepted(out, batch.ready()).items():
            out.set(row, **values)
        return out

    def _searched(self, image: Image.Image) -> dict[str, Any]:
        import cv2

        short, long = sorted(image.size)
        scale = min(self.config.side / short, _LONGEST * self.config.side / long)
        small = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        bgr = np.ascontiguousarray(np.asarray(image.resize(small, Image.Resampling.BILINEAR))[:, :, ::-1])
        search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()  # type: ignore[attr-defined]
        search.setBaseImage(bgr)
        getattr(search, _SWITCH[self.config.strategy])()
        found = np.asarray(search.process(), np.float64).reshape(-1, 4)
        found[:, 2:] += found[:, :2]
        found *= np.array([image.width / small[0], image.height / small[1]] * 2)
        found = found[np.lexsort((*found.T[::-1], -np.prod(found[:, 2:] - found[:, :2], axis=1)))]
        kept = found[suppressed(found, self.config.nms_threshold, self.config.count)]
        return {"width": image.width, "height": image.height, "boxes": kept.astype(np.float32).tolist()}


_SWITCH = {
    "single": "switchToSingleStrategy",
    "fast": "switchToSelectiveSearchFast",
    "quality": "switchToSelectiveSearchQuality",
}
