"""The plan of a drawn scene: objects with boxes, a background, a banner; and what follows from it (overlap,
relations).
"""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneObject:
    """One drawn object; `box` is xyxy in pixels of the decoded picture, exclusive at the right and the bottom."""

    name: str
    colour: str
    box: Box
    flipped: bool = False
    variant: int = 0


@dataclass(frozen=True)
class Banner:
    """A line of text in a picture: `box` is the strip, `text_box` the glyphs."""

    text: str
    language: str
    box: Box
    size: int
    dark_on_light: bool
    face: int = 0
    keyphrase: bool = False


@dataclass(frozen=True)
class Scene:
    """A drawn picture; objects are in paint order, the last one lies in front."""

    width: int
    height: int
    background: int
    objects: tuple[SceneObject, ...]
    banner: Banner | None = None


def intersection(a: Box, b: Box) -> int:
    """Return the common area of two boxes in pixels."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def area(box: Box) -> int:
    """Return the area of a box in pixels."""
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes."""
    common = intersection(a, b)
    return common / (area(a) + area(b) - common) if common else 0.0


@dataclass(frozen=True)
class Relation:
    """`subject` and `object` index the scene's objects; predicates: overlaps, in_front_of, left_of, above."""

    subject: int
    predicate: str
    object: int
    iou: float


def relations(objects: tuple[SceneObject, ...], threshold: float = 0.2) -> tuple[Relation, ...]:
    """Return the relations of a scene: overlap edges (IoU above the threshold), which lies in front, left/above for
    separate boxes.
    """
    found: list[Relation] = []
    for first in range(len(objects)):
        for second in range(first + 1, len(objects)):
            a, b = objects[first].box, objects[second].box
            share = round(iou(a, b), 4)
            if share > threshold:
                found.append(Relation(first, "overlaps", second, share))
            if intersection(a, b):
                found.append(Relation(second, "in_front_of", first, share))
            elif a[2] <= b[0]:
                found.append(Relation(first, "left_of", second, 0.0))
            elif b[2] <= a[0]:
                found.append(Relation(second, "left_of", first, 0.0))
            elif a[3] <= b[1]:
                found.append(Relation(first, "above", second, 0.0))
            elif b[3] <= a[1]:
                found.append(Relation(second, "above", first, 0.0))
    return tuple(found)
