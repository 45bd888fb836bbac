"""Sample pictures of a version with what is drawn on them, as small PNG files: for places that show no HTML."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from diptych.exceptions import DiptychError
from diptych.imaging import decode
from diptych.report.cards import CardMaker, Figure
from diptych.report.shapes import Layer
from diptych.report.shards import open_shard
from diptych.report.thumbnails import Thumbnails
from diptych.version import Version

__all__ = ["Picture", "draw_layers", "gallery"]

COLOURS = ("#d9480f", "#1c7ed6", "#2b8a3e", "#862e9c", "#e67700", "#0b7285")
SIDE = 320
LABELLED = 12
"""Shapes with a label; more would hide the picture."""


@dataclass(frozen=True)
class Picture:
    """One accepted picture with its boxes."""

    title: str
    caption: str
    record: str
    layers: tuple[str, ...]
    png: bytes


def gallery(version: Version, count: int = 6, budget: int = 1_200_000) -> list[Picture]:
    """At most ``count`` pictures and ``budget`` bytes, one a record, spread over the shards; no shard is read twice."""
    found: list[Picture] = []
    shards = version.manifest.shards
    size = 0
    for shard in range(0, shards, max(1, shards // count)):
        for picture in _of_shard(version, shard, -(-count // min(shards, count))):
            size += len(picture.png)
            if len(found) >= count or size > budget:
                return found
            found.append(picture)
    return found


def _of_shard(version: Version, shard: int, most: int) -> Iterator[Picture]:
    rows = open_shard(version, shard)
    maker = CardMaker(rows, {}, Thumbnails(side=32))
    made = 0
    for record, uses in rows.accepted.items():
        if not uses or made >= most:
            continue
        card = maker.card(record)
        figure = next((f for f in card.figures if f.image and f.refusal is None and f.outcome == "ok"), None)
        png = _draw(version, figure) if figure else None
        if figure and png:
            made += 1
            layers = tuple(layer.name for layer in figure.layers)
            yield Picture(card.title, figure.caption or figure.alt, record, layers, png)


def _draw(version: Version, figure: Figure) -> bytes | None:
    try:
        image = decode(version.blob(figure.image))
    except DiptychError:
        return None
    return draw_layers(image, figure.layers)


def draw_layers(image: Image.Image, layers: tuple[Layer, ...], side: int = SIDE) -> bytes:
    """The picture, at most ``side`` wide and high, with every layer in a colour of its own, as a PNG of 128 colours."""
    scale = min(1.0, side / max(image.size))
    small = image.convert("RGB").resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(small)
    font = ImageFont.load_default(10)
    for layer, colour in zip(layers, COLOURS * (1 + len(layers) // len(COLOURS)), strict=False):
        for n, shape in enumerate(layer.shapes):
            points = [(x * scale, y * scale) for x, y in shape.points]
            draw.line([*points, points[0]], fill=colour, width=2)
            if shape.label and n < LABELLED:
                x, y = min(p[0] for p in points), min(p[1] for p in points)
                place = (max(0.0, x), max(0.0, y - 12))
                draw.rectangle(draw.textbbox(place, shape.label, font=font), fill=colour)
                draw.text(place, shape.label, fill="white", font=font)
        for edge in layer.edges:
            ends = [(x * scale, y * scale) for x, y in (edge.start.centre, edge.end.centre)]
            draw.line(ends, fill=colour, width=1)
    buffer = io.BytesIO()
    small.quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
