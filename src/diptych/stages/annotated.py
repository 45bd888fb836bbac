"""The boxes that a source's annotators drew, as they lie in ``pairs.extra`` (JSON of the COCO source)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

__all__ = ["Annotated", "annotated"]


@dataclass(frozen=True)
class Annotated:
    """Boxes (K, 4) xyxy in pixels of the file, their class names, and the size they were drawn in, if it is known."""

    boxes: np.ndarray
    names: tuple[str, ...]
    size: tuple[int, int] | None = None


def annotated(extra: str | None) -> Annotated | str:
    """What the annotation holds, crowds left out; no annotation: no boxes. A string says what is wrong with it."""
    try:
        raw = json.loads(extra) if extra else {}
    except (ValueError, RecursionError) as error:
        return f"extra is no JSON: {error}"
    if not isinstance(raw, dict):
        return f"extra is {type(raw).__name__}, expected an object"
    boxes, names, crowd = (raw.get(key) or [] for key in ("boxes", "classes", "crowd"))
    for key, found in (("boxes", boxes), ("classes", names), ("crowd", crowd)):
        if not isinstance(found, list):
            return f"{key} is {type(found).__name__}, expected a list"
    lists = (isinstance(b, list) and len(b) == 4 and all(type(v) in (int, float) for v in b) for b in boxes)
    if not all(lists):
        return "boxes are not lists of four numbers"  # NumPy would read "7", true and two pairs, too
    try:
        found = np.asarray(boxes, np.float64).reshape(-1, 4)
    except OverflowError:
        return "boxes are not lists of four numbers"
    if not np.isfinite(found).all() or (found[:, 2:] < found[:, :2]).any():
        return "boxes are not x1 <= x2, y1 <= y2, finite"
    names, crowd = names or [""] * len(found), crowd or [0] * len(found)
    if len(names) != len(found) or len(crowd) != len(found):
        return f"{len(found)} boxes, {len(names)} classes, {len(crowd)} crowd flags"
    kept = [n for n in range(len(found)) if not crowd[n]]
    size = (
        (raw["width"], raw["height"])
        if isinstance(raw.get("width"), int) and isinstance(raw.get("height"), int)
        else None
    )
    return Annotated(found[kept], tuple(str(names[n]) for n in kept), size)
