"""Scenes and relations of a picture's regions, as rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from diptych.stage import Batch, Status
from diptych.stages.scene_graph import SceneGraph, SceneGraphConfig, _groups

MAN, HORSE, TREE, HAT = [10, 10, 60, 90], [20, 40, 90, 120], [150, 0, 200, 110], [20, 12, 48, 62]


def run(*boxes: Any, **config: Any) -> Any:
    stage = SceneGraph(SceneGraphConfig(**config))
    batch = Batch(tuple(map(str, range(len(boxes)))), {"regions.boxes": list(boxes)}, stage)
    out = stage.process(batch)
    out.check("scene_graph")
    return out


def test_a_rider_beside_a_tree() -> None:
    out = run([MAN, HORSE, TREE, HAT])
    values = {n: v[0] for n, v in out.values.items()}
    assert values["objects"] == 4 and values["scenes"] == [0, 0, 1, 0] and values["scene_count"] == 2
    edges = {(e["a"], e["b"]): e for e in values["edges"]}
    assert list(edges) == [(0, 1), (0, 3)]
    assert edges[0, 3]["predicate"] == "contains" and edges[0, 3]["converse"] == "inside"
    assert edges[0, 3]["iou"] == float(np.float32(0.35))
    assert edges[0, 1]["predicate"] == "above" and edges[0, 1]["converse"] == "below"


def test_a_higher_threshold_separates() -> None:
    out = run([MAN, HORSE, TREE, HAT], threshold=0.3)
    assert out.values["scenes"][0] == [0, 1, 2, 0]
    assert run([MAN, HORSE, TREE, HAT], threshold=0.35).values["scene_count"][0] == 4  # 0.35 is not above 0.35


def test_no_regions_is_a_result() -> None:
    out = run([], [MAN])
    assert [s.status for s in out.states] == [Status.OK, Status.OK]
    assert out.values["scenes"] == [[], [0]] and out.values["scene_count"] == [0, 1] and out.values["edges"] == [[], []]


def test_rows_that_cannot_be_computed() -> None:
    nan = float("nan")
    out = run(None, [[1, 2, 3]], [[0, 0, nan, 5]], [[5, 0, 1, 5]], [MAN, None], [[0, 0, None, 1]], [MAN])
    assert [s.status for s in out.states] == [Status.SKIPPED, *[Status.FAILED_PERMANENT] * 5, Status.OK]
    assert [s.code for s in out.states] == ["no_regions", *["bad_boxes"] * 5, ""]
    assert "box 1" in out.states[4].text


def test_groups_are_bounded_and_complete() -> None:
    sizes = {n: (n * 37) % 900 for n in range(60)}
    groups = list(_groups(sizes))
    assert sorted(r for g in groups for r in g) == sorted(sizes)
    assert all(len(g) == 1 or len(g) * max(sizes[r] for r in g) ** 2 <= 2_000_000 for g in groups)


def test_what_stands_beside_a_row_changes_nothing() -> None:
    random = np.random.default_rng(3)
    rows = []
    for count in (0, 1, 5, 36, 100, 36):
        low = random.uniform(0, 200, (count, 2)).astype(np.float32)
        rows.append(np.concatenate([low, low + random.uniform(0, 120, (count, 2)).astype(np.float32)], 1).tolist())
    together = run(*rows)
    for n, row in enumerate(rows):
        alone = run(row)
        assert all(alone.values[name][0] == together.values[name][n] for name in alone.values)
