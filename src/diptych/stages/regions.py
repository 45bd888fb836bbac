"""Regions of a picture found by Faster R-CNN: boxes, classes, scores and the features they were classified by.

Other stages read these columns, whatever detector made them: ``boxes`` in pixels of the decoded picture, and beside
each box its class, score and row of ``features``, best first. ``attributes`` is null for a detector without
attribute head. A picture in which nothing is found is ok and has empty lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field, field_validator, model_validator

from diptych import weights
from diptych.models.common.detector_list import DETECTORS, Sizes
from diptych.releases import require
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.network import NetworkConfig, weights_source
from diptych.stages.pixels_input import accepted, decoded, half, stretched

__all__ = ["Regions", "RegionsConfig"]


class RegionsConfig(NetworkConfig):
    """Which detector, at which size, and which of its boxes are kept."""

    model: str = Field(
        "fasterrcnn_resnet50_fpn_v2",
        description="a name of detector_list.py: torchvision's detectors, detectron2's, bottom-up attention's",
    )
    backend: Literal["builtin", "detectron2"] = Field(
        "builtin", description="detectron2: the same network run by detectron2 itself, where it is installed"
    )
    mode: Literal["threshold", "fixed", "between"] = Field(
        "threshold", description="all above the score, a fixed number, or those above the score within bounds"
    )
    score_threshold: float = Field(0.55, ge=0, lt=1, description="scores strictly above it; not for mode fixed")
    count: int = Field(36, ge=1, le=1000, description="regions of mode fixed; fewer where fewer boxes exist")
    min_boxes: int = Field(10, ge=0, le=1000, description="fewest regions of mode between")
    max_boxes: int = Field(100, ge=1, le=1000, description="most regions of modes threshold and between")
    nms_threshold: float = Field(0.5, ge=0, le=1, description="IoU above which the weaker box of a class goes")
    once: bool = Field(True, description="each proposal once, by the best class that NMS left; false: as torchvision")
    proposals: int | None = Field(None, ge=1, le=6000, description="boxes of the first step; None: the model's own")
    min_side: int | None = Field(None, ge=32, le=4000, description="shorter side of the input; None: the model's own")
    max_side: int | None = Field(None, ge=32, le=4000, description="its longer side at most; None: the model's own")
    pre_resize: int | None = Field(None, ge=32, le=4000, description="first resize to this square, aspect not kept")

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DETECTORS:
            raise ValueError(f"no detector named {name!r}; known are {', '.join(DETECTORS)}")
        return name

    @model_validator(mode="after")
    def _bounds(self) -> RegionsConfig:
        if self.mode == "between" and self.min_boxes > self.max_boxes:
            raise ValueError(f"min_boxes ({self.min_boxes}) is above max_boxes ({self.max_boxes})")
        if self.sizes.min_side > self.sizes.max_side:
            own = "" if self.min_side and self.max_side else f"; where not given, they are those of {self.model}"
            raise ValueError(f"min_side ({self.sizes.min_side}) is above max_side ({self.sizes.max_side}){own}")
        return self

    @property
    def sizes(self) -> Sizes:
        """What is given, else the model's own."""
        own = DETECTORS[self.model].sizes
        return Sizes(self.min_side or own.min_side, self.max_side or own.max_side, self.proposals or own.proposals)


class Regions(Stage):
    """Objects of each image with box, class, score and the box head's feature, best first."""

    name, version = "regions", 1
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
            pa.field("classes", pa.list_(pa.int32()), metadata={"doc": "the detector's label; COCO's from 1"}),
            pa.field("class_names", pa.list_(pa.string())),
            pa.field("scores", pa.list_(pa.float32()), metadata={"doc": "of the class, 0 to 1, falling"}),
            pa.field("attributes", pa.list_(pa.string()), metadata={"doc": "null without attribute head"}),
            pa.field("attribute_scores", pa.list_(pa.float32()), metadata={"doc": "null without attribute head"}),
        ]
    )
    Config = RegionsConfig
    config: RegionsConfig
    packages = ("torch", "torchvision", "pillow")
    accelerator: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True
    batch_size = 16
    accelerator_batch_size = 64
    """Of 16 pictures of the sample few have one padded size: 3.7 a pass, of 64 10.7, and a small pass costs as much."""
    tolerance = 2e-3
    """Of the features' largest value, and of box coordinates and scores."""

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        if self.config.backend == "detectron2":
            vars(self)["packages"] = (*self.packages, "detectron2")

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``features`` (K, 1024 or 2048), the row of each box; 36 of 2048 are 147 kB an image."""
        return {"features": Tensor("float16", (None, DETECTORS[self.config.model].features))}

    def weight_names(self) -> tuple[str, ...]:
        """The checkpoint and its lists of names, or ``random:<seed>``."""
        own = DETECTORS[self.config.model].weights
        name = self.config.weights or own[0]
        return (name,) if weights.is_random(name) else (name, *own[1:])

    def check(self) -> None:
        """torch and torchvision, and detectron2 where it is asked for."""
        require("vision", "torch", "torchvision")
        if self.config.backend == "detectron2":
            from diptych.models.common.detectors_detectron2 import check

            check(self.config.model)

    def setup(self, device: str) -> None:
        """Load the network."""
        from diptych.models.common.detectors import Detector, load_detector
        from diptych.models.common.selection import Selection

        config, (name, *lists) = self.config, self.weight_names()
        source = weights_source(name)
        how = Selection(
            config.mode, config.score_threshold, config.count, config.min_boxes, config.max_boxes,
            config.nms_threshold, config.once,
        )  # fmt: skip
        files = [weights.path(n) for n in lists]
        if config.backend == "detectron2":
            from diptych.models.common.detectors_detectron2 import load

            loaded = load(config.model, source, config.sizes, files)
        else:
            loaded = load_detector(config.model, source, config.sizes, files)
        self._detector = Detector(loaded, how, device, config.precision, compiled=self.compiled)

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """Decode, resize and normalise in a pool of threads."""
        on = self._detector.device if self.config.decoder == "device" else None
        return decoded(batch["images.bytes"], self._prepared, on=on)

    def process(self, batch: Batch) -> Output:
        """Pictures of one padded size share a forward pass."""
        out = batch.output()
        good = accepted(out, batch.ready())
        for row, (width, height, _, made) in list(good.items()):
            if made is None:
                out.fail(row, "too_narrow", f"{width}x{height}: resized for the detector, too few pixels are left")
                del good[row]
        results = self._detector.find([made for *_, made in good.values()], [size for _, _, size, _ in good.values()])
        for (row, (width, height, (high, wide), _)), found in zip(good.items(), results, strict=True):
            if not found.finite:
                out.fail(row, "not_finite", "the network gave NaN or infinity for this picture")
                continue
            boxes = found.boxes * np.array([width / wide, height / high] * 2, np.float32)
            boxes = np.clip(boxes, 0, np.array([width, height] * 2, np.float32))
            attributes: dict[str, Any] = {"attributes": None, "attribute_scores": None}
            if found.attributes is not None and found.attribute_scores is not None:
                attributes["attributes"] = [self._detector.attributes[n] for n in found.attributes]
                attributes["attribute_scores"] = found.attribute_scores.tolist()
            out.set(
                row,
                width=width,
                height=height,
                boxes=boxes.tolist(),
                classes=found.labels.tolist(),
                class_names=[self._detector.names[n] for n in found.labels],
                scores=found.scores.tolist(),
                features=half(found.features),
                **attributes,
            )
        return out

    def _prepared(self, image: Image.Image) -> tuple[int, int, tuple[int, int], Any]:
        """Its size, (height, width) of what the network resizes, and its input or None when it does not fit."""
        side = self.config.pre_resize
        pixels = np.asarray(image) if side is None else stretched(image, side)
        high, wide = pixels.shape[:2]
        network = self._detector.network
        return image.width, image.height, (high, wide), network.prepare(pixels) if network.fits(wide, high) else None

    def close(self) -> None:
        """Forget the network."""
        vars(self).pop("_detector", None)
