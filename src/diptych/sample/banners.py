"""Readable text in pictures: horizontal lines of at least 18 px on a strip, dark on light or light on dark."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from diptych.sample.fonts import font, text_box
from diptych.sample.scene import Banner, Box

if TYPE_CHECKING:
    from PIL import Image

MINIMUM_SIZE = 18
_LIGHT = ((250, 246, 232), (240, 244, 250), (250, 240, 190), (236, 248, 236))
_DARK = ((28, 34, 60), (60, 18, 24), (18, 54, 40), (30, 30, 34))


def glyph_box(banner: Banner) -> Box:
    """Return the box of the glyphs: the line is centred in its strip."""
    left, top, right, bottom = text_box(banner.text, banner.language, banner.size, banner.face)
    x = (banner.box[0] + banner.box[2] - (right - left)) // 2
    y = (banner.box[1] + banner.box[3] - (bottom - top)) // 2
    return x, y, x + right - left, y + bottom - top


def fit(draw: random.Random, text: str, language: str, strip: Box, *, keyphrase: bool = False) -> Banner | None:
    """Return the banner that shows `text` in a strip, or None when it does not fit at 18 px."""
    face, dark_on_light = draw.randrange(3), draw.random() < 0.6
    for size in range(draw.randint(24, 32), MINIMUM_SIZE - 1, -1):
        left, top, right, bottom = text_box(text, language, size, face)
        wide, tall = right - left, bottom - top
        if wide + 20 <= strip[2] - strip[0] and tall + 12 <= strip[3] - strip[1]:
            room = strip[2] - strip[0] - wide - 20
            x0 = strip[0] + draw.randint(0, room)
            box = (x0, strip[1], x0 + wide + 20, strip[3])
            return Banner(text, language, box, size, dark_on_light, face, keyphrase)
    return None


def paint(image: Image.Image, banner: Banner) -> None:
    """Draw the strip and its line on a picture."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(image)
    shade = sum(map(ord, banner.text)) % 4
    paper, ink = (_LIGHT[shade], _DARK[shade]) if banner.dark_on_light else (_DARK[shade], _LIGHT[shade])
    x0, y0, x1, y1 = banner.box
    pen.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), 5, fill=paper, outline=ink, width=2)
    left, top, _, _ = text_box(banner.text, banner.language, banner.size, banner.face)
    x, y, _, _ = glyph_box(banner)
    pen.text((x - left, y - top), banner.text, font=font(banner.language, banner.size, banner.face), fill=ink)
