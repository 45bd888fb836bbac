"""One test a policy: what is tried again and what never is, time limits, memory, the accelerator's limit, telling."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterTags
from prefect.exceptions import ObjectNotFound

sys.path.insert(0, str(Path(__file__).parent))

import toy_policies

from diptych.engine import steps
from diptych.engine.build import Silent, make_context, run_here
from diptych.engine.context import BuildOptions
from diptych.engine.crawling import crawl_recipe
from diptych.engine.devices import places
from diptych.engine.drive import drive
from diptych.engine.intake import take_snapshot
from diptych.exceptions import Conflict, NothingCommitted, StageError
from diptych.parameters import BuildParameters, CrawlParameters
from diptych.recipe import parse_recipe
from diptych.sample import Site, write
from diptych.storage.store import open_store
from flows.accelerators import LIMIT, set_limit
from flows.build_dataset import build_dataset
from flows.crawl_pages import crawl_pages
from tasks import crawl, publish
from tasks.annotate import annotate
from tasks.compute import compute_step
from tasks.extract import extract
from tasks.policies import tags_for
from tasks.publish import publish as publish_task
from tasks.train import train_run

RECIPE = """
name: policies
sources: [{kind: folder, name: site, path: site}]
shards: 1
stages:
  clean: {min_side: 64}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    write(Site(6), folder / "site", static=False)
    return folder


def recipe(place: Path, name: str, more: str = "", limits: str = "") -> Path:
    """A recipe whose dataset has that name and a stage more."""
    file = place / f"{name}.yaml"
    file.write_text(RECIPE.replace("policies", name) + more + limits)
    return file


def test_a_crawl_heals_after_two_failures(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def flaky(*given: Any, **named: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionResetError("the network is away")
        return crawl_recipe(*given, **named)

    monkeypatch.setattr(crawl, "crawl_recipe", flaky)
    monkeypatch.setattr(crawl.crawl_sources, "retry_delay_seconds", [0.1, 0.1])
    file = recipe(place, "flaky")
    done = crawl_pages(CrawlParameters(recipe=str(file), root=str(place / "data")))
    assert len(tries) == 3 and "records: 6 new, 6 ok" in done["totals"]


def test_a_wrong_crawl_is_not_tried_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def shrunk(*given: Any, **named: Any) -> Any:
        tries.append(1)
        raise NothingCommitted("too many pages are gone")

    monkeypatch.setattr(crawl, "crawl_recipe", shrunk)
    with pytest.raises(NothingCommitted):
        crawl_pages(CrawlParameters(recipe=str(recipe(place, "gone")), root=str(place / "data")))
    assert len(tries) == 1


def test_extract_lowers_its_batch_after_out_of_memory(place: Path) -> None:
    toy_policies.SEEN.clear()
    file = recipe(place, "narrow", '  narrow: {use: "toy_policies:Narrow"}\n')
    done = build_dataset(BuildParameters(recipe=str(file), root=str(place / "data")))
    assert done["version"] == 1
    counts = open_store(place / "data", "narrow").log.manifest(1).stage("narrow").counts
    assert counts.ok > 8 and counts.failed == 0 and set(toy_policies.SEEN) <= {1, 2}


def test_annotate_stops_at_its_time_limit_and_is_not_tried_again(place: Path, tmp_path: Path) -> None:
    file = recipe(place, "slow", '  slow: {use: "toy_policies:Slow"}\n')
    parameters = BuildParameters(recipe=str(file), root=str(place / "data"), task_hours=1.5 / 3600)
    with pytest.raises(TimeoutError, match="1.5 second"):
        build_dataset(parameters)
    with get_client(sync_client=True) as client:
        run = next(r for r in client.read_task_runs() if r.name.startswith("slow "))
    assert run.state_name == "TimedOut" and run.run_count == 1
    assert not open_store(place / "data", "slow").log.versions()


@pytest.mark.parametrize("processes", [1, 2])
def test_extract_stops_at_its_time_limit_with_the_rows_under_way(place: Path, tmp_path: Path, processes: int) -> None:
    begun, name = tmp_path / "begun", f"far{processes}"
    stage = f'{{use: "toy_policies:SlowFar", seconds: 4, marker: "{begun}"}}'
    file = recipe(place, name, f"  slow_far: {stage}\n")
    file.write_text(file.read_text().replace("shards: 1", f"shards: {processes}"))
    parameters = BuildParameters(recipe=str(file), root=str(place / "data"), task_hours=1.5 / 3600, processes=processes)
    with pytest.raises(TimeoutError, match="1.5 second"):
        build_dataset(parameters)
    rows = begun.read_text().splitlines() if begun.exists() else []
    assert len(rows) <= 2 * processes < 6, "none begins after its limit but those that are at hand"
    with get_client(sync_client=True) as client:
        runs = [r for r in client.read_task_runs() if r.name.startswith("slow_far ")]
    assert {(r.state_name, r.run_count) for r in runs} == {("TimedOut", 1)}


def test_failed_rows_stand_in_the_log_by_record_and_reason(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = recipe(place, "broken", '  broken: {use: "toy_policies:Broken"}\n')
    with pytest.raises(NothingCommitted, match="stage broken"):
        build_dataset(BuildParameters(recipe=str(file), root=str(place / "data")))
    with get_client(sync_client=True) as client:
        run = max(client.read_flow_runs(), key=lambda r: r.created or r.updated)  # type: ignore[type-var,return-value]
        table = next(a for a in client.read_artifacts() if a.key == "build-table" and a.flow_run_id == run.id)
    rows = json.loads(str(table.data)) if isinstance(table.data, str) else table.data
    failed = next(r["failed"] for r in rows if r["stage"] == "broken")  # type: ignore[union-attr,index]
    named = [r for r in caplog.records if r.getMessage().startswith("broken: record ")]
    assert len(named) == failed >= 1
    assert all("failed_permanent: unreadable: the text of" in r.getMessage() for r in named)


def test_publish_is_never_tried_again_and_a_second_publish_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recipe(place, "published")
    root, text = str(place / "data"), file.read_text()
    crawl_recipe(text, root, place)
    store = open_store(root, "published")
    context = make_context(text, root, take_snapshot(store, parse_recipe(text), place), BuildOptions())
    finished = drive(context, run_here(context, Silent()))
    tries = []

    @flow
    def twice() -> None:
        assert publish_task(context.to_json(), finished).committed.version == 1
        with pytest.raises(Conflict):
            publish_task(context.to_json(), finished)

    @flow
    def broken() -> None:
        publish_task(context.to_json(), finished)

    twice()
    assert sorted(store.log.versions()) == [1]

    def fails(*given: Any) -> Any:
        tries.append(1)
        raise ConnectionResetError("the bucket is away")

    monkeypatch.setattr(publish, "report_of", fails)
    with pytest.raises(ConnectionResetError):
        broken()
    assert len(tries) == 1


def test_only_accelerators_wait_for_their_limit_and_nothing_is_pickled() -> None:
    assert tags_for("cpu") == [] and tags_for("cuda:1") == ["accelerator"]
    for task in (annotate, extract, publish_task, crawl.crawl_sources, train_run):
        assert task.persist_result is False and task.cache_policy is not None
        assert type(task.cache_policy).__name__ == "_None"
    assert publish_task.retries == 0 and annotate.retries == 1 and crawl.crawl_sources.retries == 2
    assert all(t.timeout_seconds for t in (publish_task, crawl.crawl_sources, crawl.cut))


def test_one_task_at_a_time_is_on_the_accelerator_also_where_nobody_made_the_limit(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inside, seen, guard, met = [0], [], threading.Lock(), threading.Event()
    hold = [1.0]  # seconds that a task waits for another beside it

    def counted(*given: Any) -> Any:
        with guard:
            inside[0] += 1
            seen.append(inside[0])
            if inside[0] > 1:
                met.set()
        met.wait(hold[0])
        try:
            return compute_step(*given)
        finally:
            with guard:
                inside[0] -= 1

    monkeypatch.setattr("tasks.extract.compute_step", counted)
    monkeypatch.setattr(steps, "places", lambda device, compiled: places("cpu", compiled=compiled))  # there is no GPU
    monkeypatch.setattr("flows.build_dataset.check_devices", lambda device: None)
    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectNotFound):  # another test may have registered the deployments
            client.delete_global_concurrency_limit_by_name(LIMIT)
        for name, most, said in (("alone", 1, 1), ("again", 1, 0), ("both", 2, 0)):
            if most == 2:  # now two may, and they are seen: so none met before
                set_limit(client, 2)
                hold[0] = 60
            seen.clear()
            caplog.clear()
            file = recipe(place, name, '  narrow: {use: "toy_policies:Narrow"}\n')
            file.write_text(file.read_text().replace("shards: 1", "shards: 2"))
            done = build_dataset(BuildParameters(recipe=str(file), root=str(place / "data"), device="cuda"))
            assert done["version"] == 1
            assert len(seen) == 2 and max(seen) == most and inside == [0]
            assert sum(f"no limit {LIMIT}: it was made" in r.getMessage() for r in caplog.records) == said
            assert client.read_global_concurrency_limit_by_name(LIMIT).limit == most
        wanted = TaskRunFilter(tags=TaskRunFilterTags(all_=["accelerator"]))
        tagged, until = [], time.monotonic() + 60
        while [r.state_name for r in tagged] != ["Completed"] * 6 and time.monotonic() < until:
            time.sleep(0.2)  # the server writes them a little later
            tagged = client.read_task_runs(task_run_filter=wanted)
    assert [(r.task_key.partition("-")[0], r.state_name) for r in tagged] == [("extract", "Completed")] * 6


@pytest.fixture
def listener() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook on this machine, and what it was told."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *given: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", told
    server.shutdown()
    server.server_close()


def test_somebody_is_told_when_a_run_fails(
    place: Path, listener: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, told = listener
    monkeypatch.setenv("DIPTYCH_NOTIFY_URL", url)
    monkeypatch.setenv("DIPTYCH_NOTIFY_COMMAND", f"tee {tmp_path / 'told.json'}")
    file = recipe(place, "untold", '  broken: {use: "toy_policies:Broken"}\n')
    with pytest.raises(NothingCommitted):
        build_dataset(BuildParameters(recipe=str(file), root=str(place / "data")))
    assert len(told) == 1 and told[0]["flow"] == "build-dataset" and told[0]["state"] == "Failed"
    assert "stage broken" in told[0]["text"]
    assert json.loads((tmp_path / "told.json").read_text()) == told[0]


def test_a_build_that_failed_does_not_compute_the_other_stages_to_their_end(place: Path, tmp_path: Path) -> None:
    marker = tmp_path / "begun"
    file = recipe(
        place,
        "failing",
        f'  slow: {{use: "toy_policies:Slow", seconds: 2, marker: "{marker}"}}\n'
        f'  wrong: {{use: "toy_policies:Wrong", marker: "{marker}"}}\n',
    )
    with pytest.raises(StageError, match="a bug"):
        build_dataset(BuildParameters(recipe=str(file), root=str(place / "data")))
    assert len(marker.read_text().splitlines()) < 6, "it ends at its next batch"
    said, until = "", time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while "the build ended" not in said and time.monotonic() < until:
            time.sleep(0.2)  # the server writes them a little later
            runs = [r for r in client.read_task_runs() if r.name.startswith("slow ") and r.state_name == "Failed"]
            said = "".join(str(r.state.message) for r in runs if r.state)
    assert len(runs) == 1 and runs[0].run_count == 1 and "the build ended" in said
