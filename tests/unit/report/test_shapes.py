"""What is drawn is found by form, and nothing hostile in a source's JSON breaks the report."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from diptych.report.distributions import Cloud, Distribution
from diptych.report.plots import cloud_plot, histogram
from diptych.report.shapes import Shape, annotated_layer, edges_of, stage_layers

BOX = ((1.0, 2.0), (5.0, 2.0), (5.0, 9.0), (1.0, 9.0))


@pytest.mark.parametrize(
    "item",
    [
        {"polygon": [1, 2, 5, 2, 5, 9, 1, 9], "text": "x"},
        {"points": [[1, 2], [5, 2], [5, 9], [1, 9]], "label": "x"},
        {"box": [1, 2, 5, 9], "name": "x"},
        {"bbox": [1, 2, 4, 7], "category": "x"},
        {"x0": 1, "y0": 2, "x1": 5, "y1": 9, "class": "x"},
        {"left": 1, "top": 2, "right": 5, "bottom": 9, "object": "x"},
    ],
)
def test_forms_of_a_box(item: dict[str, object]) -> None:
    (layer,) = stage_layers("any", {"things": [item]})
    assert (layer.name, layer.shapes) == ("any.things", (Shape(BOX, "x"),))


def test_a_tensor_of_boxes_is_labelled_by_the_columns_beside_it() -> None:
    values = {"boxes": np.array([[1, 2, 5, 9]], np.float16), "classes": ["cat"], "attributes": ["black"]}
    (layer,) = stage_layers("regions", values)
    assert layer.shapes == (Shape(BOX, "black cat"),)


def test_columns_that_are_no_shapes_are_left_alone() -> None:
    values = {"items": [{"text": "a", "start": 0}], "words": ["a"], "n": 3, "none": None, "empty": [], "x": b"abcd"}
    assert stage_layers("sentences", values) == []


def test_annotations_of_coco_and_others() -> None:
    layer = annotated_layer("", json.dumps({"boxes": [[1, 2, 5, 9]], "classes": ["dog"]}))
    assert layer is not None and layer.shapes == (Shape(BOX, "dog"),)
    layer = annotated_layer(json.dumps({"objects": [{"box": [1, 2, 5, 9], "name": "dog", "colour": "red"}]}))
    assert layer is not None and layer.shapes == (Shape(BOX, "red dog"),)


def test_half_a_character_in_a_name_is_one_that_files_can_hold() -> None:
    layer = annotated_layer('{"boxes": [[1, 2, 5, 9]], "classes": ["d\\ud83d"]}')
    assert layer is not None and layer.shapes[0].label.encode() == b"d?"


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "3", '{"boxes": 3}',
     '{"boxes": [3, null, "abcd", [1, 2], {"box": "abcd"}, {"bbox": 7}, {"polygon": 5}]}',
     '{"boxes": [[1, 2, 3, "x"]]}', '{"boxes": [[NaN, 2, 3, 4]]}', '{"boxes": [{"points": [{"x": 1}]}]}',
     '{"boxes": [[1, 2, 3, 1' + "0" * 400 + "]]}", '{"boxes": [' + '{"box":' * 600 + "1" + "}" * 600 + "]}",
     '{"boxes": {"a": 1}}', "[" * 5000, '{"boxes": [{"polygon": [1e999, 2, 3, 4, 5, 6]}]}', '{"boxes": [[true, 2]]}'],
)  # fmt: skip
def test_nonsense_draws_nothing(text: str) -> None:
    assert annotated_layer(text) is None


def test_edges_point_into_the_boxes_only() -> None:
    shapes = (Shape(BOX, "a"), Shape(BOX, "b"))
    edges = [{"subject": 0, "predicate": "on", "object": 1}, {"subject": 0, "predicate": "on", "object": 7}]
    assert [e.predicate for e in edges_of({"edges": edges}, shapes)] == ["on"]
    assert edges_of({"items": [{"field": "a", "b": 1}], "x": None}, shapes) == ()


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3], [0.5, 0.25], [0, 0, 1], [-5, 5], [1e-9, 2e-9], [1, 1e9], list(range(5000)), [3] * 99 + [1000]],
)
def test_every_value_stands_in_some_bar(values: list[float]) -> None:
    found = Distribution("d", "u", whole=all(isinstance(v, int) for v in values))
    found.add(values)
    plot = histogram(found)
    assert plot is not None and "nan" not in plot.svg
    counted = sum(int(t.replace(",", "")) for t in re.findall(r": ([\d,]+)</title>", plot.svg))
    assert counted == len(values)


def test_distributions_stay_small_and_right() -> None:
    found = Distribution("d", "u", whole=False)
    numbers = np.random.default_rng(0).lognormal(3, 2, 200_000)
    found.add(numbers)
    assert len(found.counts) < 9_000 and found.total == 200_000
    assert found.mean == pytest.approx(numbers.mean(), rel=1e-6)
    assert found.quantile(0.5) == pytest.approx(np.median(numbers), rel=0.01)
    found.add([None, float("nan"), float("inf")])
    assert found.total == 200_000


def test_nothing_varied_is_no_plot() -> None:
    assert histogram(Distribution("d", "u")) is None
    same = Distribution("d", "u")
    same.add([4, 4, 4])
    assert histogram(same) is None
    cloud = Cloud()
    cloud.add([100, None, 0], [100, 5, 5])
    assert cloud_plot(cloud, "t") is None
