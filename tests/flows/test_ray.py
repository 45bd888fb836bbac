"""A build on the machines of a Ray cluster: the same flow, the same digests, also when a machine dies in the middle."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.exceptions import UsageError
from diptych.parameters import BuildParameters
from diptych.sample import Site, write
from diptych.storage.store import open_store
from flows.build_dataset import build_dataset
from flows.runners import LOST, Machines, make_runner, resources

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "operating")]

from stack import Stack  # noqa: E402

RECIPE = """
name: news
sources: [{kind: folder, name: site, path: site}]
shards: 16
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
  dawdle: {use: "dawdle:Dawdle"}
fits: {word_counts: {}}
"""


def start_two() -> tuple[Any, Any]:
    """The cluster and its second node; again where a busy machine exceeds the 30 s that Ray allows a node's start."""
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 << 20}
    for left in (2, 1, 0):
        cluster = Cluster()
        try:
            cluster.add_node(include_dashboard=False, **node)
            return cluster, cluster.add_node(**node)
        except Exception as error:
            cluster.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise
    raise AssertionError


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two Ray nodes of one core on loopback, each with its own raylet and processes."""
    (tmp_path / "seen").mkdir()
    monkeypatch.setenv("DAWDLE", str(tmp_path / "seen"))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *(p for p in sys.path if p)]))
    cluster, second = start_two()
    try:
        yield cluster, second
    finally:
        cluster.shutdown()


def rows_seen(folder: Path) -> list[tuple[int, int, str]]:
    """Raylet, process and row key of every row that a process was asked for."""
    return [(int(a), int(b), key) for a, b, key, _ in (f.name.split(" ") for f in folder.iterdir())]


def kill_in_the_middle(raylet: int, folder: Path, killed: list[str]) -> None:
    """SIGKILL for a node's raylet and processes as soon as one of them has begun its third row."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        own = [(process, key) for parent, process, key in rows_seen(folder) if parent == raylet]
        if len(own) >= 3:
            for process in {process for process, _ in own}:
                os.kill(process, signal.SIGKILL)
            os.kill(raylet, signal.SIGKILL)
            killed.extend(key for _, key in own)
            return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_dies_and_the_digests_are_the_same(nodes: Any, tmp_path: Path) -> None:
    cluster, second = nodes
    write(Site(28), tmp_path / "site", static=False)
    (tmp_path / "news.yaml").write_text(RECIPE)
    raylet = second.all_processes["raylet"][0].process.pid
    killed: list[str] = []
    killer = threading.Thread(target=kill_in_the_middle, args=(raylet, tmp_path / "seen", killed))
    killer.start()
    done = build_dataset(
        BuildParameters(
            recipe=str(tmp_path / "news.yaml"), root=str(tmp_path / "ray"), runner="ray", ray_address=cluster.address
        )
    )
    killer.join()
    assert len(killed) >= 3, "the second node was not killed while it computed"
    assert done["version"] == 1

    seen = rows_seen(tmp_path / "seen")
    again = [key for key, n in Counter(key for _, _, key in seen).items() if n > 1]
    assert set(again) <= set(killed)  # only what the dead node had begun
    assert len({parent for parent, _, _ in seen}) == 2  # both nodes computed

    os.environ.pop("DAWDLE")
    crawl_recipe(RECIPE, str(tmp_path / "plain"), tmp_path)
    build(RECIPE, str(tmp_path / "plain"), folder=tmp_path)
    ray, plain = (open_store(tmp_path / root, "news").log.manifest("latest") for root in ("ray", "plain"))
    assert (ray.input_digest, ray.exact_digest, ray.floats_digest) == (
        plain.input_digest, plain.exact_digest, plain.floats_digest
    )  # fmt: skip


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A root in an object storage on loopback, whose address and keys are in the environment."""
    made = Stack(tmp_path)
    try:
        made.objects()
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in made.environment.items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        yield made.environment["DIPTYCH_ROOT"]
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_on_object_storage_builds_what_the_library_builds_on_a_disk(
    bucket: str, nodes: Any, tmp_path: Path
) -> None:
    cluster, _ = nodes
    recipe = RECIPE.replace("shards: 16", "shards: 4")
    write(Site(8), tmp_path / "site", static=False)
    (tmp_path / "news.yaml").write_text(recipe)
    form = BuildParameters(recipe=str(tmp_path / "news.yaml"), root=bucket, runner="ray", ray_address=cluster.address)
    assert build_dataset(form)["version"] == 1
    seen = rows_seen(tmp_path / "seen")
    assert len({parent for parent, _, _ in seen}) == 2 and os.getpid() not in {process for _, process, _ in seen}
    again = build_dataset(form)
    assert again["version"] is None and again["computed"] == 0 and len(rows_seen(tmp_path / "seen")) == len(seen)

    os.environ.pop("DAWDLE")
    crawl_recipe(recipe, str(tmp_path / "plain"), tmp_path)
    build(recipe, str(tmp_path / "plain"), folder=tmp_path)
    there, plain = (open_store(root, "news").log.manifest("latest") for root in (bucket, tmp_path / "plain"))
    assert (there.input_digest, there.exact_digest, there.floats_digest) == (
        plain.input_digest, plain.exact_digest, plain.floats_digest
    )  # fmt: skip


def test_no_cluster_at_that_address_is_said_at_once() -> None:
    with (
        pytest.raises(UsageError, match=r"127\.0\.0\.1:1.*ray start --head"),
        make_runner(Machines("ray", "127.0.0.1:1")),
    ):
        pass


def test_only_accelerator_stages_on_a_gpu_want_a_share_of_one() -> None:
    from prefect_ray.context import RemoteOptionsContext

    def wanted(accelerator: bool, device: str) -> Any:
        with resources(Machines("ray", gpu_share=0.5), accelerator, device):
            return RemoteOptionsContext.get().current_remote_options

    assert wanted(True, "cuda") == {"num_cpus": 1, "num_gpus": 0.5, "max_retries": LOST}
    assert wanted(True, "cpu")["num_gpus"] == wanted(False, "cuda")["num_gpus"] == 0


def test_threads_run_as_many_tasks_as_the_form_says() -> None:
    with make_runner(Machines.of(BuildParameters(recipe="x", tasks_at_once=3))) as runner:
        assert isinstance(runner, ThreadPoolTaskRunner) and runner._max_workers == 4  # one waits its turn
