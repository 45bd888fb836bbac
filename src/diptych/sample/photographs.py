"""Photographs that scikit-image ships: each use is a window of its own (place, size, mirror), at most 40 % of the
picture's area.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diptych.sample.seeding import rng

# File names in skimage/data of the wheel; read at run time, never copied.
PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
    "camera.png",
    "coins.png",
)
SUBJECTS = ("astronaut", "cat", "coffee cup", "motorcycle", "rocket", "galaxies", "tissue", "camera man", "coins")
_GRIDS = (
    (0.36, 7),
    (0.48, 4),
    (0.6, 3),
)  # side of the window as a share, places along a side: neighbours share at most three quarters
_PLACES = sum(count * count for _, count in _GRIDS)
CAPACITY = len(PHOTOGRAPHS) * _PLACES * 2
EVERY = 4  # one document in four asks for a photograph


@dataclass(frozen=True)
class Window:
    """A part of one photograph; `left`, `top` and `side` are shares of its width and height."""

    photograph: int
    left: float
    top: float
    side: float
    mirrored: bool
    tint: tuple[float, float, float]


def window(seed: int, slot: int) -> Window | None:
    """Return the window of the slot-th photograph of a site, or None when all distinct windows are used."""
    if slot >= CAPACITY:
        return None
    step = 1109  # prime and no divisor of CAPACITY: visits every window once, far apart
    place = (slot * step + rng(seed, "windows").randrange(CAPACITY)) % CAPACITY
    place, mirrored = divmod(place, 2)
    cell, photograph = divmod(place, len(PHOTOGRAPHS))
    for side, count in _GRIDS:
        if cell < count * count:
            row, column = divmod(cell, count)
            tint = rng(seed, "tint", slot)
            gains = (tint.uniform(0.86, 1.1), tint.uniform(0.9, 1.08), tint.uniform(0.86, 1.12))
            return Window(
                photograph,
                column * (1 - side) / (count - 1),
                row * (1 - side) / (count - 1),
                side,
                bool(mirrored),
                gains,
            )
        cell -= count * count
    raise AssertionError("a place lies outside the grids; _PLACES is wrong")


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _photograph(name: str) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        path = Path(str(resources.files("skimage.data") / name))
    except ModuleNotFoundError as error:
        raise ImportError(
            "the sample site takes its photographs from scikit-image: run `pip install scikit-image`"
        ) from error
    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((900, 900), Image.Resampling.BOX)
        return np.asarray(image)


@lru_cache(maxsize=4096)
def usable(photograph: int, left: float, top: float, side: float) -> bool:
    """Return whether a window shows enough to be told from a placeholder (empty sky is not)."""
    grey = _cut(photograph, left, top, side).mean(axis=2)
    blocks = [part.std() for half in np.array_split(grey, 3) for part in np.array_split(half, 3, axis=1)]
    return float(np.median(blocks)) > 12 and float(grey.std()) > 22 and 50 < float(grey.mean()) < 210


def _cut(photograph: int, left: float, top: float, side: float) -> NDArray[np.uint8]:
    whole = _photograph(PHOTOGRAPHS[photograph])
    height, width = whole.shape[:2]
    y, x = int(top * height), int(left * width)
    return whole[y : y + int(side * height), x : x + int(side * width)]


def pixels(part: Window, size: int = 400) -> NDArray[np.uint8]:
    """Return a window as uint8 [height, width, 3], its longer side `size` pixels, recoloured a little."""
    from PIL import Image

    cut = _cut(part.photograph, part.left, part.top, part.side)
    if part.mirrored:
        cut = cut[:, ::-1]
    image = Image.fromarray(np.ascontiguousarray(cut))
    scale = size / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(image, dtype=np.float32) * np.array(part.tint, dtype=np.float32), 0, 255).astype(np.uint8)


def published_size(seed: int, slot: int, part: Window) -> tuple[int, int]:
    """Return width and height at which the slot-th photograph is published."""
    longer = rng(seed, "photograph size", slot).choice((360, 400, 432, 464))
    height, width = _cut(part.photograph, part.left, part.top, part.side).shape[:2]
    return round(width * longer / max(width, height)), round(height * longer / max(width, height))
