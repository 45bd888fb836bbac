"""How each class is drawn: on a patch of its own at three times the size, so that edges are smooth and boxes exact.

Every drawing reaches all four edges of the unit square; (0, 0) is its upper left corner.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from diptych.sample.lexicon import COLOURS

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = tuple[float, ...]
SUPERSAMPLING = 3
DARK: Colour = (42, 42, 48)
GLASS: Colour = (176, 208, 226)
METAL: Colour = (150, 154, 160)
WOOD: Colour = (116, 78, 46)


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour darkened (factor below 1) or moved towards white (above 1)."""
    if factor <= 1:
        return tuple(round(value * factor) for value in colour)  # type: ignore[return-value]
    return tuple(round(value + (255 - value) * (factor - 1)) for value in colour)  # type: ignore[return-value]


class Pen:
    """Draws in unit coordinates on one patch."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, width: int, height: int, colour: Colour, chance: random.Random
    ) -> None:
        self.draw, self.width, self.height = draw, width - 1, height - 1
        self.colour, self.chance = colour, chance
        self.line = max(2, round(min(width, height) * 0.02))
        luminance = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
        self.dark = shade(colour, 0.62) if luminance > 60 else shade(colour, 1.35)
        self.light = shade(colour, 1.35) if luminance < 220 else shade(colour, 0.86)
        self.edge = DARK if luminance > 60 else (96, 96, 104)

    def _scaled(self, points: Points) -> list[tuple[float, float]]:
        return [(x * self.width, y * self.height) for x, y in zip(points[::2], points[1::2], strict=True)]

    def polygon(self, *points: float, fill: Colour | None = None, edge: bool = True) -> None:
        self.draw.polygon(
            self._scaled(points), fill=fill or self.colour, outline=self.edge if edge else None, width=self.line
        )

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None = None,
        edge: bool = True,
        radius: float = 0.0,
    ) -> None:
        (a, b), (c, d) = self._scaled((x0, y0, x1, y1))
        outline = self.edge if edge else None
        self.draw.rounded_rectangle(
            (a, b, c, d), radius * min(self.width, self.height), fill or self.colour, outline, self.line
        )

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None, edge: bool = True) -> None:
        (a, b), (c, d) = self._scaled((x0, y0, x1, y1))
        self.draw.ellipse((a, b, c, d), fill or self.colour, self.edge if edge else None, self.line)

    def pie(self, x0: float, y0: float, x1: float, y1: float, start: int, end: int, fill: Colour | None = None) -> None:
        (a, b), (c, d) = self._scaled((x0, y0, x1, y1))
        self.draw.pieslice((a, b, c, d), start, end, fill or self.colour, self.edge, self.line)

    def stroke(self, *points: float, fill: Colour | None = None, width: float = 0.03) -> None:
        thick = max(2, round(width * min(self.width, self.height)))
        self.draw.line(self._scaled(points), fill=fill or self.edge, width=thick, joint="curve")

    def arc(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        start: int,
        end: int,
        fill: Colour | None = None,
        width: float = 0.03,
    ) -> None:
        (a, b), (c, d) = self._scaled((x0, y0, x1, y1))
        self.draw.arc((a, b, c, d), start, end, fill or self.edge, max(2, round(width * min(self.width, self.height))))

    def wheel(self, x: float, radius: float, aspect: float) -> None:
        """Draw a wheel that stands on the lower edge; `radius` is in units of the height."""
        rx = radius / aspect
        self.oval(x - rx, 1 - 2 * radius, x + rx, 1, DARK)
        self.oval(x - rx * 0.5, 1 - radius * 1.5, x + rx * 0.5, 1 - radius * 0.5, METAL)


@cache
def painters() -> dict[str, Callable[[Pen], None]]:
    """Return the drawing function of every class."""
    from diptych.sample import shapes, shapes_things

    return {**shapes.PAINTERS, **shapes_things.PAINTERS}


def draw_object(name: str, colour: str, width: int, height: int, variant: int, flipped: bool) -> Image.Image:
    """Return the RGBA patch of one object, exactly `width` x `height` pixels."""
    from PIL import Image, ImageDraw, ImageOps

    chance = random.Random(variant)
    base = COLOURS[colour]
    jitter = chance.uniform(-0.06, 0.06)
    tint = shade(base, 1 + jitter)
    big = Image.new("RGBA", (width * SUPERSAMPLING, height * SUPERSAMPLING), (*tint, 0))
    painters()[name](Pen(ImageDraw.Draw(big), big.width, big.height, tint, chance))
    patch = big.convert("RGBa").reduce(SUPERSAMPLING).convert("RGBA")
    return ImageOps.mirror(patch) if flipped else patch
