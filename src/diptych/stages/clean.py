"""Which fetched images are worth keeping, and the facts later stages need about each.

Rules in the order they are applied; the first that fires gives the row its reason:

=================  ==============================  ======================================
rule               value                           threshold
=================  ==============================  ======================================
``not_an_image``   -                               -
``undecodable``    -                               -
``too_large``      pixels, or bytes of the file    ``max_pixels``, ``max_bytes``
``animated``       frames                          1 (unless ``allow_animated``)
``advertisement``  -  (the text names the size)    ``advertisement_sizes``
``aspect_ratio``   longer by shorter side          ``max_aspect_ratio``
``thumbnail``      the shorter side in pixels      ``min_side``
``uniform``        uniformity                      ``max_uniformity``
=================  ==============================  ======================================

A threshold of None (or an empty list) switches its rule off. A rejected row keeps the facts known so far; one that a
person keeps (``overrides.csv``) is described whatever the rules say, if it can be decoded at all.
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
from PIL import Image
from pydantic import Field

from diptych.imaging import MAX_PIXELS, ImageFacts, ImageRefused, decode, probe
from diptych.stage import Batch, Output, RowState, Stage, StageConfig, Status
from diptych.stages.perceptual import phash, thumbnail, uniformity, window_hashes
from diptych.stages.pool import mapped

__all__ = ["Clean", "CleanConfig"]

BANNERS = (
    (728, 90), (970, 90), (970, 250), (468, 60), (234, 60), (320, 50), (320, 100), (300, 50), (300, 100),
    (300, 250), (336, 280), (250, 250), (180, 150), (300, 600), (160, 600), (120, 600), (120, 240), (300, 1050),
    (88, 31),
)  # fmt: skip
"""Standard advertisement sizes; 200x200 and 125x125 are left out because many photographs have them."""

_ENOUGH = 128
"""Shorter side, in pixels, of what hash, thumbnail and uniformity are computed from."""


class CleanConfig(StageConfig):
    """Thresholds of the rules; None switches a rule off."""

    max_pixels: int = Field(50_000_000, ge=1, le=MAX_PIXELS, description="pixels above which nothing is decoded")
    max_bytes: int | None = Field(50_000_000, ge=1, description="largest file")
    allow_animated: bool = Field(False, description="keep animations; later stages see the first frame")
    min_side: int | None = Field(64, ge=1, description="smallest allowed shorter side, pixels")
    max_aspect_ratio: float | None = Field(5.0, ge=1, description="largest allowed longer : shorter side")
    advertisement_sizes: tuple[tuple[int, int], ...] = Field(BANNERS, description="refused width x height")
    max_uniformity: float | None = Field(0.97, gt=0, le=1, description="largest share of pixels of one colour")


class Clean(Stage):
    """Decodes every fetched image, applies the rules and describes what it keeps."""

    name, version = "clean", 2
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema(
        [
            pa.field("width", pa.int32(), metadata={"doc": "pixels, upright"}),
            pa.field("height", pa.int32(), metadata={"doc": "pixels, upright"}),
            pa.field("format", pa.string(), metadata={"doc": "as sniffed from the content"}),
            pa.field("mode", pa.string(), metadata={"doc": "Pillow's name of the stored colour mode"}),
            pa.field("frames", pa.int32()),
            pa.field("bytes", pa.int64(), metadata={"doc": "size of the file"}),
            pa.field("uniformity", pa.float64(), metadata={"doc": "share of pixels near the median colour"}),
            pa.field("phash", pa.string(), metadata={"doc": "64-bit DCT hash, 16 hex digits"}),
            pa.field(
                "window_hashes", pa.list_(pa.string()), metadata={"doc": "the same of inner windows: 5, 7.5, 10 % off"}
            ),
            pa.field("thumbnail", pa.binary(), metadata={"doc": "32x32 grey, 8x8 Cb, 8x8 Cr, uint8"}),
        ]
    )
    Config = CleanConfig
    config: CleanConfig
    packages = ("pillow",)
    fetched: ClassVar[bool] = True
    gate: ClassVar[bool] = True

    def process(self, batch: Batch) -> Output:
        """Rows are independent: each is decoded once, in a pool of threads."""
        out = batch.output()
        kept = batch.kept or (False,) * len(batch)
        for row, (values, state) in enumerate(mapped(self._row, list(zip(batch["images.bytes"], kept, strict=True)))):
            out.set(row, **values)
            out.states[row] = state
        return out

    def _row(self, item: tuple[bytes | None, bool]) -> tuple[dict[str, object], RowState]:
        data, kept = item
        if data is None:
            return {}, _refusal("not_an_image", "no bytes")
        config = self.config
        values: dict[str, object] = {"bytes": len(data)}
        state = None
        if config.max_bytes is not None and len(data) > config.max_bytes:
            state = _refusal("too_large", f"{len(data)} bytes", len(data), config.max_bytes)
            if not kept:
                return values, state
        try:
            facts = probe(data)
            values |= {"width": facts.width, "height": facts.height, "frames": facts.frames}
            values |= {"format": facts.format, "mode": facts.mode}
            if facts.width * facts.height <= config.max_pixels:
                state = state or self._judge(facts)
            elif kept:
                size = f"{facts.width}x{facts.height}"
                state = state or _refusal("too_large", size, facts.width * facts.height, config.max_pixels)
            if state is not None and not kept:
                return values, state
            image = decode(data, MAX_PIXELS if kept else config.max_pixels, at_least=_ENOUGH)
        except ImageRefused as error:
            return values, _refusal(error.code, str(error), error.value, error.limit)
        values, found = self._describe(image, values)
        return values, state or found

    def _judge(self, facts: ImageFacts) -> RowState | None:
        """The rules that a header can break."""
        config = self.config
        short, long = sorted((facts.width, facts.height))
        if facts.animated and not config.allow_animated:
            return _refusal("animated", f"{facts.frames} frames", facts.frames, 1)
        ratio = long / max(1, short)
        size = (facts.width, facts.height)
        if size in config.advertisement_sizes:
            return _refusal("advertisement", f"{size[0]}x{size[1]} is a standard advertisement size")
        if config.max_aspect_ratio is not None and ratio > config.max_aspect_ratio:
            return _refusal("aspect_ratio", f"{size[0]}x{size[1]}", ratio, config.max_aspect_ratio)
        if config.min_side is not None and short < config.min_side:
            return _refusal("thumbnail", f"{size[0]}x{size[1]}", short, config.min_side)
        return None

    def _describe(self, image: Image.Image, values: dict[str, object]) -> tuple[dict[str, object], RowState]:
        share = uniformity(image)
        values |= {"uniformity": share, "phash": phash(image), "thumbnail": thumbnail(image)}
        values["window_hashes"] = window_hashes(image)
        limit = self.config.max_uniformity
        if limit is not None and share > limit:
            return values, _refusal("uniform", "nearly one colour", share, limit)
        return values, RowState()


def _refusal(rule: str, text: str, value: float | None = None, threshold: float | None = None) -> RowState:
    return RowState(
        Status.REJECTED,
        rule,
        text,
        None if value is None else float(value),
        None if threshold is None else float(threshold),
    )
