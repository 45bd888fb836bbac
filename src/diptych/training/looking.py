"""Pictures of what a model looked at: heat over a grid, boxes with weights and words, the picture that was chosen.

One PNG a row, ``<id>.png``: its pictures side by side, each at most ``SIDE`` pixels, below them what the model said.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diptych.exceptions import NotFound, UsageError
from diptych.imaging import decode
from diptych.training.assignment import Assignment
from diptych.training.evaluation import fitted
from diptych.training.feed import Feed
from diptych.training.look import Look, Mark
from diptych.training.phase import Stream
from diptych.training.predicting import resting
from diptych.training.task import Line, Task

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["MOST", "draw_lines", "draw_look", "draw_row"]

SIDE = 480
MARGIN = 8
TEXT = 15
MOST = 200
"""Rows that are drawn at most; more pictures than anybody looks at."""
_HOT, _CHOSEN, _INK, _PAPER = (214, 66, 36), (20, 140, 70), (25, 30, 40), (255, 255, 255)
_SHOWN = ("predicted", "image_file", "cmi", "sc", "cla", "probabilities")


def draw_lines(
    assignment: Assignment, task: Task, version: Version, stream: Stream, lines: Sequence[Line], folder: Path
) -> int:
    """Draw the first :data:`MOST` predicted rows; how many were drawn."""
    said = {str(line["id"]): line for line in lines if "failed" not in line}
    wanted = set(list(said)[:MOST])
    extra = tuple(name for name in task.look_fields() if name not in stream.fields)
    fabric, module = fitted(assignment, task)
    stream = replace(stream, fields=(*stream.fields, *extra))
    feed = _WithSamples(version, task, "scored", stream, split=None, shuffle=False, keys=wanted)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = 0
    with contextlib.closing(feed):
        for samples, batch in feed:
            with resting(fabric, module):
                looks = task.looks(module, samples, batch.to(fabric.device))
            if len(looks) != len(samples):
                raise UsageError(f"model {task.name} draws no pictures of what it looks at (Task.looks)")
            for sample, seen in zip(samples, looks, strict=True):
                line = said[str(sample["key"])]
                pictures = {look.image: _decoded(version, look.image) for look in seen}
                if pictures:
                    draw_row(seen, pictures, _lines_of(line)).save(folder / f"{str(line['id']).replace('/', '-')}.png")
                    drawn += 1
    return drawn


class _WithSamples(Feed):
    """Batches with the samples they were made of."""

    def __init__(self, version: Version, task: Task, name: str, stream: Stream, **settings: Any) -> None:
        super().__init__(version, task, name, stream, **settings)
        self._collate = lambda samples: (samples, task.collate(samples, name))


def _decoded(version: Version, key: str) -> Image.Image:
    try:
        return decode(version.blob(key))
    except NotFound:
        raise NotFound(f"picture {key} is not in {version!r}: its bytes were collected") from None


def draw_row(looks: Sequence[Look], pictures: Mapping[str, Image.Image], text: Iterable[str]) -> Image.Image:
    """The looks side by side over the lines of text."""
    tiles = [draw_look(look, pictures[look.image]) for look in looks]
    width = max(sum(t.width + MARGIN for t in tiles) + MARGIN, 420)
    wrapped = [part for line in text for part in _wrap(line, width - 2 * MARGIN)]
    top = max(t.height for t in tiles) + 2 * MARGIN
    page = Image.new("RGB", (width, top + len(wrapped) * (TEXT + 6) + MARGIN), _PAPER)
    at = MARGIN
    for tile in tiles:
        page.paste(tile, (at, MARGIN))
        at += tile.width + MARGIN
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(wrapped):
        draw.text((MARGIN, top + number * (TEXT + 6)), line, _INK, _font(line))
    return page


def draw_look(look: Look, picture: Image.Image) -> Image.Image:
    """One picture with its heat or its boxes; the chosen one has a green frame."""
    full = picture.size
    tile = picture.copy()
    tile.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if look.grid:
        tile = _heat(tile, np.asarray(look.grid, np.float64))
    draw = ImageDraw.Draw(tile)
    strongest = max((mark.weight for mark in look.marks), default=0.0) or 1.0
    scale = tile.size if look.relative else (tile.width / full[0], tile.height / full[1])
    for mark in sorted(look.marks, key=lambda m: m.weight):
        _mark(draw, mark, scale, mark.weight / strongest)
    if look.caption:
        _label(draw, (4, tile.height - TEXT - 8), look.caption)
    if look.chosen:
        draw.rectangle((0, 0, tile.width - 1, tile.height - 1), outline=_CHOSEN, width=6)
    return tile


def _heat(tile: Image.Image, grid: np.ndarray) -> Image.Image:
    """Weights as red over a darkened picture, relative to the smallest and largest of them."""
    low, high = float(grid.min()), float(grid.max())
    share = (grid - low) / (high - low) if high > low else np.full_like(grid, 0.5)
    mask = Image.fromarray((share * 190).astype(np.uint8)).resize(tile.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", tile.size, _HOT), tile, mask)


def _mark(draw: ImageDraw.ImageDraw, mark: Mark, scale: tuple[float, float], share: float) -> None:
    x1, y1, x2, y2 = (float(v) * scale[n % 2] for n, v in enumerate(mark.box))
    grey = 150
    colour = tuple(round(grey + (hot - grey) * share) for hot in _HOT)
    draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=1 + round(3 * share))
    if mark.label:
        _label(draw, (x1 + 2, y1 + 2), mark.label)


def _label(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str) -> None:
    font = _font(text)
    draw.rectangle(draw.textbbox(place, text, font), fill=_PAPER)
    draw.text(place, text, _INK, font)


def _lines_of(line: Line) -> list[str]:
    """What the model said, as text."""
    found = [f"{name}: {_plain(line[name])}" for name in _SHOWN if line.get(name) not in (None, [], "")]
    return [str(line.get("input", line["id"])), *found]


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "; ".join(str(v) for v in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items())
    return json.dumps(value, ensure_ascii=False)


def _wrap(text: str, width: int) -> list[str]:
    font, lines, words = _font(text), [""], text.split(" ")
    for word in words:
        for piece in [word] if font.getlength(word) <= width else list(word):
            gap = " " if lines[-1] and piece is word else ""
            if lines[-1] and font.getlength(lines[-1] + gap + piece) > width:
                lines.append(piece)
            else:
                lines[-1] += gap + piece
    return lines


def _font(text: str) -> Any:
    """Chinese glyphs where the text has any and the sample's font is there."""
    from diptych.sample.fonts import font

    language = "zh" if any("\u2e80" <= c <= "\u9fff" for c in text) else "en"
    try:
        return font(language, TEXT, 1)
    except (ImportError, OSError):
        return ImageFont.load_default(TEXT)
