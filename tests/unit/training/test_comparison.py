"""Compared runs: whose mean is taken, a picture that stays readable; and features that a run may not know."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from diptych.storage.store import open_store
from diptych.training.assignment import assignment_of
from diptych.training.comparison import Group, draw, group_runs
from diptych.training.evaluation import evaluate_run
from diptych.training.folder import RunFolder
from diptych.training.options import RunOptions
from diptych.training.results import Spread
from diptych.training.saying import say_of
from diptych.training.train import Order, train
from diptych.version import Version


@pytest.mark.parametrize(("metrics", "rows"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_at_most_four_metrics_stand_in_a_row(metrics: int, rows: int) -> None:
    names = [f"metric_{n}" for n in range(metrics)]
    spreads = {name: Spread(0.5, 0.1, 3) for name in names}
    groups = [Group("mkp", row, "news@1, test", "sample", ("a",), spreads, {"metric_0": 0.4}) for row in ("full", "x")]
    with Image.open(BytesIO(draw(groups, (), "png"))) as picture:
        width, height = picture.size
    assert width == round(150 * (1.6 + 3.2 * min(4, metrics)))
    assert height == round(150 * (0.4 + rows * (0.8 + 0.45 * 2)))


def test_a_seed_counts_once_in_a_mean(tmp_path: Path) -> None:
    store = open_store(tmp_path, "d")
    about = {"task": "mkp", "status": "finished", "dataset": "d", "version": 1, "preset": "debug"}

    def run(series: str, seed: int) -> RunFolder:
        folder = RunFolder(store, f"runs/mkp/{series}{seed}")
        folder.write_json("run.json", {**about, "series": series, "seed": seed})
        folder.write_json("config.json", {})
        metrics = {"test": {"accuracy": 0.5}}
        folder.write_json("results.json", {"row": "full", "split": "test", "metrics": metrics, "paper": None})
        return folder

    for begun, expected in (
        (("a0", "b0"), (("a0",), ("b0",))),
        (("a0", "b1"), (("a0", "b1"),)),
        (("a0", "b1", "b0", "c1"), (("a0", "c1"), ("b1", "b0"))),
    ):
        found = group_runs([run(name[0], int(name[1])) for name in begun])
        assert tuple(group.runs for group in found) == expected


def test_a_version_whose_features_were_made_otherwise_is_said(version: Version) -> None:
    folder = train(version, Order("toy_task:ToyTask", "debug"), RunOptions(tensorboard=False), lambda text: None)
    said: list[str] = []
    assert evaluate_run(folder).otherwise == ()
    say_of(assignment_of(folder), version, say=said.append)
    assert not said
    folder.write_json("run.json", {**folder.about(), "stages": {"features": "of other weights", "votes": "fewer"}})
    found = evaluate_run(folder)
    assert found.otherwise == ("features",) and "; features: made with other settings or weights" in str(found)
    say_of(assignment_of(folder), version, say=said.append)
    assert len(said) == 1 and said[0].startswith("features of world@1: made with other settings or weights")
