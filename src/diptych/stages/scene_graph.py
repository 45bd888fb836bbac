"""The relations among a picture's regions, and the scenes they form.

Two regions are related when their boxes' IoU lies strictly above the threshold; a region is not related to itself.
A scene is a connected component of these relations, and a region related to nothing is a scene of its own.
Predicates and their definitions: :mod:`diptych.geometry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych.geometry import CONVERSE, PREDICATES, adjacency, components, iou, padded, predicates
from diptych.stage import Batch, Output, Stage, StageConfig

__all__ = ["SceneGraph", "SceneGraphConfig"]

_CELLS = 2_000_000
"""Padded pairs computed at once: 16 MB an array."""


class SceneGraphConfig(StageConfig):
    """What counts as related, and where the predicates change."""

    threshold: float = Field(0.2, ge=0, lt=1, description="regions whose IoU is strictly above this are related")
    inside: float = Field(0.9, gt=0.5, le=1, description="share of a region's area within another that makes it inside")
    near: float = Field(0.25, ge=0, le=1, description="distance of centres, in mean sides, below which boxes overlap")


EDGE = pa.struct(
    [
        pa.field("a", pa.int32(), metadata={"doc": "position of one region in the lists of `regions`"}),
        pa.field("b", pa.int32(), metadata={"doc": "position of the other; a < b, each pair once"}),
        pa.field("iou", pa.float32()),
        pa.field("predicate", pa.string(), metadata={"doc": "of a towards b"}),
        pa.field("converse", pa.string(), metadata={"doc": "of b towards a"}),
    ]
)


class SceneGraph(Stage):
    """Edges among the regions of each image with IoU and spatial predicate, and each region's scene."""

    name, version = "scene_graph", 1
    key = "image"
    inputs = ("regions.boxes",)
    outputs = pa.schema(
        [
            pa.field("objects", pa.int32(), metadata={"doc": "number of regions"}),
            pa.field("edges", pa.list_(EDGE), metadata={"doc": "by a, then b"}),
            pa.field(
                "scenes", pa.list_(pa.int32()), metadata={"doc": "scene of each region, from 0 by its first region"}
            ),
            pa.field("scene_count", pa.int32(), metadata={"doc": "scenes, single regions included"}),
        ]
    )
    Config = SceneGraphConfig
    config: SceneGraphConfig
    packages = ("numpy",)
    batch_size = 256

    def process(self, batch: Batch) -> Output:
        """All pictures of about the same number of regions at once."""
        out = batch.output()
        good: dict[int, np.ndarray] = {}
        for row, boxes in enumerate(batch["regions.boxes"]):
            if boxes is None:
                out.skip(row, "no_regions")
            elif isinstance(found := _checked(boxes), str):
                out.fail(row, "bad_boxes", found)
            else:
                good[row] = found
        for rows in _groups({row: len(boxes) for row, boxes in good.items()}):
            for row, values in zip(rows, self._graphs([good[row] for row in rows]), strict=True):
                out.set(row, **values)
        return out

    def _graphs(self, pictures: list[np.ndarray]) -> Iterator[dict[str, Any]]:
        boxes, valid = padded(pictures)
        overlap = iou(boxes, boxes)
        related = adjacency(overlap, valid, self.config.threshold)
        scenes = components(related, valid)
        codes = predicates(boxes, inside=self.config.inside, near=self.config.near)
        for n, picture in enumerate(pictures):
            edges = [
                {
                    "a": int(a),
                    "b": int(b),
                    "iou": float(np.float32(overlap[n, a, b])),
                    "predicate": (name := PREDICATES[codes[n, a, b]]),
                    "converse": CONVERSE[name],
                }
                for a, b in zip(*np.nonzero(np.triu(related[n])), strict=True)
            ]
            mine = scenes[n, : len(picture)].tolist()
            yield {"objects": len(picture), "edges": edges, "scenes": mine, "scene_count": len(set(mine))}


def _checked(boxes: Sequence[Sequence[float] | None]) -> np.ndarray | str:
    """The boxes as (K, 4), or what is wrong with them."""
    for n, box in enumerate(boxes):
        if box is None or len(box) != 4 or any(v is None for v in box):
            return f"box {n} has not four coordinates: {box}"
    found = np.asarray(boxes, np.float64).reshape(-1, 4)
    wrong = ~np.isfinite(found).all(axis=1) | (found[:, 2:] < found[:, :2]).any(axis=1)
    if wrong.any():
        n = int(np.argmax(wrong))
        return f"box {n} is not x1 <= x2, y1 <= y2, finite: {found[n].tolist()}"
    return found


def _groups(sizes: dict[int, int]) -> Iterator[list[int]]:
    """Rows by number of regions, in groups that stay within the bound when padded."""
    group: list[int] = []
    for row in sorted(sizes, key=lambda r: (sizes[r], r)):
        if group and (len(group) + 1) * sizes[row] ** 2 > _CELLS:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
