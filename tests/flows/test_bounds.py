"""How many task runs a build has: a fixed number at most, whatever its size."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId
from prefect.runtime import flow_run

from diptych.engine import drive as driving
from diptych.engine.build import ATTEMPTS
from diptych.engine.context import BuildContext, Done, Progress, graph_of
from diptych.engine.drive import MAX_TASKS, TASKS_AT_ONCE, Step, bundles, task_runs, tasks_a_step
from diptych.recipe import parse_recipe
from diptych.storage.parts import groups
from flows.runners import Machines, make_runner
from flows.submission import Tasks

SHARDS = 1 << 17
"""The first power of two above 100,000."""
SAMPLE = Path(__file__).resolve().parents[2] / "datasets" / "sample.yaml"


def test_every_attempt_of_a_build_together_stays_below_the_bound() -> None:
    for nodes in range(1, 97):
        for threads in (None, 1, 2, 3, 8, 64):
            tasks = nodes * sum(tasks_a_step(nodes, attempt, ATTEMPTS, threads) for attempt in range(ATTEMPTS))
            assert tasks + 1 + 2 * ATTEMPTS + 1 <= MAX_TASKS, (nodes, threads)


def test_a_task_has_groups_for_all_worker_processes() -> None:
    for processes in (2, 3, 8, 16, 64):
        for threads in (1, 2, 8):
            most = tasks_a_step(10, 0, ATTEMPTS, threads, processes)
            assert most == 1 or 32 // most * threads >= 2 * processes, (threads, processes)


@pytest.mark.parametrize("most", [1, 3, 8, 32])
def test_bundles_hold_every_step_once_and_in_order(most: int) -> None:
    steps = [Step("stage", names, group) for names in (("clean",), ("grid", "ocr")) for group in range(32)]
    found = bundles(steps, most)
    assert [Step(b.kind, b.names, g) for b in found for g in b.groups] == steps
    assert max(sum(b.names == names for b in found) for names in (("clean",), ("grid", "ocr"))) <= most


def test_a_dry_run_over_a_hundred_thousand_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flow's own submission of the sample recipe, with tasks that do nothing: Prefect counts them."""

    def nothing(
        kind: str,
        context: Mapping[str, Any],
        names: Sequence[str],
        groups: Sequence[int],
        done: Mapping[str, Done],
        limit_s: float,
    ) -> list[Progress]:
        return [
            Progress(name, group, "-", kind="fit" if kind == "fit" else "stage") for name in names for group in groups
        ]

    def fitted(context: BuildContext, name: str, done: Mapping[str, Done], chunks: Sequence[str]) -> Done:
        assert len(chunks) == len(groups(SHARDS)) == 32
        return Done(name, "key", tuple(chunks), "result")

    monkeypatch.setattr("tasks.annotate.compute_step", nothing)
    monkeypatch.setattr("tasks.extract.compute_step", nothing)
    monkeypatch.setattr(driving, "merge_fit", fitted)
    recipe = SAMPLE.read_text()
    graph = graph_of(recipe)
    nodes = len(graph.nodes)
    context = BuildContext(str(tmp_path), parse_recipe(recipe).name, "dry", recipe, "-", SHARDS, 0, None)

    submitted: list[Any] = []
    ways = ((0, None), (1, None), (0, TASKS_AT_ONCE))  # a cluster; there again after a lost race; threads
    ends: list[int] = []

    @flow(name="dry-run")
    def dry_run() -> str:
        for attempt, threads in ways:
            most = tasks_a_step(nodes, attempt, ATTEMPTS, threads)
            with make_runner(Machines(tasks_at_once=8)) as runner:
                submit = runner.submit
                monkeypatch.setattr(runner, "submit", lambda *a, s=submit: submitted.append(a) or s(*a))
                tasks = Tasks(runner, Machines(), context, most, hours=1)
                driving.drive(context, lambda s, d, t=tasks: [p for f in t.submit(s, d) for p in f.result()])
            ends.append(len(submitted))
        return str(flow_run.get_id())

    only = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[dry_run()]))  # type: ignore[arg-type]
    count, until = 0, time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while count < len(submitted) and time.monotonic() < until:  # the server writes them a little later
            time.sleep(0.5)
            pages = [client.read_task_runs(task_run_filter=only, offset=start) for start in (0, 200, 400, 600, 800)]
            count = sum(len(page) for page in pages)
    assert count == len(submitted)
    cluster, lost, threads = ends[0], ends[1] - ends[0], ends[2] - ends[1]
    assert 300 < cluster + lost <= MAX_TASKS
    assert cluster + 3 == task_runs(graph, SHARDS, ATTEMPTS)
    assert threads + 3 == task_runs(graph, SHARDS, ATTEMPTS, TASKS_AT_ONCE) and 32 * threads == 8 * cluster
