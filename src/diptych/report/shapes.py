"""What can be drawn on a picture, found by form and not by stage: boxes, polygons, and edges between boxes.

A stage's column is drawn when its values look like one of these, so that later stages show up unasked:

- a list of structs with ``polygon`` or ``points`` (x, y pairs, flat or nested), ``box`` (xyxy) or ``bbox`` (x, y,
  width, height);
- a list of structs with ``x0 y0 x1 y1`` (or ``left top right bottom``);
- a column or ragged tensor named ``box`` or ``boxes`` of n x 4 (xyxy), labelled by list columns of the same length;
- edges: a list of structs with two indices (``subject object``, ``source target``, ``a b``, ``i j``) into the boxes
  of the same stage or of a stage that it reads.

Annotated boxes are those in the JSON that a source keeps beside a picture (``boxes``). All are in pixels of the
decoded picture.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.records import json_object

__all__ = ["Edge", "Layer", "Shape", "annotated_layer", "edges_of", "stage_layers"]

MAX_SHAPES = 100
_LABELS = ("text", "label", "name", "class_name", "class", "object", "category", "phrase")
_EXTRA = ("attribute", "colour", "color")
_SCORES = ("confidence", "score", "probability")
_ENDS = (("subject", "object"), ("source", "target"), ("head", "tail"), ("a", "b"), ("i", "j"))
_PREDICATES = ("predicate", "relation", "label", "name", "kind")
_CORNERS = (("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"), ("xmin", "ymin", "xmax", "ymax"))


@dataclass(frozen=True)
class Shape:
    """A closed polygon in pixels with what it is called."""

    points: tuple[tuple[float, float], ...]
    label: str = ""
    score: float | None = None

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the bounding box."""
        xs, ys = zip(*self.points, strict=True)
        return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

    def label_at(self, unit: float, height: float) -> tuple[float, float]:
        """Where the label begins: above the shape, else under it, else inside; ``unit`` is a screen pixel."""
        top, bottom = min(y for _, y in self.points), max(y for _, y in self.points)
        inside = max(0.0, top) + 12 * unit
        below = bottom + 12 * unit if bottom + 14 * unit <= height else inside
        return max(0.0, min(x for x, _ in self.points)), top - 3 * unit if top >= 13 * unit else below

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{x:.0f},{y:.0f}" for x, y in self.points)


@dataclass(frozen=True)
class Edge:
    """A named relation between two shapes, by their positions in the layer."""

    start: Shape
    predicate: str
    end: Shape


@dataclass(frozen=True)
class Layer:
    """Shapes of one origin: ``annotated``, or ``stage.column``."""

    name: str
    shapes: tuple[Shape, ...]
    edges: tuple[Edge, ...] = ()

    @property
    def labels(self) -> list[tuple[str, int]]:
        """The distinct labels with their numbers, in order of first appearance."""
        return list(Counter(s.label for s in self.shapes if s.label).items())


def annotated_layer(*extras: str) -> Layer | None:
    """The boxes that a source's JSON gives, from the first text that has some."""
    for extra in extras:
        value = json_object(extra)
        items = value.get("boxes") or value.get("objects")
        if isinstance(items, list):
            names = next((value[n] for n in ("labels", "classes", "names") if value.get(n)), ())
            shapes = []
            for n, item in enumerate(items[:MAX_SHAPES]):
                given = names[n] if isinstance(names, list) and n < len(names) else ""
                try:
                    shape = _shape(item) if isinstance(item, dict) else _box(item, str(given))
                except (OverflowError, RecursionError):  # a number of hundreds of digits, boxes in boxes in boxes
                    shape = None
                if shape is not None:
                    shapes.append(shape)
            if shapes:
                return Layer("annotated", tuple(shapes))
    return None


def stage_layers(stage: str, values: Mapping[str, Any]) -> list[Layer]:
    """Every layer that one row's values (columns and tensors) contain."""
    layers = []
    for name, value in values.items():
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 4 and name in ("box", "boxes"):
            value = value[:MAX_SHAPES].astype(np.float64).tolist()
        if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
            continue
        items = value[:MAX_SHAPES]
        if isinstance(items[0], Mapping):
            found = [s for s in map(_shape, items) if s is not None]
        elif name in ("box", "boxes"):
            labels = _parallel(values, len(value), _LABELS)
            extra = _parallel(values, len(value), _EXTRA)
            found = []
            for n, item in enumerate(items):
                shape = _box(item, " ".join(str(x[n]) for x in (extra, labels) if x and x[n]))
                if shape is not None:
                    found.append(shape)
        else:
            continue
        if found:
            layers.append(Layer(f"{stage}.{name}", tuple(found)))
    return layers


def edges_of(values: Mapping[str, Any], shapes: Sequence[Shape]) -> tuple[Edge, ...]:
    """The edges that one row's values give between shapes; indices outside are left out."""
    found = []
    for value in values.values():
        if not isinstance(value, Sequence) or not value or not isinstance(value[0], Mapping):
            continue
        ends = next((e for e in _ENDS if all(isinstance(value[0].get(n), int) for n in e)), None)
        if ends is None:
            continue
        for item in value[: 2 * MAX_SHAPES]:
            a, b = (item.get(n) for n in ends)
            if isinstance(a, int) and isinstance(b, int) and 0 <= a < len(shapes) and 0 <= b < len(shapes):
                found.append(Edge(shapes[a], str(_first(item, _PREDICATES) or ""), shapes[b]))
    return tuple(found)


def _shape(item: Mapping[str, Any]) -> Shape | None:
    label = " ".join(str(x) for x in (_first(item, _EXTRA), _first(item, _LABELS)) if x)
    score = _first(item, _SCORES)
    score = float(score) if isinstance(score, int | float) else None
    points = item.get("polygon") or item.get("points")
    if points is not None:
        found = _points(points)
        return Shape(found, label, score) if found else None
    if item.get("box") is not None:
        return _box(item["box"], label, score)
    bbox = item.get("bbox")
    if bbox is not None and _is_numbers(bbox):
        x, y, w, h = bbox
        return _box((x, y, x + w, y + h), label, score)
    corners = next((c for c in _CORNERS if all(isinstance(item.get(n), int | float) for n in c)), None)
    return _box([item[n] for n in corners], label, score) if corners else None


def _box(item: Any, label: str = "", score: float | None = None) -> Shape | None:
    if isinstance(item, Mapping):
        return _shape(item)
    if not _is_numbers(item):
        return None
    x0, y0, x1, y1 = map(float, item)
    return Shape(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), label, score)


def _is_numbers(item: Any) -> bool:
    """Whether it is a sequence of four finite numbers."""
    return (
        isinstance(item, Sequence)
        and len(item) == 4
        and all(isinstance(v, int | float) and math.isfinite(v) for v in item)
    )


def _points(value: Any) -> tuple[tuple[float, float], ...]:
    try:
        if value and isinstance(value[0], Mapping):
            return tuple((float(p["x"]), float(p["y"])) for p in value)
        flat = np.asarray(value, np.float64).reshape(-1, 2)
    except (ValueError, KeyError, TypeError, OverflowError):
        return ()
    return tuple((float(x), float(y)) for x, y in flat) if len(flat) >= 3 and np.isfinite(flat).all() else ()


def _parallel(values: Mapping[str, Any], length: int, stems: Sequence[str]) -> Sequence[Any] | None:
    for stem in stems:
        for name in (stem, f"{stem}s", f"{stem}es"):
            value = values.get(name)
            if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) == length:
                return value
    return None


def _first(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((item[n] for n in names if item.get(n) is not None), None)
