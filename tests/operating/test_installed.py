"""The wheel in a bare folder: its flows import, ``prefect deploy --all`` registers them, a worker runs one of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from stack import Stack

from diptych.sample import Site, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RECIPE = """
name: notes
sources: [{kind: folder, name: site, path: site}]
shards: 2
stages: {clean: {min_side: 64}}
"""
SHOW = """
import importlib, sys
for name in sys.argv[1:]:
    module, _, flow = name.partition(":")
    found = importlib.import_module(module)
    print(found.__file__, callable(getattr(found, flow)))
"""


@pytest.fixture(scope="module")
def bare(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds and nothing else (pip makes the wheel with a hatchling of the index)."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", str(repository), "--no-deps", "-w", str(folder / "wheels")], check=True)
    (wheel,) = (folder / "wheels").glob("diptych-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "bare"), str(wheel)], check=True)
    return folder / "bare"


@pytest.fixture
def stack(bare: Path, tmp_path: Path) -> Iterator[Stack]:
    """Processes that find the package in that folder, before any checkout."""
    made = Stack(tmp_path)
    made.environment |= {"PYTHONPATH": str(bare), "DIPTYCH_ROOT": str(tmp_path / "data")}
    try:
        yield made
    finally:
        made.close()


def test_entrypoints_import_from_the_wheel_alone(bare: Path, tmp_path: Path) -> None:
    entries = yaml.safe_load((bare / "flows" / "prefect.yaml").read_text())["deployments"]
    names = [e["entrypoint"] for e in entries] + ["tasks.extract:extract", "tasks.train:train_run", "flows.serve:main"]
    done = subprocess.run(
        [sys.executable, "-c", SHOW, *names],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(bare)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(names) == 7
    assert all(file.startswith(f"{bare}{os.sep}") and found == "True" for file, found in lines), lines


def test_prefect_deploy_all_registers_what_a_worker_runs(bare: Path, stack: Stack, tmp_path: Path) -> None:
    write(Site(6), tmp_path / "site", static=False)
    (tmp_path / "notes.yaml").write_text(RECIPE)
    shutil.copy(bare / "flows" / "prefect.yaml", tmp_path)
    stack.python("server", "flows.server", "server", "start", "--port", str(stack.port))
    stack.until(stack.ready, 300, "server")
    for pool in ("cpu", "gpu"):
        stack.run("prefect", "work-pool", "create", pool, "--type", "process")
    stack.run("prefect", "--no-prompt", "deploy", "--all")
    found = {d["name"]: d for d in stack.ask("POST", "/deployments/filter", {})}
    assert {name: d["work_pool_name"] for name, d in found.items()} == {
        "crawl": "cpu", "build": "cpu", "rebuild-shard": "cpu", "train": "gpu"
    }  # fmt: skip
    assert [s["active"] for s in found["build"]["schedules"]] == [False]
    form = found["train"]["parameter_openapi_schema"]["definitions"]["TrainParameters"]["properties"]
    assert form["max_hours"]["description"] and "enum" not in form["dataset"]
    stack.python("worker", "prefect", "worker", "start", "--pool", "cpu")
    run = stack.build(tmp_path / "notes.yaml")
    assert stack.until(lambda: stack.ended(run), 400, "build") == "COMPLETED", stack.tails()
    assert (tmp_path / "data" / "notes" / "log" / "1.json").exists()
    assert stack.errors("server", "worker") == []
