"""However ``diptych serve`` ends: no process is left, no run stays Running, and Retry goes on after the next start."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import Served, make_place

from diptych.storage.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FLOWS = Path(__file__).parents[1] / "flows"
RECIPE = """
name: news
sources: [{{kind: folder, name: sample, path: site}}]
shards: 4
stages:
  clean: {{min_side: 64}}
  clean_text: {{}}
  slow: {{use: "toy_policies:Slow", seconds: 0.5, marker: {marker}}}
"""


def slots(served: Served) -> int:
    return served.ask("GET", "/v2/concurrency_limits/tag:accelerator")["active_slots"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_was_under_way_is_crashed_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    make_place(tmp_path, 24, RECIPE.format(marker=tmp_path / "computing"))
    with Served(tmp_path, path=(FLOWS,)) as first:
        run = first.start("build-dataset/build", {"recipe": "news.yaml"})
        first.until(lambda: list(first.root.glob("news/parts/slow/*/shard-*/*/part.json")), 300, run)
        limit = {"active_slots": 1, "limit": 3}  # as a killed task leaves it, and as a person set it
        first.ask("PATCH", "/v2/concurrency_limits/tag:accelerator", limit)
        with pytest.raises(AssertionError, match=r"ended with 2:\n.*another diptych serve uses .*process \d+"):
            Served(tmp_path, "--root", "other", log="second.log")
        first.process.send_signal(how)
        first.process.wait(120)
        first.until_gone(60)
    with Served(tmp_path, path=(FLOWS,)) as second:
        state = second.run(run)["state"]
        assert state["type"] == "CRASHED" and "diptych serve" in (state["message"] or ""), (state, first.text()[-3000:])
        assert slots(second) == 0
        assert second.ask("GET", "/v2/concurrency_limits/tag:accelerator")["limit"] == 3
        second.set_state(run, "SCHEDULED", "AwaitingRetry")
        second.until(lambda: second.run(run)["state_type"] == "COMPLETED", 400, run)
        assert sorted(open_store(second.root, "news").log.versions()) == [1]


def test_a_run_whose_worker_was_killed_ends_too(tmp_path: Path) -> None:
    make_place(tmp_path, 24, RECIPE.format(marker=tmp_path / "computing"))
    with Served(tmp_path, path=(FLOWS,)) as first:
        run = first.start("build-dataset/build", {"recipe": "news.yaml"})
        first.until(lambda: (tmp_path / "computing").exists(), 300, run)
        os.kill(first.children()["cpu"], signal.SIGKILL)
        first.until(lambda: "the cpu worker ended with -9; it is started again" in first.text())
        assert run in first.children()
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(120) == 0
        first.until_gone(1)
    with Served(tmp_path, path=(FLOWS,), log="second.log") as second:
        assert second.run(run)["state_type"] == "CRASHED", first.text()[-3000:]
        assert slots(second) == 0


def test_the_next_start_ends_a_run_that_was_left(tmp_path: Path) -> None:
    make_place(tmp_path, 24, RECIPE.format(marker=tmp_path / "computing"))
    with Served(tmp_path, path=(FLOWS,)) as first:
        run = first.start("build-dataset/build", {"recipe": "news.yaml"})
        first.until(lambda: (tmp_path / "computing").exists(), 300, run)
        os.kill(first.children()["cpu"], signal.SIGKILL)
        first.process.kill()
        first.process.wait(120)
        while list(first.children()) != [run]:  # its own end with it
            time.sleep(0.5)
        with Served(tmp_path, path=(FLOWS,), log="second.log") as second:
            assert run not in second.children()
            assert second.run(run)["state_type"] == "CRASHED", second.text()[-3000:]
