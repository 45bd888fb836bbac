"""Cron, overlapping runs, a cancelled run, a worker killed with -9: nothing is lost, the digests are the same."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from served import ENDED, Served, make_place

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.storage.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECIPE = """
name: news
sources: [{{kind: folder, name: sample, path: site}}]
shards: 4
stages:
  clean: {{min_side: 64}}
  clean_text: {{}}
  slow: {{use: "toy_policies:Slow", seconds: {seconds}, marker: {marker}}}
train_on_commit: [{{model: gap, preset: sample}}]
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that builds every minute; the slow stage takes a while for each of 24 documents."""
    folder = tmp_path_factory.mktemp("robust")
    make_place(folder, 24, RECIPE.format(seconds=0.5, marker=folder / "computing"))
    cron = ("--recipe", "news.yaml", "--build-every", "* * * * *")
    with Served(folder, *cron, path=(Path(__file__).parents[1] / "flows",)) as found:
        yield found


@pytest.fixture(scope="module")
def expected(served: Served, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """The digests of what the plain library makes of the same recipe."""
    folder, text = tmp_path_factory.mktemp("plain"), (served.place / "news.yaml").read_text()
    crawl_recipe(text, str(folder), served.place)
    build(text, str(folder), folder=served.place)
    return digests(folder)


def digests(root: Path) -> tuple[str, str, str]:
    manifest = open_store(root, "news").log.manifest("latest")
    return manifest.input_digest, manifest.exact_digest, manifest.floats_digest


def begin(served: Served, root: Path, processes: int) -> str:
    """A build of which one shard of the slow stage is finished, and others are not."""
    form = {"recipe": "news.yaml", "root": str(root), "processes": processes}
    run = served.start("build-dataset/build", form)
    served.until(lambda: list(root.glob("news/parts/slow/*/shard-*/*/part.json")), 300, run)
    assert not open_store(root, "news").log.versions()
    return run


def retry(served: Served, run: str) -> None:
    """What the button Retry does, and the wait for the run's end."""
    served.set_state(run, "SCHEDULED", "AwaitingRetry")
    served.until(lambda: served.run(run)["state_type"] == "COMPLETED", 400, run)


def computed(served: Served, run: str, stage: str) -> int:
    """Rows of a stage that the last try of a run computed."""
    rows = json.loads(served.artifacts(run)["build-table"]["data"])
    return next(row["computed"] for row in rows if row["stage"] == stage)


def test_builds_by_cron_and_at_once_do_not_collide(served: Served, expected: tuple[str, str, str]) -> None:
    by_hand = [served.start("build-dataset/build", {"recipe": "news.yaml"}) for _ in range(2)]
    for run in by_hand:
        assert served.wait(run, 400)["state_type"] == "COMPLETED", served.logs(run)

    def fired() -> list[dict[str, Any]]:
        runs = [r for r in served.runs("build-dataset") if r["auto_scheduled"]]
        return [r for r in runs if r["state_type"] in ENDED]

    found = served.until(lambda: (r := fired()) and len(r) >= 2 and r, 400)
    assert {r["state_type"] for r in found} == {"COMPLETED"}, [served.logs(r["id"]) for r in found]
    times = [r["expected_start_time"][:16] for r in found]
    assert len(set(times)) == len(times)  # one a minute
    log = open_store(served.root, "news").log
    assert sorted(log.versions()) == [1] and digests(served.root) == expected


def test_a_commit_starts_the_trainings_that_the_recipe_asks_for(served: Served) -> None:
    done = served.wait(served.start("build-dataset/build", {"recipe": "news.yaml"}), 400)
    assert done["state_type"] == "COMPLETED"
    run = served.until(lambda: served.runs("train-model"), 120)[0]
    wanted = run["parameters"]["parameters"]
    assert {n: wanted[n] for n in ("model", "preset", "dataset", "version")} == {
        "model": "gap", "preset": "sample", "dataset": "news", "version": "1",
    }  # fmt: skip
    done = served.wait(run["id"], 300)  # this version has not what the model reads, and the run says so at once
    assert done["state_type"] == "FAILED" and "Add to the recipe" in done["state"]["message"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_cancelled_run_goes_on_from_where_it_was(
    served: Served, expected: tuple[str, str, str], processes: int
) -> None:
    root = served.place / f"cancelled-{processes}"
    run = begin(served, root, processes)
    served.set_state(run, "CANCELLING")
    assert served.wait(run, 200)["state_type"] == "CANCELLED"
    assert not open_store(root, "news").log.versions()
    retry(served, run)
    assert 0 < computed(served, run, "slow") < 24
    assert digests(root) == expected


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_worker_leaves_a_crashed_run_that_a_retry_ends_with_the_same_digest(
    served: Served, expected: tuple[str, str, str], processes: int
) -> None:
    root = served.place / f"killed-{processes}"
    run = begin(served, root, processes)
    children = served.children()
    for name in ("cpu", run):
        os.kill(children[name], signal.SIGKILL)
    served.until(lambda: "the cpu worker ended with -9; it is started again" in served.text())
    assert served.run(run)["state_type"] == "RUNNING"
    done = served.wait(run, 400)
    assert done["state_type"] == "CRASHED" and "no sign of life" in done["state"]["message"]
    assert not open_store(root, "news").log.versions()
    retry(served, run)
    assert 0 < computed(served, run, "slow") < 24  # what was finished was found
    assert digests(root) == expected
