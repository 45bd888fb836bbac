"""Textured backgrounds: muted gradients, soft clouds of noise and a pattern; never plain, so that perceptual hashes
differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Pairs of muted colours (top, bottom): none comes near the saturated colours of objects.
PALETTES = (
    ((176, 196, 214), (196, 204, 178)),
    ((206, 198, 186), (170, 176, 164)),
    ((184, 190, 206), (206, 196, 178)),
    ((168, 188, 186), (190, 198, 184)),
    ((212, 202, 196), (182, 170, 164)),
    ((158, 172, 190), (176, 184, 170)),
    ((196, 206, 196), (166, 178, 160)),
    ((204, 190, 196), (178, 172, 186)),
)

Floats = NDArray[np.float32]


def _clouds(rng: np.random.Generator, width: int, height: int, cells: int, strength: float) -> Floats:
    """Return smooth noise of `cells` cells along the longer side."""
    from PIL import Image

    rows, columns = max(3, cells * height // max(width, height)), max(3, cells * width // max(width, height))
    coarse = Image.fromarray(rng.uniform(-strength, strength, (rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def _pattern(rng: np.random.Generator, width: int, height: int, kind: int) -> Floats:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    step = float(rng.uniform(18, 46))
    angle = float(rng.uniform(0, np.pi))
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    if kind == 0:  # stripes
        return np.sin(along * (2 * np.pi / step)) * 9
    if kind == 1:  # soft checks
        return np.sign(np.sin(along * np.pi / step) * np.sin(across * np.pi / step)) * 6
    if kind == 2:  # dots
        return ((along % step - step / 2) ** 2 + (across % step - step / 2) ** 2 < (step / 5) ** 2) * np.float32(-16)
    if kind == 3:  # bricks
        row = np.floor(y / (step * 0.6))
        joint = ((x + (row % 2) * step * 0.6) % (step * 1.2) < 2) | (y % (step * 0.6) < 2)
        return joint * np.float32(-18)
    if kind == 4:  # hills
        crest = height * (0.45 + 0.12 * np.sin(x / (step * 2.3) + angle) + 0.05 * np.sin(x / step))
        return (y > crest) * np.float32(-24)
    if kind == 5:  # waves
        return np.sin(y / step * 5 + 2.5 * np.sin(x / step + angle)) * 8
    if kind == 6:  # rays
        return np.sin(np.arctan2(y - height * 0.4, x - width * rng.uniform(0.2, 0.8)) * 16) * 8
    return (rng.random((height, width), dtype=np.float32) > 0.93) * np.float32(-20)  # gravel


def background(rng: np.random.Generator, width: int, height: int, kind: int) -> NDArray[np.uint8]:
    """Return a textured picture, uint8 [height, width, 3]."""
    top, bottom = (np.array(value, dtype=np.float32) for value in PALETTES[int(rng.integers(len(PALETTES)))])
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    field = top * (1 - ramp) + bottom * ramp
    grey = _clouds(rng, width, height, 5, 34) + _clouds(rng, width, height, 13, 16) + _pattern(rng, width, height, kind)
    grey += rng.standard_normal((height, width), dtype=np.float32) * 3.5
    return np.clip(field + grey[:, :, None], 0, 255).astype(np.uint8)
