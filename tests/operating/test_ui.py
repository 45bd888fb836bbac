"""The UI in a real browser: a training and a rebuild from their forms, and what they show; pictures are kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import Served
from ui import Ui

from diptych.report.chromium import Page
from diptych.storage.store import open_store
from diptych.training.folder import find_runs

pytestmark = [pytest.mark.slow, pytest.mark.system("chromium"), pytest.mark.timeout(1800)]


def newest(served: Served, flow: str) -> dict[str, Any]:
    """The run of a flow that was just asked for."""
    return served.until(lambda: (found := served.runs(flow)) and found[-1])


def shows(ui: Ui, served: Served, run: str, key: str, words: str) -> str:
    """Open an artifact of a run, wait for some words, keep a picture; its text."""
    found = served.artifacts(run)[key]
    ui.visit(f"/artifacts/artifact/{found['id']}", words)
    ui.picture(key)
    return found["data"] if isinstance(found["data"], str) else json.dumps(found["data"])


def test_train_and_rebuild_from_the_forms(served: Served, pictures: Path) -> None:
    build = served.start("build-dataset/build", {"recipe": "news.yaml"})
    done = served.wait(build, 420)
    assert done["state_type"] == "COMPLETED", served.logs(build)
    assert served.says(build, "clean: 87 rows, 87 rows computed, 0 reused"), served.logs(build)
    with Page(1280, 1000) as page:
        ui = Ui(served.url, page, pictures)
        table = json.loads(shows(ui, served, build, "build-table", "computed"))
        assert {"clean", "backbone", "splits (fit; shards)"} <= {row["stage"] for row in table}
        assert "accepted pairs" in shows(ui, served, build, "dataset-card", "accepted pairs")
        gallery = shows(ui, served, build, "gallery", "Sample pictures of news@1")
        assert gallery.count("data:image/png;base64,") >= 3 and len(gallery) < 2_500_000
        shown = "[...document.querySelectorAll('article img, .markdown-renderer img')]"
        assert page.until(f"{shown}.filter(i => i.complete && i.naturalWidth > 100).length") >= 3
        assert served.artifacts(build)["build-progress"]["data"] in (100, 100.0)

        train = served.deployment("train-model/train")["id"]
        ui.visit(f"/deployments/deployment/{train}/run", "Max Hours")
        assert ui.choices("Dataset") == ["news"]  # there was none when the deployment was registered
        assert {"gap", "mkp", "hcscl", "ananet", "hmlstm"} <= set(ui.choices("Model"))
        ui.choose("Model", "gap")
        ui.choose("Dataset", "news")
        ui.fill("Version", "1")
        ui.fill("Preset", "sample")
        ui.picture("train-form")
        ui.press("Submit")
        run = newest(served, "train-model")
        assert run["parameters"]["parameters"]["version"] == "1"
        done = served.wait(run["id"], 420)
        assert done["state_type"] == "COMPLETED", served.logs(run["id"])
        assert find_runs(str(served.root), "news", "gap")[0].about()["status"] == "finished"
        assert served.says(run["id"], "s a step"), served.logs(run["id"])  # after 20 steps: what the rest will cost
        text = shows(ui, served, run["id"], "training-results", "ours: full")
        assert "paper: svm" in text and "no earlier run of gap" in text
        shows(ui, served, run["id"], "training-curves", "Curves of gap")

        before = open_store(served.root, "news").log.manifest("latest")
        rebuild = served.deployment("rebuild-shard/rebuild-shard")["id"]
        ui.visit(f"/deployments/deployment/{rebuild}/run", "Refetch")
        ui.choose("Dataset", "news")
        ui.press("int")
        ui.fill("Shard", "1")
        ui.picture("rebuild-form")
        ui.press("Submit")
        run = newest(served, "rebuild-shard")
        assert run["parameters"]["parameters"]["shard"] == 1
        done = served.wait(run["id"], 300)
        assert done["state_type"] == "COMPLETED", served.logs(run["id"])
        rows = json.loads(shows(ui, served, run["id"], "rebuilt-rows", "equal"))
        assert rows and {row["outcome"] for row in rows} == {"equal"}
        after = open_store(served.root, "news").log.manifest("latest")
        assert (after.version, after.input_digest) == (before.version, before.input_digest)

        assert [url for url in page.requests if not url.startswith(served.url)] == []


def test_the_server_refuses_what_the_form_forbids(served: Served) -> None:
    for wrong in (
        {"model": "gap", "dataset": "elsewhere"},
        {"model": "alexnet", "dataset": "news"},
        {"model": "gap", "dataset": "news", "version": "../1"},
        {"model": "gap", "dataset": "news", "max_hours": 0},
    ):
        with pytest.raises(AssertionError, match="409"):
            served.start("train-model/train", wrong)


def test_what_the_server_cannot_refuse_the_flow_refuses_and_names_what_is_allowed(served: Served) -> None:
    wrong = served.start("train-model/train", {"model": "gap", "dataset": "news", "version": "7", "preset": "sample"})
    other = served.start("train-model/train", {"model": "gap", "dataset": "news", "ablation": "no_text"})
    for run, words in ((wrong, "version"), (other, "no_autoencoder")):
        done = served.wait(run)
        assert done["state_type"] == "FAILED" and words in done["state"]["message"]
