"""The probe and the run folder on the reader's small version."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from diptych.exceptions import NotFound, UsageError
from diptych.models.probe import ProbeConfig, fit_probe
from diptych.storage.reader import Records
from diptych.storage.retire import versions_in_use
from diptych.training import Run, write_run
from diptych.version import Version

CONFIG = ProbeConfig(feature="features.pooled", label="features.level", decays=(1e-4, 1e-1), iterations=60)
"""In this world every channel of the feature grows with the level: a linear function knows it."""


def folder_of(version: Version, path: str) -> Path:
    return Path(version.store.home.url) / path


def test_it_learns_what_is_there_and_leaves_a_run(version: Version) -> None:
    report = fit_probe(version, CONFIG)
    folder = folder_of(version, report.path)
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "metrics.json", "predictions.jsonl", "run.json", "weights.safetensors",
    ]  # fmt: skip
    for split in ("train", "dev", "test"):
        with Records(version, ["features.level"], split=split) as records:
            levels = [s["features.level"] for s in records if s["features.level"] is not None]
        assert report.rows[split] == len(levels) > 3
        accuracy, majority = report.accuracy[split], report.majority[split]
        assert accuracy is not None and majority is not None and accuracy > majority
        assert f"{split} {accuracy:.3f} (majority {majority:.3f}, {len(levels)} rows)" in str(report)
    about = json.loads((folder / "run.json").read_text())
    assert about["version"] == version.number and about["input_digest"] == version.manifest.input_digest
    assert set(about["stages"]) == {"features"} and set(about["fits"]) == {"splits"}
    assert versions_in_use(version.store)[1] == [report.path.removeprefix("runs/")]
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    right = [line["predicted"] == line["gold"] for line in lines if line["split"] == "test"]
    assert sum(right) / len(right) == report.accuracy["test"]
    weights = load_file(folder / "weights.safetensors")
    classes = json.loads((folder / "metrics.json").read_text())["classes"]
    with Records(version, ["features.pooled"], split="test") as records:
        rows = {s["key"]: (s["features.pooled"] - weights["mean"]) / weights["spread"] for s in records}
    for line in lines:
        if line["split"] == "test":
            scores = rows[line["id"]] @ weights["weight"][:-1] + weights["weight"][-1]
            assert classes[int(np.argmax(scores))] == line["predicted"]


def test_two_runs_are_equal_and_both_stay(version: Version) -> None:
    first, second = (folder_of(version, fit_probe(version, CONFIG).path) for _ in range(2))
    assert first != second
    for name in ("config.json", "metrics.json", "weights.safetensors", "predictions.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_labels_by_pattern_and_from_lists(version: Version) -> None:
    report = fit_probe(version, ProbeConfig("features.pooled", "documents.title", r"Title (\d)", iterations=9))
    path = folder_of(version, report.path)
    assert set(json.loads((path / "metrics.json").read_text())["classes"]) <= set("0123456789")
    phrases = fit_probe(version, ProbeConfig("features.pooled", "documents.keyphrases", iterations=9))
    assert phrases.rows["train"] < report.rows["train"]  # a document without keyphrases has no label


def test_errors_come_before_any_run(version: Version) -> None:
    before = sorted(folder_of(version, "runs/probe").iterdir()) if folder_of(version, "runs/probe").exists() else []
    with pytest.raises(NotFound, match=r"`backbone: \{\}`"):
        fit_probe(version)
    with pytest.raises(UsageError, match="no row of the train split"):
        fit_probe(version, ProbeConfig("features.pooled", "documents.title", "(nowhere)"))
    assert before == (sorted(folder_of(version, "runs/probe").iterdir()) if before else [])


def test_a_run_is_whole_or_absent_and_never_overwritten(version: Version) -> None:
    def run(metric: float) -> Run:
        return Run("other", {}, {"x": metric}, {"w": np.zeros(2)}, [], 0, ("features.pooled",), "now")

    with pytest.raises(ValueError, match="Out of range"):
        write_run(version, run(float("nan")), "one")
    assert not list(folder_of(version, "runs/other").iterdir())
    assert write_run(version, run(1.0), "one") == "runs/other/one"
    with pytest.raises(UsageError, match="never overwritten"):
        write_run(version, run(2.0), "one")
    assert json.loads((folder_of(version, "runs/other/one") / "metrics.json").read_text()) == {"x": 1.0}
