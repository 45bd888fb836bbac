"""HM-LSTM on a committed version, through the reader and the loop."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diptych
from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.exceptions import DiptychError, Unfinished
from diptych.training.options import RunOptions
from diptych.training.train import Order, continue_run, start_run, train
from diptych.version import Version

sys.path.insert(0, str(Path(__file__).parent))

from samples import sample
from toy_stages import COUNT

RECIPE = """
name: toy
sources: [{kind: folder, name: toy, path: site}]
shards: 2
stages:
  clean: {min_side: 8}
  sentences: {}
  parse: {use: "toy_stages:ToyParse"}
  fc7: {use: "toy_stages:ToyFc7"}
fits:
  near_duplicates: {}
  splits: {}
  word2vec: {size: 12, min_count: 1, epochs: 1}
"""
SETTINGS = {"word": 12, "batch_size": 12, "judged_images": 3}
QUIET = RunOptions(tensorboard=False)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    pytest.importorskip("gensim")
    place = tmp_path_factory.mktemp("hmlstm")
    for folder in ("documents", "images"):
        (place / "site" / folder).mkdir(parents=True)
    for number in range(COUNT):
        data = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(data, "PNG")
        (place / "site" / "images" / f"{number}.png").write_bytes(data.getvalue())
        one = sample(number)
        picture = {"file": f"images/{number}.png", "captions": one["pairs.caption"].split("\n")}
        document = {
            "id": str(number),
            "language": "en",
            "split": ("train", "train", "train", "test", "dev", "train")[number % 6],
            "images": [picture | json.loads(one["pairs.extra"])],
        }
        (place / "site" / "documents" / f"{number}.json").write_text(json.dumps(document))
    crawl_recipe(RECIPE, str(place / "data"), place)
    build(RECIPE, str(place / "data"), folder=place)
    return diptych.open(place / "data" / "toy")


def test_a_run_stopped_after_every_step_ends_like_one_that_was_not(version: Version) -> None:
    order = Order("hmlstm", "debug", SETTINGS)
    whole = train(version, order, QUIET)
    stopped = start_run(version, order)
    for _ in range(100):
        try:
            continue_run(stopped, RunOptions(tensorboard=False, max_hours=1e-9))
            break
        except Unfinished:
            continue
    for name in ("weights.safetensors", "predictions-test.jsonl"):
        files = [Path(version.store.home.url) / folder.path / name for folder in (whole, stopped)]
        assert files[0].read_bytes() == files[1].read_bytes()
    metrics = json.loads((Path(version.store.home.url) / whole.path / "metrics.json").read_text())
    assert metrics["test"]["phrases_linked"] > 0 and metrics["test"]["i2t_r10"] == 1


@pytest.mark.parametrize("order", [Order("hmlstm", "debug", SETTINGS, ablation="chain"),
                                   Order("hmlstm", "debug", SETTINGS, baseline="random")])  # fmt: skip
def test_an_ablation_and_a_baseline(version: Version, order: Order) -> None:
    folder = train(version, order, QUIET)
    lines = (Path(version.store.home.url) / folder.path / "predictions-test.jsonl").read_text().splitlines()
    assert len(lines) == COUNT // 6 and all(json.loads(line)["gold"] for line in lines)


def test_what_is_missing_is_said_before_any_work(version: Version) -> None:
    with pytest.raises(DiptychError, match=r"regions: \{|no regions"):
        start_run(version, Order("hmlstm", "sample", {"word": 12}))
    with pytest.raises(DiptychError, match="feature_size: 20, or null"):
        start_run(version, Order("hmlstm", "debug", {**SETTINGS, "feature_size": 4096}))
