from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest

from diptych.engine.context import graph_of
from diptych.models.registry import MODELS, find_task
from diptych.recipe import parse_recipe
from diptych.study import certainty, running
from diptych.study.page import Study, results_page
from diptych.study.plan import PLANS, Cell, cells
from diptych.study.pool import work
from diptych.study.running import RECIPES, Result
from diptych.study.spending import Ledger, Spent, measured
from diptych.training.train import Order, settings_of


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.model)
def test_every_row_of_the_page_is_one_the_model_has(plan) -> None:
    task = find_task(plan.model)
    assert plan.expectation.row in task.ablations
    assert set(plan.baselines) <= set(task.baselines)
    assert "sample" in task.presets and plan.dataset in RECIPES
    for settings in (Order(plan.model, "sample"), Order(plan.model, "sample", ablation=plan.expectation.row)):
        settings_of(task, settings)


def test_the_page_has_every_shipped_model() -> None:
    assert {plan.model for plan in PLANS} == {name for name in MODELS if name != "esim"}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_hold_every_stage_that_their_models_read(name: str, tmp_path, monkeypatch) -> None:
    text = (files("diptych.study") / RECIPES[name]).read_text(encoding="utf-8")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "votes.csv").write_text("kind,item,annotator,value\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    recipe = parse_recipe(text)
    assert recipe.name == name
    graph_of(text)
    there = {*recipe.stages, *recipe.fits, "documents", "pairs", "images", "sentence"}
    for plan in PLANS:
        if plan.dataset == name:
            task = find_task(plan.model)
            config = settings_of(task, Order(plan.model, "sample"))
            fields = {f.partition(".")[0] for stream in task.reads(config).values() for f in stream.fields}
            assert fields | set(task.tables(config)) <= there


def result(row: str, seed: int, value: float, kind: str = "baseline") -> Result:
    metrics = {"accuracy_cmi": value, "accuracy_sc": value / 2}
    return Result(Cell("gap", row, kind, seed), f"run-{row}-{seed}", metrics, 40, Spent(5.0 + seed, 3.0))


def test_the_page_says_what_came_out_also_when_it_contradicts() -> None:
    results = [result("full", s, 0.6 + s / 100, "full") for s in (0, 1)]
    results += [result("no_autoencoder", s, 0.5 + s / 5, "ablation") for s in (0, 1)]
    results += [result("most_frequent", s, 0.4) for s in (0, 1)] + [result("random", s, 0.7) for s in (0, 1)]
    results += [result("text_only", 0, 0.1)]
    page = results_page(Study([], results, 24))
    assert "| full | 2 | 0.605 ± 0.007 | 0.302 ± 0.004 | 0.6953 | 0.7344 | 3 |" in page
    assert "better than `most_frequent` in accuracy_cmi: 2 of 2 seeds; accuracy_sc: 2 of 2 seeds." in page
    assert "better than `random` in accuracy_cmi: 0 of 2 seeds;" in page
    assert "better than `text_only` in accuracy_cmi: 1 of 2 seeds;" in page  # the second seed was not run
    assert "Came out: 0.605 ± 0.007 -> 0.600 ± 0.141, lower in 1 of 2 seeds." in page
    assert "## HCSCL" not in page


def test_cells_come_seed_by_seed() -> None:
    found = list(cells())
    assert len(set(found)) == len(found) == 3 * sum(2 + len(plan.baselines) for plan in PLANS)
    assert [cell.seed for cell in found] == sorted(cell.seed for cell in found)


RECIPE = """\
name: NAME
title: three stages
contact: https://example.org/diptych-sample
sources:
  - {kind: folder, name: sample, path: documents}
shards: 1
stages:
  clean: {min_side: 64}
  sentences: {}
  pair_votes: {file: documents/votes.csv}
fits:
  near_duplicates: {}
  splits: {}
"""


def test_both_versions_are_made_from_nothing_and_again_for_nothing(tmp_path, monkeypatch) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    for name in ("study", "study_captions"):
        (recipes / f"{name}.yaml").write_text(RECIPE.replace("NAME", name), encoding="utf-8")
    monkeypatch.setattr(running, "files", lambda package: recipes)
    monkeypatch.setattr(running, "RECIPES", {name: f"{name}.yaml" for name in ("study", "study_captions")})
    ledger, said = Ledger(tmp_path / "spent.json"), []
    versions = running.build_versions(tmp_path / "s", 6, 0, ledger, said.append)
    assert versions["study"].table("pair_votes").num_rows > 6
    again = running.build_versions(tmp_path / "s", 6, 0, ledger, said.append)
    assert [v.number for v in again.values()] == [1, 1]
    assert sum("writing" in line for line in said) == 2  # the second call wrote nothing
    spent = ledger.read()
    assert list(spent) == [
        "writing the documents", "writing the caption set", "building study", "building study_captions",
        "finding that nothing changed",
    ]  # fmt: skip
    assert all(one.clock > 0 and one.processor > 0 for one in spent.values())


def test_what_was_spent_adds_up_over_sessions(tmp_path) -> None:
    ledger = Ledger(tmp_path / "spent.json")
    with pytest.raises(ValueError, match="stop"), measured() as spent:
        sum(range(300_000))
        raise ValueError("stop")
    assert 0 < spent.processor and 0 < spent.clock
    ledger.add("a", Spent(1.0, 2.0))
    ledger.add("b", spent)
    ledger.add("a", Spent(0.5, 0.25))
    assert ledger.read() == {"a": Spent(1.5, 2.25), "b": spent}


class Fake:
    """A run with lines, and the task that measures them."""

    def __init__(self, lines: dict[str, float]) -> None:
        self.lines = lines

    def read_lines(self, name: str) -> list[dict[str, object]]:
        assert name == "predictions-test.jsonl"
        return [{"id": key, "right": value} for key, value in self.lines.items()]

    def task(self) -> Fake:
        return self

    def evaluate(self, lines) -> dict[str, float]:
        return {"share": sum(line["right"] for line in lines) / len(lines), "never": float("nan")}


def test_a_difference_is_of_the_rows_that_all_have_and_of_the_mean_over_seeds(monkeypatch) -> None:
    monkeypatch.setattr(certainty, "assignment_of", lambda run: run)
    keys = [f"r{n}" for n in range(40)]
    good = [Fake({key: float(n % 4 != seed) for n, key in enumerate(keys)}) for seed in (0, 1)]
    poor = [Fake({"only here": 1.0, **{key: float(n % 2) for n, key in enumerate(keys)}}) for _ in (0, 1)]
    found = certainty.differences(good, poor, ("share", "never"), samples=300)  # pyright: ignore[reportArgumentType]
    assert set(found) == {"share"} and found["share"].value == pytest.approx(0.75 - 0.5)
    assert 0 < found["share"].low < 0.25 < found["share"].high < 0.5
    same = certainty.differences(good, good, ("share",), samples=20)  # pyright: ignore[reportArgumentType]
    assert (same["share"].low, same["share"].high) == (0.0, 0.0)


def test_the_page_prints_how_sure_a_difference_is_and_what_it_cost() -> None:
    results = [result("full", s, 0.6, "full") for s in (0, 1)] + [result("random", s, 0.3) for s in (0, 1)]
    sure = {("gap", "random"): {"accuracy_cmi": certainty.Difference(0.3, 0.21, 0.384)}}
    page = results_page(Study([], results, 24, {"building study": Spent(90.0, 60.0)}, sure))
    assert "`random` in accuracy_cmi: 2 of 2 seeds (+0.300, +0.210 to +0.384); accuracy_sc: 2 of 2 seeds." in page
    assert "| building study | 60 | 90 |" in page and "| 4 runs | 12 | 22 |" in page and "| in all | 72 | 112 |" in page


def square(n: int) -> int:
    if n == 5:
        raise ValueError("five")
    return n * n


@pytest.mark.slow
def test_work_is_shared_by_processes_and_a_failure_is_told() -> None:
    assert sorted(work(square, [1, 2, 3], 2)) == [1, 4, 9]
    with pytest.raises(ValueError, match="five"):
        list(work(square, [5, 1], 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_its_processes_end_with_it(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, str(Path(__file__).parent / "toy_cells.py"), str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        wait_for(lambda: len([path for path in tmp_path.iterdir() if path.read_text()]) >= 2)
        process.send_signal(number)
        assert process.wait(60) == -number
        cells = {int(path.read_text()) for path in tmp_path.iterdir()}
        wait_for(lambda: not any(is_running(cell) for cell in cells), 20)
        assert len(list(tmp_path.iterdir())) < 4, "not all cells were begun"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """Whether it is there and not only waits to be taken note of."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
