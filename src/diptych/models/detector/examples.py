"""Pictures with boxes to learn from: of the sample site, or of a COCO file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from diptych.exceptions import UsageError
from diptych.imaging import ImageRefused, decode_array, misplaced

__all__ = ["Example", "Examples", "coco_examples", "pixels", "sample_examples"]

_FAR = 1e9
"""Pixels; a box with a larger coordinate, infinity, or NaN is a mistake."""


@dataclass(frozen=True)
class Example:
    """A picture and its objects: boxes (K, 4) xyxy in pixels, labels from 1, attributes from 0 or -1 for unknown."""

    name: str
    read: Callable[[], bytes]
    width: int
    height: int
    boxes: np.ndarray
    labels: np.ndarray
    attributes: np.ndarray
    stored: bool = False
    """Boxes are in pixels of the file, as COCO's; else of the upright picture."""


@dataclass(frozen=True)
class Examples:
    """Pictures, and the names of what is in them; ``source`` says where they come from."""

    source: str
    items: tuple[Example, ...]
    classes: tuple[str, ...]
    attributes: tuple[str, ...] = ()


def sample_examples(documents: int, seed: int, start: int = 0) -> Examples:
    """The pictures that a perfect cleaner keeps of some documents of a sample site, as the site serves them.

    Attributes are colours; of a picture stored in grey they are unknown. Photographs and posters have no objects.
    """
    from diptych.sample import Site
    from diptych.sample.lexicon import CLASSES, COLOURS

    classes, colours = tuple(CLASSES), tuple(COLOURS)
    site = Site(start + documents, seed)
    found = []
    for index in range(start, start + documents):
        pages = site.document(index).images
        for image, truth in zip(pages, site.truth(index).images, strict=True):
            if not truth.keep or truth.shared_with:
                continue
            seen = [colours.index(o.colour) if truth.colours_visible else -1 for o in truth.objects]
            found.append(
                Example(
                    truth.path,
                    partial(site.image_bytes, image),
                    truth.width,
                    truth.height,
                    np.array([o.box for o in truth.objects], np.float32).reshape(-1, 4),
                    np.array([classes.index(o.name) + 1 for o in truth.objects], np.int64),
                    np.array(seen, np.int64),
                )
            )
    return Examples(f"sample seed {seed}, documents {start} to {start + documents - 1}", tuple(found), classes, colours)


def coco_examples(instances: Path, images: Path) -> Examples:
    """The pictures of an ``instances_*.json``; boxes of crowds and boxes without area are left out.

    ``attributes`` of an annotation, when it is a list of names, counts by its first one: the attributes of the file
    are all names that occur. :class:`UsageError` names file and entry.
    """
    try:
        raw = json.loads(instances.read_text())
        classes = {int(c["id"]): str(c["name"]) for c in sorted(raw["categories"], key=lambda c: int(c["id"]))}
        entries, annotations = list(raw["images"]), list(raw["annotations"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{instances}: expected an object with categories, images and annotations as COCO's instances files have"
            f" them, found {type(error).__name__}: {error}"
        ) from error
    if not classes or not annotations:
        raise UsageError(f"{instances}: {len(classes)} categories and {len(annotations)} annotations; nothing to learn")
    numbers = {key: n + 1 for n, key in enumerate(classes)}
    attributes = tuple(sorted({a for item in annotations if (a := _attribute(item))}))
    pictures = dict(_picture(item, f"{instances}, image {n}") for n, item in enumerate(entries))
    objects: dict[int, list[tuple[list[float], int, int]]] = {key: [] for key in pictures}
    for n, item in enumerate(annotations):
        try:
            x, y, wide, high = (float(v) for v in item["bbox"])
            mine, label = objects[int(item["image_id"])], numbers[int(item["category_id"])]
            if not all(abs(v) <= _FAR for v in (x, y, wide, high)):
                raise ValueError(f"a box of {wide} x {high} at {x}, {y}")
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UsageError(
                f"{instances}, annotation {n}: expected bbox [x, y, width, height], four numbers of pixels, a known"
                f" image_id and category_id, found {json.dumps(item)[:200]}; correct it or leave it out"
            ) from error
        if not item.get("iscrowd") and wide >= 1 and high >= 1:
            named = _attribute(item)
            mine.append(([x, y, x + wide, y + high], label, attributes.index(named) if named else -1))
    found = []
    for key, (name, wide, high) in pictures.items():
        boxes, labels, named = zip(*objects[key], strict=True) if objects[key] else ((), (), ())
        file = images / name
        if not file.is_file():
            raise UsageError(f"{instances} names {name}, which is not in {images}; put it there or leave it out")
        found.append(
            Example(
                name,
                file.read_bytes,
                wide,
                high,
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array(labels, np.int64),
                np.array(named, np.int64),
                stored=True,
            )
        )
    return Examples(f"COCO file {instances.name}", tuple(found), tuple(classes.values()), attributes)


def _picture(item: Any, where: str) -> tuple[int, tuple[str, int, int]]:
    """An image's number and its file, width and height."""
    try:
        found = int(item["id"]), (str(item["file_name"]), int(item["width"]), int(item["height"]))
        if min(found[1][1:]) < 1:
            raise ValueError("a picture without pixels")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UsageError(
            f"{where}: expected id, file_name, width and height, the last two in pixels, found"
            f" {json.dumps(item)[:200]}; correct it or leave it out"
        ) from error
    return found


def pixels(example: Example, fits: Callable[[int, int], bool]) -> np.ndarray:
    """The picture as uint8 (H, W, 3); ``fits`` is the network's.

    :class:`UsageError` when it cannot be decoded, has another size than its entry says, is turned by EXIF while its
    boxes are not, or does not fit.
    """
    try:
        data = example.read()
        found, turned = decode_array(data), misplaced(data) if example.stored and len(example.labels) else ""
    except ImageRefused as error:
        raise UsageError(f"{example.name}: {error}; leave the picture out or repair it") from error
    if turned:
        raise UsageError(f"{example.name}: {turned}, or leave it out")
    high, wide = found.shape[:2]
    if (wide, high) != (example.width, example.height):
        raise UsageError(
            f"{example.name}: its entry says {example.width}x{example.height} pixels, decoded are {wide}x{high}; its"
            " boxes would lie elsewhere (store a picture that EXIF turns upright)"
        )
    if not fits(wide, high):
        raise UsageError(
            f"{example.name}: expected a picture that keeps a pixel on its shorter side when resized for the detector,"
            f" found {wide}x{high}; leave it out or choose a larger --side"
        )
    return found


def _attribute(item: object) -> str:
    """The first attribute of an annotation, or nothing."""
    given = item.get("attributes") if isinstance(item, dict) else None
    return str(given[0]) if isinstance(given, list) and given else ""
