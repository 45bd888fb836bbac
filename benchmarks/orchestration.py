"""What Prefect costs: the same build of 64 shards by the plain library call and as a flow, in pairs.

    python benchmarks/orchestration.py [--documents 1024] [--pairs 3] [--tasks-at-once 1]

Both compute every row of the same documents into a folder of their own. Start-up (imports, the server's start, the
flow run's own beginning and end with its heartbeat, a second or two a flow) is measured apart: the compared time begins
in the flow's first line and ends in its last. Wall time means something on a quiet machine only, so processor time
(this process, its children and the server) is printed, too. Target: 1.03 of the library's wall time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

RECIPE = """
name: bench
sources: [{kind: folder, name: sample, path: site}]
shards: 64
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
  pixels: {side: 96}
  backbone: {weights: "random:1"}
fits:
  near_duplicates: {}
  splits: {}
"""
HERTZ = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """Seconds of this process and all that descend from it."""
    parents, used = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = sum(int(f) for f in fields[11:15]) / HERTZ  # user, system, ended children

    def ours(pid: int) -> bool:
        while pid > 1 and pid != os.getpid():
            pid = parents.get(pid, 0)
        return pid == os.getpid()

    return sum(seconds for pid, seconds in used.items() if ours(pid))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.monotonic(), processor_seconds()
    work()
    return time.monotonic() - wall, processor_seconds() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--tasks-at-once", type=int, default=1, help="the library call runs one step at a time")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="orchestration-"))
    os.environ.update(
        PREFECT_HOME=str(place / "prefect"), PREFECT_LOGGING_LEVEL="WARNING", PREFECT_SERVER_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="180",
    )  # fmt: skip
    try:
        measure(place, options)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(place: Path, options: argparse.Namespace) -> None:
    from prefect import flow

    from diptych.engine.build import build
    from diptych.engine.context import BuildOptions
    from diptych.engine.crawling import crawl_recipe
    from diptych.engine.intake import take_snapshot
    from diptych.engine.steps import close
    from diptych.recipe import parse_recipe
    from diptych.sample import Site, write
    from diptych.storage.store import open_store
    from flows.build_dataset import run_build
    from flows.runners import Machines

    write(Site(options.documents), place / "site", static=False)
    inside: list[tuple[float, float]] = []

    @flow(name="measured", log_prints=False)
    def measured(root: str) -> None:
        snapshot = take_snapshot(open_store(root, "bench"), parse_recipe(RECIPE), place)
        machines = Machines(tasks_at_once=options.tasks_at_once)
        inside.append(timed(lambda: run_build(RECIPE, root, BuildOptions(), lambda: snapshot, machines=machines)))

    def by_library(root: str) -> tuple[float, float]:
        snapshot = take_snapshot(open_store(root, "bench"), parse_recipe(RECIPE), place)
        return timed(lambda: build(RECIPE, root, BuildOptions(), snapshot=snapshot, folder=place))

    def root_of(name: str) -> str:
        root = str(place / name)
        crawl_recipe(RECIPE, root, place)
        close()  # no stage and no shard of the build before stays in memory
        return root

    first = timed(lambda: measured(root_of("warm")))  # the server's start, and every import
    print(f"start-up of the first flow run, server and imports: {first[0] - inside.pop()[0]:.1f} s")
    walls, cpus, starts = [], [], []
    for pair in range(options.pairs):
        library: tuple[float, float] = (0.0, 0.0)
        for way in ("library", "flow") if pair % 2 == 0 else ("flow", "library"):
            root = root_of(f"{way}-{pair}")
            if way == "library":
                library = by_library(root)
            else:
                whole = timed(lambda r=root: measured(r))
        found = inside.pop()
        starts.append(whole[0] - found[0])
        walls.append(found[0] / library[0])
        cpus.append(found[1] / library[1])
        stores = [open_store(str(place / f"{way}-{pair}"), "bench") for way in ("library", "flow")]
        digests = {store.log.manifest(1).exact_digest for store in stores}
        assert len(digests) == 1
        print(
            f"pair {pair + 1}: library {library[0]:.1f} s ({library[1]:.1f} s of processors), flow {found[0]:.1f} s "
            f"({found[1]:.1f} s), ratio {walls[-1]:.3f} wall, {cpus[-1]:.3f} processors",
            flush=True,
        )
        for way in ("library", "flow"):
            shutil.rmtree(place / f"{way}-{pair}")
    print(
        f"{options.documents} documents, 64 shards: flow / library = {statistics.median(walls):.3f} wall "
        f"(target 1.03), {statistics.median(cpus):.3f} processors; a later flow run begins and ends in "
        f"{statistics.median(starts):.1f} s"
    )


if __name__ == "__main__":
    main()
