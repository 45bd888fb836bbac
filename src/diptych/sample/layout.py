"""Where objects stand: one pair may overlap (IoU above 0.2, the scene graph's threshold), all other objects keep
apart.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from diptych.sample.lexicon import CLASSES
from diptych.sample.scene import Box, Scene, SceneObject, intersection, iou

SIZES = ((480, 360), (480, 320), (448, 336), (400, 320), (360, 450), (384, 288), (432, 324), (464, 348), (360, 360))
_SKY = frozenset({"kite", "balloon", "bird"})
_SHARE = {1: 0.14, 2: 0.12, 3: 0.1, 4: 0.085, 5: 0.07, 6: 0.06, 7: 0.052}
BACKGROUNDS = 8


@dataclass(frozen=True)
class Thing:
    """A class and a colour that a picture has to show."""

    name: str
    colour: str


def _extent(thing: Thing, unit: float, scale: float = 1.0) -> tuple[int, int]:
    kind = CLASSES[thing.name]
    height = unit * kind.size**0.5 * scale / kind.aspect**0.5
    return max(24, round(height * kind.aspect)), max(24, round(height))


def _spot(draw: random.Random, extent: tuple[int, int], frame: Box, sky: bool, anywhere: bool) -> Box | None:
    width, height = extent
    left, top, right, bottom = frame
    if width > right - left or height > bottom - top:
        return None
    lowest = bottom - height
    middle = top + (lowest - top) // 2
    low, high = (top, lowest) if anywhere else ((top, middle) if sky else (middle, lowest))
    x, y = draw.randint(left, right - width), draw.randint(low, max(low, high))
    return x, y, x + width, y + height


def _pair(draw: random.Random, things: tuple[Thing, Thing], unit: float, frame: Box) -> tuple[Box, Box]:
    """Return boxes of a rear and a front object with an IoU of 0.24 to 0.42."""
    best: tuple[float, Box, Box] | None = None
    for attempt in range(400):
        scale = draw.uniform(0.75, 1.35)
        rear = _spot(draw, _extent(things[0], unit, 1.1), frame, things[0].name in _SKY, attempt > 100)
        extent = _extent(things[1], unit, 1.1 * scale)
        if rear is None:
            unit *= 0.95
            continue
        x = draw.randint(rear[0] - extent[0] // 2, rear[2] - extent[0] // 2)
        y = draw.randint(rear[1] - extent[1] // 3, rear[3] - extent[1] // 2)
        front = (x, y, x + extent[0], y + extent[1])
        if x < frame[0] or y < frame[1] or front[2] > frame[2] or front[3] > frame[3]:
            continue
        share = iou(rear, front)
        hidden = intersection(rear, front) / ((rear[2] - rear[0]) * (rear[3] - rear[1]))
        if 0.24 <= share <= 0.42 and hidden <= 0.6:
            return rear, front
        if share > 0.21 and (best is None or share < best[0]):
            best = (share, rear, front)
    if best is None:
        raise ValueError(
            f"sample scenes: {things[0].name} and {things[1].name} cannot overlap; change their aspect in lexicon.py"
        )
    return best[1], best[2]


def _apart(draw: random.Random, thing: Thing, unit: float, frame: Box, taken: list[Box]) -> Box:
    """Return a box that touches no other, smaller when there is little room."""
    scale = draw.uniform(0.85, 1.1)
    for attempt in range(1200):
        if attempt and attempt % 40 == 0:
            scale *= 0.93
        box = _spot(draw, _extent(thing, unit, scale), frame, thing.name in _SKY, attempt % 40 > 20)
        if box is not None:
            wide = (box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3)
            if not any(intersection(wide, other) for other in taken):
                return box
        elif attempt % 4 == 0:
            scale *= 0.95
    raise ValueError(f"sample scenes: no room for {thing.name} beside {len(taken)} objects; use a larger picture")


def arrange(
    draw: random.Random, things: list[Thing], overlapping: tuple[int, int] | None, *, strip: bool = False
) -> tuple[Scene, list[int], Box | None]:
    """Return a scene, where each thing stands in its paint order, and the strip that is left free for a banner.

    `overlapping` gives the indices of the rear and the front thing that have to overlap.
    """
    for attempt in range(20):
        try:
            return _arrange(draw, things, overlapping, strip, shrink=0.94**attempt)
        except ValueError:
            if attempt == 19:
                raise
    raise AssertionError("unreachable")


def _arrange(
    draw: random.Random, things: list[Thing], overlapping: tuple[int, int] | None, strip: bool, shrink: float
) -> tuple[Scene, list[int], Box | None]:
    width, height = draw.choice(SIZES)
    banner: Box | None = None
    frame: Box = (4, 4, width - 4, height - 4)
    if strip:
        tall = draw.randint(44, 52)
        if draw.random() < 0.6:
            banner, frame = (8, 6, width - 8, 6 + tall), (4, tall + 12, width - 4, height - 4)
        else:
            banner, frame = (8, height - 6 - tall, width - 8, height - 6), (4, 4, width - 4, height - tall - 12)
    unit = shrink * ((frame[2] - frame[0]) * (frame[3] - frame[1]) * _SHARE[max(1, min(7, len(things)))] * 1.25) ** 0.5
    boxes: dict[int, Box] = {}
    if overlapping is not None:
        rear, front = overlapping
        boxes[rear], boxes[front] = _pair(draw, (things[rear], things[front]), unit, frame)
    for index, thing in enumerate(things):
        if index not in boxes:
            boxes[index] = _apart(draw, thing, unit, frame, list(boxes.values()))
    order = sorted(boxes, key=lambda index: boxes[index][3])
    if overlapping is not None:
        rear, front = overlapping
        order.remove(front)
        order.append(front)
    objects = tuple(
        SceneObject(
            things[i].name, things[i].colour, boxes[i], flipped=draw.random() < 0.5, variant=draw.randrange(1000)
        )
        for i in order
    )
    places = [order.index(i) for i in range(len(things))]
    return Scene(width, height, draw.randrange(BACKGROUNDS), objects), places, banner
