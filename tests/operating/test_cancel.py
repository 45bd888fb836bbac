"""A training that is cancelled in the UI: it ends Cancelled, its run folder is whole, and a retry loses no epoch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import Served

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.training.checkpoint import read_checkpoint
from diptych.training.folder import find_runs
from diptych.training.options import RunOptions
from diptych.training.train import Order, train
from diptych.version import open_version

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = {"autoencoder_epochs": 2, "classifier_epochs": 100}
SETTINGS = {**EPOCHS, "batch_size": 8, "patience": 1000}


def test_a_cancelled_training_goes_on_to_what_an_uninterrupted_one_gives(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(served.place)  # where the recipe's paths begin
    text = (served.place / "news.yaml").read_text()
    crawl_recipe(text, str(served.root), served.place)
    build(text, str(served.root), folder=served.place)
    order = {"model": "gap", "dataset": "news", "preset": "sample", "settings": SETTINGS}
    asked = served.start("train-model/train", order)
    begun = served.until(lambda: find_runs(str(served.root), "news"), 240, asked)[0]
    served.until(lambda: any(int(c.partition("-")[0]) > 50 for c in begun.list("checkpoints")), 240, asked)
    assert served.run(asked)["state_type"] == "RUNNING"
    served.set_state(asked, "CANCELLING")
    assert served.wait(asked, 120)["state_type"] == "CANCELLED", served.logs(asked)
    served.until(lambda: asked not in served.children(), 60)

    (run,) = find_runs(str(served.root), "news")
    assert run.about()["status"] == "unfinished" and not run.exists("results.json")
    kept = read_checkpoint(run)  # this checks each of its files
    assert kept is not None and kept.progress.step > 50 and len(kept.progress.log) < sum(EPOCHS.values())
    files = [path for path in Path(run.home.url.removeprefix("file://")).rglob("*") if path.is_file()]
    assert files and not [path.name for path in files if ".tmp" in path.name or path.name.startswith(".")]

    served.set_state(asked, "SCHEDULED", "AwaitingRetry")  # as the button Retry does
    served.until(lambda: served.run(asked)["state_type"] == "COMPLETED", 300, asked)
    (same,) = find_runs(str(served.root), "news")
    assert same.path == run.path and same.about()["status"] == "finished"
    assert served.says(asked, f"going on after step {kept.progress.step:,}"), served.logs(asked)
    epochs = same.read_json("metrics.json")["epochs"]
    assert len(epochs) == len({(e["phase"], e["epoch"]) for e in epochs}) == sum(EPOCHS.values())

    alone = train(open_version(served.root / "news"), Order("gap", "sample", SETTINGS), RunOptions(tensorboard=False))
    assert alone.path != same.path
    for name in ("weights.safetensors", "metrics.json", "predictions-test.jsonl"):
        assert same.home.read(name) == alone.home.read(name), name
