"""From a picture to a network's input as torchvision's reference transforms have it, bit for bit, without torch.

``stretched`` is ``Resize((side, side))``, ``centred`` is ``Resize(resize)`` and ``CenterCrop(side)``, all on Pillow
images with the bilinear filter. ``IMAGENET`` holds what ``ToTensor()`` and ``Normalize`` make of each of 256 levels;
pixels stay bytes, a quarter of the memory, until they are looked up in it: by ``normalised`` on the host, else on the
network's device (``NetworkStage.on_device``).
Pictures are decoded at full size: decoding JPEG files at a scale would give other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from diptych.imaging import ImageRefused
from diptych.stage import Output
from diptych.stages.decoders import decode_on
from diptych.stages.pool import decoded_once, mapped

__all__ = ["IMAGENET", "accepted", "centred", "decoded", "half", "normalised", "stretched"]

Prepared = TypeVar("Prepared")
_MOST = 40_000_000
"""Bytes of a picture that is resized as a whole before the crop; up to 16 times as long as wide it always is."""

IMAGENET = (
    np.arange(256, dtype=np.float32)[:, None] / np.float32(255) - np.array([0.485, 0.456, 0.406], np.float32)
) / np.array([0.229, 0.224, 0.225], np.float32)
"""(256, 3): the value of each level in each channel."""


def stretched(image: Image.Image, side: int) -> np.ndarray:
    """uint8 (side, side, 3): the whole picture, its aspect not kept."""
    if image.size == (side, side):
        return np.asarray(image)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def centred(image: Image.Image, side: int, resize: int) -> np.ndarray:
    """uint8 (side, side, 3): the middle square of the picture whose shorter side became ``resize`` >= side pixels.

    Where that picture would have more than 40 MB only the square is computed, which may differ by two levels.
    """
    short, long = sorted(image.size)
    scaled = int(resize * long / short)
    size = (scaled, resize) if image.width > image.height else (resize, scaled)
    left, top = (round((n - side) / 2.0) for n in size)
    if 3 * scaled * resize > max(_MOST, 3 * 16 * resize * resize):  # a line of pixels would become gigabytes
        (wide, high), (new_wide, new_high) = image.size, size
        x1, x2 = (x * wide / new_wide for x in (left, left + side))
        y1, y2 = (y * high / new_high for y in (top, top + side))
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, (x1, y1, x2, y2)))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def normalised(pixels: np.ndarray, levels: np.ndarray = IMAGENET) -> np.ndarray:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W), channels last in memory; ``levels`` is (256, 3)."""
    made = np.empty(pixels.shape, np.float32)
    for channel in range(3):
        made[..., channel] = np.take(levels[:, channel], pixels[..., channel])
    return np.moveaxis(made, -1, -3)


def half(values: np.ndarray) -> np.ndarray:
    """float16; what lies beyond its range becomes the largest finite value, NaN and infinity stay."""
    kept = np.clip(values, -65504, 65504)
    return np.where(np.isinf(values), values, kept).astype(np.float16)


def decoded(
    data: Sequence[bytes | None],
    prepare: Callable[[Image.Image], Prepared],
    *,
    on: str | None = None,
    decode: Callable[[bytes], Image.Image] = decoded_once,
) -> list[Prepared | ImageRefused]:
    """Each row's picture through ``prepare``, in a pool of threads; of stages side by side the first one decodes.

    ``on`` is a device that decodes the JPEG files among them.
    """
    there = [None] * len(data) if on is None else decode_on(on, data)

    def one(row: int) -> Prepared | ImageRefused:
        file, image = data[row], there[row]
        try:
            if file is None:
                raise ImageRefused("not_an_image", "no bytes")
            return prepare(decode(file) if image is None else image)
        except ImageRefused as error:
            return error

    return mapped(one, range(len(data)))


def accepted(out: Output, rows: Sequence[Prepared | ImageRefused]) -> dict[int, Prepared]:
    """Those of ``rows`` that have a picture; the others fail in ``out``."""
    found: dict[int, Prepared] = {}
    for row, value in enumerate(rows):
        if isinstance(value, ImageRefused):
            out.fail(row, value.code, str(value))
        else:
            found[row] = value
    return found
