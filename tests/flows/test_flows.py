"""The flows on an embedded Prefect server: the same versions as the plain library call, and honest failures."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId
from prefect.flow_runs import resume_flow_run
from pydantic import ValidationError

from diptych.engine import steps
from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.forget import forget
from diptych.exceptions import NothingCommitted, RecipeError, UsageError
from diptych.parameters import BuildParameters, RebuildParameters
from diptych.sample import Site, write
from diptych.storage.forgetting import Asked, versions_with
from diptych.storage.snapshot import read_forgotten
from diptych.storage.store import open_store
from flows import approval
from flows.build_dataset import build_dataset
from flows.rebuild_shard import rebuild_shard
from tasks.crawl import cut

RECIPE = """
name: news
sources: [{kind: folder, name: site, path: site}]
shards: 4
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
fits: {word_counts: {}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flows")
    write(Site(8), folder / "site", static=False)
    (folder / "news.yaml").write_text(RECIPE)
    return folder


def digests(root: Path) -> tuple[str, str, str]:
    manifest = open_store(root, "news").log.manifest("latest")
    return manifest.input_digest, manifest.exact_digest, manifest.floats_digest


def test_flow_builds_what_the_library_builds(place: Path) -> None:
    parameters = BuildParameters(recipe=str(place / "news.yaml"), root=str(place / "flow"))
    first = build_dataset(parameters)
    assert first["version"] == 1 and first["computed"] > 20
    again = build_dataset(parameters)
    assert again["version"] is None and again["computed"] == 0
    crawl_recipe(RECIPE, str(place / "plain"), place)
    build(RECIPE, str(place / "plain"), folder=place)
    assert digests(place / "flow") == digests(place / "plain")


def test_a_flow_s_tasks_share_worker_processes(place: Path) -> None:
    steps.close()
    root = str(place / "crew")
    done = build_dataset(BuildParameters(recipe=str(place / "news.yaml"), root=root, processes=2, tasks_at_once=3))
    assert done["version"] == 1 and not steps._VIEWS, "no shard was opened in the flow's process"
    assert digests(place / "crew") == digests(place / "flow")
    with pytest.raises(ValidationError, match="gpu_share"):
        BuildParameters(recipe="x", runner="ray", processes=2)


def test_task_runs_are_per_stage_and_group_never_per_row(place: Path) -> None:
    with get_client(sync_client=True) as client:
        flows = [r for r in client.read_flow_runs() if str(place / "flow") in json.dumps(r.parameters)]
        only = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[r.id for r in flows]))
        names = [r.name for r in client.read_task_runs(task_run_filter=only)]
    assert {f"clean {g}" for g in range(4)} <= set(names)
    assert len([n for n in names if n.startswith(("clean ", "sentences "))]) <= 2 * 2 * 4


def test_build_table_artifact(place: Path) -> None:
    with get_client(sync_client=True) as client:
        table = next(a for a in client.read_artifacts() if a.key == "build-table")
    data: Any = table.data
    rows = json.loads(data) if isinstance(data, str) else data
    assert {"clean", "sentences"} <= {r["stage"] for r in rows}


def test_rebuild_flow_compares_row_by_row(place: Path) -> None:
    done = rebuild_shard(RebuildParameters(dataset="news", root=str(place / "flow"), shard=1))
    assert done["version"] is None and set(done) <= {"dataset", "version", "equal"}


def test_a_refreshed_package_recomputes_its_stages_and_nothing_else(place: Path) -> None:
    parameters = BuildParameters(recipe=str(place / "news.yaml"), root=str(place / "flow"), refresh="pillow")
    done = build_dataset(parameters)
    computed: Any = done["stages"]
    assert done["version"] is None and computed["clean"] > 20 and computed["sentences"] == 0
    assert done["compared"] == {"equal": computed["clean"]}
    with pytest.raises(UsageError, match="nosuch: no stage names it; the recipe's stages name .*pillow"):
        build_dataset(parameters.model_copy(update={"refresh": "nosuch"}))


def test_a_flow_leaves_out_what_is_forgotten_while_its_snapshot_is_cut(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = BuildParameters(recipe=str(place / "news.yaml"), root=str(place / "taken-down"))
    assert build_dataset(parameters)["version"] == 1
    asked = [Asked(records=("d00004",))]

    def meanwhile(*given: Any) -> str:
        digest = cut(*given)
        while asked:
            assert forget(parameters.root, "news", asked.pop()).version == 2
        return digest

    monkeypatch.setattr("flows.build_dataset.cut", meanwhile)
    assert build_dataset(parameters)["version"] is None and not asked
    store = open_store(parameters.root, "news")
    assert versions_with(store, read_forgotten(store)) == [1]


@pytest.mark.parametrize("publish", [True, False])
def test_a_person_approves_before_publishing(place: Path, publish: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "POLL_S", 0.2)
    parameters = BuildParameters(
        recipe=str(place / "news.yaml"), root=str(place / f"asked-{publish}"), approve=True, approve_days=1
    )
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(build_dataset(parameters))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    with get_client(sync_client=True) as client:
        waiting: Any = None
        for _ in range(600):
            waiting = next((r for r in client.read_flow_runs() if r.state and r.state.is_paused()), None)
            if waiting is not None or outcome:
                break
            time.sleep(0.1)
    assert waiting is not None, outcome
    assert not (place / f"asked-{publish}" / "news" / "log").exists()
    resume_flow_run(waiting.id, run_input={"publish": publish, "note": "the captions look wrong"})
    thread.join(60)
    if publish:
        assert outcome[0]["version"] == 1
    else:
        assert isinstance(outcome[0], NothingCommitted) and "the captions look wrong" in str(outcome[0])
        assert not list((place / "asked-False" / "news").glob("log/*"))


def test_wrong_recipe_fails_in_the_first_seconds(place: Path) -> None:
    (place / "bad.yaml").write_text(RECIPE.replace("min_side", "min_sied"))
    with pytest.raises(RecipeError, match=r"stages.clean.min_sied"):
        build_dataset(BuildParameters(recipe=str(place / "bad.yaml"), root=str(place / "flow")))
    with pytest.raises(RecipeError, match="no sample: block"):
        build_dataset(BuildParameters(recipe=str(place / "news.yaml"), root=str(place / "flow"), sample=True))
    with pytest.raises(ValidationError):
        BuildParameters(recipe="x", device="gpu please")
    with pytest.raises(ValidationError):
        BuildParameters(recipe="x", wrong=1)  # type: ignore[call-arg]
