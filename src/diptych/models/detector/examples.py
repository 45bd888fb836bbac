"""Pictures with boxes to learn from: of the sample site, or of a COCO file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from diptych.exceptions import UsageError

__all__ = ["Example", "Examples", "coco_examples", "sample_examples"]


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
        pictures = {int(p["id"]): p for p in raw["images"]}
        annotations = list(raw["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{instances}: expected an object with categories, images and annotations as COCO's instances files have"
            f" them, found {type(error).__name__}: {error}"
        ) from error
    if not classes or not annotations:
        raise UsageError(f"{instances}: {len(classes)} categories and {len(annotations)} annotations; nothing to learn")
    numbers = {key: n + 1 for n, key in enumerate(classes)}
    attributes = tuple(sorted({a for item in annotations if (a := _attribute(item))}))
    objects: dict[int, list[tuple[list[float], int, int]]] = {key: [] for key in pictures}
    for n, item in enumerate(annotations):
        try:
            x, y, wide, high = (float(v) for v in item["bbox"])
            mine, label = objects[int(item["image_id"])], numbers[int(item["category_id"])]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{instances}, annotation {n}: expected bbox [x, y, width, height], a known image_id and category_id,"
                f" found {json.dumps(item)[:200]}"
            ) from error
        if not item.get("iscrowd") and wide >= 1 and high >= 1:
            named = _attribute(item)
            mine.append(([x, y, x + wide, y + high], label, attributes.index(named) if named else -1))
    found = []
    for key, picture in pictures.items():
        boxes, labels, named = zip(*objects[key], strict=True) if objects[key] else ((), (), ())
        file = images / str(picture["file_name"])
        if not file.is_file():
            raise UsageError(f"{instances} names {picture['file_name']}, which is not in {images}")
        found.append(
            Example(
                str(picture["file_name"]),
                file.read_bytes,
                int(picture["width"]),
                int(picture["height"]),
                np.array(boxes, np.float32).reshape(-1, 4),
                np.array(labels, np.int64),
                np.array(named, np.int64),
            )
        )
    return Examples(f"COCO file {instances.name}", tuple(found), tuple(classes.values()), attributes)


def _attribute(item: object) -> str:
    """The first attribute of an annotation, or nothing."""
    given = item.get("attributes") if isinstance(item, dict) else None
    return str(given[0]) if isinstance(given, list) and given else ""
