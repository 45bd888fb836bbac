"""What a row of each stage costs: the table that ``diptych plan`` falls back on, in seconds of one core and bytes.

The sample site as a folder of documents through every stage that needs nobody's own weights, one process, batches as
the stages have them; loading of models counts. Seconds are processor time of this process and its children, because
other work may run on the machine. ``python benchmarks/rates.py [--documents 60] [--write]`` needs the command
``diptych weights pull sample`` before; with ``--write`` the figures go to ``src/diptych/planning/measured.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych import planning
from diptych.engine.build import Silent, make_context, report_of
from diptych.engine.context import BuildOptions, Done, Progress
from diptych.engine.crawling import crawl_recipe
from diptych.engine.drive import Step, drive
from diptych.engine.intake import take_snapshot
from diptych.engine.steps import run_fit_group, run_group
from diptych.planning.shape import shape_of
from diptych.recipe import parse_recipe
from diptych.sample import Site, write
from diptych.storage.store import open_store

RECIPE = """
name: rates
sources: [{kind: folder, name: site, path: site}]
shards: 2
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_documents: {}
  clean_pairs: {}
  sentences: {}
  backbone: {grid: true}
  regions: {model: fasterrcnn_efficientnet_lite0}
  scene_graph: {}
  ocr: {}
  parse: {}
  bert: {}
  relevance_scores: {}
fits: {near_duplicates: {}, splits: {}, word_counts: {}}
"""


def used() -> float:
    """Processor seconds of this process and of all its descendants, living and dead."""
    total = sum(os.times()[:4])
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        spent[int(folder.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    for pid in parents:
        above = parents[pid]
        while above in parents and above != os.getpid():
            above = parents[above]
        total += spent[pid] if above == os.getpid() else 0
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as place:
        root = str(Path(place) / "data")
        write(Site(options.documents), Path(place) / "site", static=False)
        crawl_recipe(RECIPE, root, place)
        store = open_store(root, "rates")
        context = make_context(RECIPE, root, take_snapshot(store, parse_recipe(RECIPE), place), BuildOptions())

        def run(steps: Sequence[Step], done: Mapping[str, Done]) -> list[Progress]:
            found: list[Progress] = []
            for step in steps:
                for name in step.names:  # one after another: what each costs alone
                    before = used()
                    if step.kind == "fit":
                        found.append(run_fit_group(context, name, step.group, done))
                    else:
                        found += run_group(context, [name], step.group, done, Silent().rows)
                    seconds[name] += used() - before
            return found

        finished = drive(context, run)
        manifest = store.log.manifest(report_of(store, context, finished).committed.version or 0)
        shape = shape_of(store, manifest)
    stages = {}
    for entry in manifest.stages:
        rows = entry.counts.total
        stages[entry.name] = {
            "seconds": round(seconds[entry.name] / rows, 6), "bytes": round(entry.bytes / rows, 1), "rows": rows
        }  # fmt: skip
    table = {
        "command": f"python benchmarks/rates.py --documents {options.documents} --write",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"one core, {platform.machine()}, no accelerator",
        "shape": planning.plain(shape),
        "stages": stages,
    }
    text = json.dumps(table, indent=1) + "\n"
    print(text)
    if options.write:
        (Path(planning.__file__).parent / "measured.json").write_text(text)


if __name__ == "__main__":
    main()
