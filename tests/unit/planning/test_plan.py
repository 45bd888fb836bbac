"""``diptych plan``: rates from own builds, estimates of any size, what gives out first, releases that would mix."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
import toy

from diptych.cli import app
from diptych.engine import commit as committing
from diptych.engine import compute
from diptych.engine.build import build
from diptych.engine.context import BuildContext, BuildOptions, Force, graph_of
from diptych.engine.rebuild import refreshing
from diptych.exceptions import UsageError
from diptych.planning import plan as planning
from diptych.planning.estimate import Machine, estimate, shards_for
from diptych.planning.page import RECIPE, amount, machines, scale_page
from diptych.planning.plan import plan
from diptych.planning.rates import packaged_shape, rates_of
from diptych.recipe import RecipeFile, load_recipe, parse_recipe
from diptych.report.values import number
from diptych.storage.store import open_store

HERE = Path(__file__).parent
FOLDER = """
name: notes
sources: [{kind: folder, name: notes, path: notes}]
shards: 2
stages:
  clean_text: {min_characters: 1}
  sentences: {}
"""


def test_the_page_is_what_the_command_computes_now() -> None:
    page = HERE.parents[2] / "docs" / "scale.md"
    assert page.read_text() == scale_page(), "python -m diptych.planning.page > docs/scale.md"


def test_sizes_grow_as_they_must() -> None:
    graph, shape = graph_of(RECIPE), packaged_shape()
    rates = rates_of(graph, ())
    small, large = (estimate(graph, rates, shape, n) for n in (10_000, 1_000_000))
    assert large.core_hours == pytest.approx(100 * small.core_hours, rel=1e-3)
    assert large.requests == large.documents + large.images
    assert large.bytes > large.blob_bytes > 0
    assert (small.task_runs, small.task_runs_ray) == (large.task_runs, large.task_runs_ray)
    assert 32 * (large.task_runs - 3) == 8 * (large.task_runs_ray - 3) and large.task_runs_ray <= 500
    rows = {s.name: s.rows for s in large.stages}
    assert rows["clean_text"] == large.documents and rows["ocr"] == large.images
    ocr = next(s for s in large.stages if s.name == "ocr")
    rate = rates["ocr"]
    assert rate is not None and ocr.hours == pytest.approx(ocr.rows * rate.seconds / 3600)


def test_the_first_bottleneck_is_what_exceeds_a_machine_most() -> None:
    graph, shape = graph_of(RECIPE), packaged_shape()
    rates = rates_of(graph, ())
    assert estimate(graph, rates, shape, 1_000_000, machine=Machine(disk=1e9)).first.name == "disk"
    assert estimate(graph, rates, shape, 1_000_000, machine=Machine(cores=1, days=1)).first.name == "computing"
    found = estimate(graph, rates, shape, 1_000_000)
    assert [x.share for x in found.limits] == sorted((x.share for x in found.limits), reverse=True)


def test_machines_of_little_time_are_counted() -> None:
    graph = graph_of(RECIPE)
    found = estimate(graph, rates_of(graph, ()), packaged_shape(), 1_000_000, machine=Machine(cores=1, days=0.01))
    assert (machines(found) - 1) * 0.24 < found.core_hours <= machines(found) * 0.24


def test_amounts_are_rounded_before_they_are_written() -> None:
    assert amount(999_600, "bytes") == "1 MB" and amount(999.7e6, "bytes of memory") == "1 GB of memory"
    assert amount(99.7, "hours") == "100 hours" and amount(99.4, "hours") == "99 hours"
    assert number(999.7) == "1,000" and number(-999.7) == "-1,000" and number(999.4) == "999"


def test_a_shard_has_about_a_thousand_images() -> None:
    assert (shards_for(10), shards_for(1_000_000), shards_for(10**12)) == (4, 1024, 1 << 20)


def test_command_before_and_after_a_build(tmp_path: Path) -> None:
    (tmp_path / "notes" / "documents").mkdir(parents=True)
    for n in range(30):
        document = {"title": f"Note {n}", "text": f"Note {n}. It says something. " * 3}
        (tmp_path / "notes" / "documents" / f"{n}.json").write_text(json.dumps(document))
    recipe = tmp_path / "notes.yaml"
    recipe.write_text(FOLDER)
    run = CliRunner().invoke

    def asked(*more: str) -> Any:
        done = run(app, ["plan", str(recipe), "--root", str(tmp_path / "data"), "--json", *more])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    nothing = run(app, ["plan", str(recipe), "--root", str(tmp_path / "data")])
    assert isinstance(nothing.exception, UsageError) and "--documents" in str(nothing.exception)
    before = asked("--documents", "5000")
    assert before["next"] == [] and {s["origin"] for s in before["size"]["stages"]} == {"packaged"}

    assert run(app, ["build", str(recipe), "--root", str(tmp_path / "data")]).exit_code == 0
    after = asked()
    assert after["parent"] == 1 and after["size"]["documents"] == 30
    assert {n["missing"] for n in after["next"]} == {0}
    origins = {s["name"]: s["origin"] for s in after["size"]["stages"]}
    assert origins["clean_text"] == origins["sentences"] == "version 1"
    recipe.write_text(FOLDER + "  parse: {}\n")  # the first stage whose rows are sentences
    later = asked("--documents", "1000000")
    seen = {s["stage"]: s["rows"] for s in later["next"]}["parse"]
    assert seen > 30 and {s["name"]: s["rows"] for s in later["size"]["stages"]}["parse"] == seen * 1_000_000 // 30
    text = run(app, ["plan", str(recipe), "--root", str(tmp_path / "data"), "--documents", "1000000"])
    assert "first to give out" in text.output and "1,000,000" in text.output


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version of toy stages, of which ``words`` depends on the package numpy."""
    monkeypatch.setattr(toy.Words, "packages", ("numpy",))
    store = open_store(tmp_path, "toy")
    rows = [toy.record(f"doc{i}", f"red car {i}", [(b"x" * (i + 1), "a car")], store) for i in range(6)]
    build(toy.RECIPE, str(tmp_path), snapshot=toy.snapshot(store, rows))
    return tmp_path


def released(monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    """From now on numpy has another release."""
    for module in (committing, compute, planning):
        monkeypatch.setattr(module, "release", lambda package: release if package == "numpy" else "1")


def test_mixed_releases_are_said_and_refreshed(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(toys, "toy")
    snapshot = store.log.manifest("latest").snapshot
    monkeypatch.setattr("diptych.engine.dry_run.take_snapshot", lambda *a: snapshot)
    file = RecipeFile(parse_recipe(toy.RECIPE), toy.RECIPE, toys)
    assert plan(file, toys).mixed == ()

    released(monkeypatch, "99.0")
    mixed = plan(file, toys).mixed
    assert [(m.stage, m.package, m.now) for m in mixed] == [("words", "numpy", "99.0")]

    toy.CALLS.clear()
    report = build(toy.RECIPE, str(toys), force=refreshing(graph_of(toy.RECIPE), "numpy"), snapshot=snapshot)
    assert {stage for stage, _ in toy.CALLS} == {"words"} and len(toy.CALLS) == 6
    assert report.committed.version == 2  # no value changed; the version says which release made it
    assert store.log.manifest(2).stage("words").packages == {"numpy": "99.0"}
    assert store.log.manifest(2).exact_digest == store.log.manifest(1).exact_digest
    assert plan(file, toys).mixed == ()
    again = build(toy.RECIPE, str(toys), force=refreshing(graph_of(toy.RECIPE), "numpy"), snapshot=snapshot)
    assert again.committed.version is None


def test_a_package_that_no_stage_names_is_refused() -> None:
    with pytest.raises(UsageError, match="no stage names it"):
        refreshing(graph_of(toy.RECIPE), "nosuch")


def test_refreshed_stages_travel_with_the_context() -> None:
    context = BuildContext("r", "d", "b", "x", "s", 4, 0, None, BuildOptions(), Force(stages=("ocr",)))
    assert BuildContext.from_json(json.loads(json.dumps(context.to_json()))) == context


def test_sample_recipe_can_be_planned_without_any_data(tmp_path: Path) -> None:
    found = plan(load_recipe(HERE.parents[2] / "datasets" / "sample.yaml"), tmp_path, documents=1000)
    assert not found.size.unknown and found.size.core_hours > 0
