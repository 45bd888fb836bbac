"""The picture of compared runs stays readable with any number of metrics."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from diptych.training.comparison import Group, draw
from diptych.training.results import Spread


@pytest.mark.parametrize(("metrics", "rows"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_at_most_four_metrics_stand_in_a_row(metrics: int, rows: int) -> None:
    names = [f"metric_{n}" for n in range(metrics)]
    spreads = {name: Spread(0.5, 0.1, 3) for name in names}
    groups = [Group("mkp", row, "news@1, test", "sample", ("a",), spreads, {"metric_0": 0.4}) for row in ("full", "x")]
    with Image.open(BytesIO(draw(groups, (), "png"))) as picture:
        width, height = picture.size
    assert width == round(150 * (1.6 + 3.2 * min(4, metrics)))
    assert height == round(150 * (0.4 + rows * (0.8 + 0.45 * 2)))
