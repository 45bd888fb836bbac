"""Recall and average precision of boxes against plain loops and against pycocotools."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diptych.geometry import suppressed
from diptych.metrics.boxes import THRESHOLDS, Boxes, average_precision, proposal_recall

NAMES = ("cat", "dog", "red car")


def overlap(a: Any, b: Any) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def world(seed: int, pictures: int = 8) -> tuple[list[Boxes], list[Boxes]]:
    """Annotated boxes, and detections that are shifted copies of them among others; crowds in some pictures."""
    random = np.random.default_rng(seed)
    found, true = [], []
    for _ in range(pictures):
        low = random.uniform(0, 80, (int(random.integers(0, 6)), 2))
        boxes = np.concatenate([low, low + random.uniform(8, 60, low.shape)], axis=1)
        names = tuple(NAMES[n] for n in random.integers(0, 3, len(boxes)))
        crowds = np.array([[0.0, 0, 140, 70]])[: int(random.integers(0, 2))]
        true.append(Boxes(boxes, names, (), crowds, NAMES[:1] * len(crowds)))
        copies = np.repeat(boxes, 3, axis=0) + random.normal(0, 5, (3 * len(boxes), 4))
        low = random.uniform(0, 80, (4, 2))
        given = np.concatenate([copies, np.concatenate([low, low + random.uniform(8, 60, low.shape)], axis=1)])
        given[:, 2:] = np.maximum(given[:, 2:], given[:, :2] + 1)
        classes = tuple(np.repeat(names, 3)) + tuple(NAMES[n] for n in random.integers(0, 3, 4))
        found.append(Boxes(given, tuple(map(str, classes)), tuple(random.permutation(1000)[: len(given)] / 1000)))
    return found, true


def naive_precision(found: list[Boxes], true: list[Boxes], name: str, threshold: float) -> float | None:
    total = sum(t.names.count(name) for t in true)
    if not total:
        return None
    said = [(s, p, n) for p, f in enumerate(found) for n, s in enumerate(f.scores) if f.names[n] == name]
    used: set[tuple[int, int]] = set()
    points: list[tuple[float, float]] = []
    right = wrong = 0
    for _, p, n in sorted(said, key=lambda d: -d[0]):
        best, where = threshold, None
        for m, other in enumerate(true[p].names):
            if other == name and (p, m) not in used and overlap(found[p].boxes[n], true[p].boxes[m]) >= best:
                best, where = overlap(found[p].boxes[n], true[p].boxes[m]), m
        if where is not None:
            used.add((p, where))
            right += 1
        else:
            box = found[p].boxes[n]
            for crowd, other in zip(true[p].crowds, true[p].crowd_names, strict=True):
                wide, high = (
                    min(box[2], crowd[2]) - max(box[0], crowd[0]),
                    min(box[3], crowd[3]) - max(box[1], crowd[1]),
                )
                area = (box[2] - box[0]) * (box[3] - box[1])
                if other == name and max(wide, 0) * max(high, 0) / area >= threshold:
                    break
            else:
                wrong += 1
        points.append((right / total, right / (right + wrong) if right + wrong else 0.0))
    return float(np.mean([max((p for r, p in points if r >= level), default=0.0) for level in np.linspace(0, 1, 101)]))


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_against_loops(seed: int) -> None:
    found, true = world(seed)
    table = [[naive_precision(found, true, name, t) for t in THRESHOLDS] for name in NAMES]
    kept = np.array([row for row in table if row[0] is not None], float)
    made = average_precision(found, true)
    assert made.classes == len(kept) and made.annotated == sum(len(t.boxes) for t in true)
    np.testing.assert_allclose([made.ap, made.ap50, made.ap75], [kept.mean(), kept[:, 0].mean(), kept[:, 5].mean()])
    assert 0.05 < made.ap < made.ap50 < 1


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_against_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, true = world(seed, 20)
    truth, detections = COCO(), []
    rows: list[dict[str, Any]] = []

    def row(picture: int, box: Any, name: str, **more: Any) -> dict[str, Any]:
        x1, y1, x2, y2 = map(float, box)
        given = {"image_id": picture, "bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": NAMES.index(name) + 1}
        return {**given, "area": (x2 - x1) * (y2 - y1), "id": len(rows) + 1, **more}

    for n, (f, t) in enumerate(zip(found, true, strict=True)):
        for box, name in zip(t.boxes, t.names, strict=True):
            rows.append(row(n, box, name, iscrowd=0))
        for box, name in zip(t.crowds, t.crowd_names, strict=True):
            rows.append(row(n, box, name, iscrowd=1))
        detections += [row(n, b, m, score=float(s)) for b, m, s in zip(f.boxes, f.names, f.scores, strict=True)]
    truth.dataset = {
        "images": [{"id": n} for n in range(len(true))],
        "categories": [{"id": n + 1, "name": name} for n, name in enumerate(NAMES)],
        "annotations": rows,
        "info": {},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(detections), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    made = average_precision(found, true)
    np.testing.assert_allclose([made.ap, made.ap50, made.ap75], judged.stats[:3], atol=1e-9)


def test_recall_against_loops() -> None:
    for seed in range(4):
        found, true = world(seed)
        for made in proposal_recall(found, true, [1, 3, 100], 0.5):
            hits = [
                any(overlap(box, other) >= 0.5 for other in f.boxes[: made.count])
                for f, t in zip(found, true, strict=True)
                for box in t.boxes
            ]
            assert made.annotated == len(hits) and made.recall == pytest.approx(np.mean(hits))


def test_nothing_there() -> None:
    empty = Boxes(np.zeros((0, 4)))
    assert average_precision([empty], [empty]).classes == 0 and average_precision([], []).ap == 0.0
    one = Boxes(np.array([[0.0, 0, 5, 5]]), ("cat",))
    assert average_precision([empty], [one]).ap == 0.0
    assert average_precision([replace(one, scores=(0.1,))], [one]).ap == pytest.approx(1.0)
    assert [r.recall for r in proposal_recall([empty], [one], [0, 5])] == [0.0, 0.0]
    assert proposal_recall([], [], [3])[0].annotated == 0


def test_suppression_against_loops() -> None:
    random = np.random.default_rng(3)
    low = random.uniform(0, 40, (60, 2))
    boxes = np.concatenate([low, low + random.uniform(5, 40, (60, 2))], axis=1)
    for threshold, most in ((0.3, 100), (0.5, 7), (1.0, 100), (0.0, 5)):
        kept: list[int] = []
        for n in range(60):
            if len(kept) < most and all(overlap(boxes[n], boxes[k]) <= threshold for k in kept):
                kept.append(n)
        assert suppressed(boxes, threshold, most).tolist() == kept
    assert suppressed(np.zeros((0, 4)), 0.5, 3).tolist() == []
