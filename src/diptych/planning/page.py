"""A plan as text: for a terminal, and ``docs/scale.md``, whose every number comes from here.

``python -m diptych.planning.page > docs/scale.md`` writes the page; a test compares it with what would be written now.
"""

from __future__ import annotations

import math
import sys

from diptych.engine.context import graph_of
from diptych.engine.drive import TASKS_AT_ONCE
from diptych.planning.estimate import Estimate, estimate
from diptych.planning.rates import packaged_shape, rates_of

__all__ = ["amount", "machines", "scale_page", "share", "size_rows"]

RECIPE = """
name: scale
sources: [{kind: urls, name: list, path: list.csv}]
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
  backbone: {grid: true}
  regions: {model: fasterrcnn_efficientnet_lite0}
  scene_graph: {}
  ocr: {}
  parse: {}
  relevance_scores: {}
fits: {near_duplicates: {}, splits: {}, word_counts: {}}
"""
SIZES = (1_000_000, 100_000_000, 5_000_000_000)
"""Images."""


def amount(value: float, unit: str) -> str:
    """A number with its unit, bytes in powers of a thousand."""
    if "bytes" in unit:
        for name in ("B", "kB", "MB", "GB", "TB"):
            if value < 999.5:
                return f"{value:.3g} {name}{unit.replace('bytes', '')}"
            value /= 1000
        return f"{value:,.1f} PB{unit.replace('bytes', '')}"
    return f"{value:,.0f} {unit}" if value >= 99.5 else f"{value:.2g} {unit}"


def share(value: float) -> str:
    """How often something fits one machine."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def size_rows(found: Estimate) -> list[tuple[str, str]]:
    """What a build of that size takes, a line each."""
    wait = f"{found.machine.days:g} days"
    return [
        ("documents", f"{found.documents:,}"),
        ("images", f"{found.images:,}"),
        ("shards", f"{found.shards:,}"),
        ("storage: fetched bytes", amount(found.blob_bytes, "bytes")),
        ("storage: all", amount(found.bytes, "bytes")),
        ("objects (files)", f"{found.objects:,}"),
        ("requests of a first crawl", f"{found.requests:,}"),
        ("crawling, one machine", amount(found.crawl_hours, "hours")),
        (f"hosts to crawl in {wait}, a request each {found.machine.host_delay:g} s", f"{found.crawl_hosts:,}"),
        ("computing, hours of one core", f"{found.core_hours:,.1f}"),
        ("of them, stages for an accelerator", f"{found.accelerator_hours:,.1f}"),
        (f"machines of {found.machine.cores} cores to compute in {wait}", f"{machines(found):,}"),
        (f"task runs in Prefect, {TASKS_AT_ONCE} threads of one machine", f"{found.task_runs}"),
        ("task runs in Prefect, a Ray cluster", f"{found.task_runs_ray}"),
        ("manifest: log entry and part lists", amount(found.manifest_bytes, "bytes")),
    ]


def machines(found: Estimate) -> int:
    """Machines that compute in the time given."""
    return max(1, math.ceil(found.core_hours / (found.machine.cores * found.machine.days * 24)))


def _sized(images: int) -> Estimate:
    graph, shape = graph_of(RECIPE), packaged_shape()
    return estimate(graph, rates_of(graph, ()), shape, int(images / shape.images))


def scale_page() -> str:
    """``docs/scale.md``."""
    sizes = [_sized(images) for images in SIZES]
    rows = [size_rows(found) for found in sizes]
    names = ["1 M images", "100 M images", "5 B images"]
    lines = [
        "# Sizing",
        "",
        "Written by `python -m diptych.planning.page > docs/scale.md` from the rates that `diptych plan` uses: seconds",
        "of one core and bytes a row as `python benchmarks/rates.py` measured them on the sample site, whose pictures",
        "are small drawings; no accelerator was measured. `diptych plan RECIPE --documents N` takes the rates of your",
        "own last builds instead. Assumed, not measured: a machine of "
        f"{sizes[0].machine.cores} cores, {amount(sizes[0].machine.memory, 'bytes')} of memory and",
        f"{amount(sizes[0].machine.disk, 'bytes')} of disk; a first build may take {sizes[0].machine.days:g} days.",
        "",
        "| | " + " | ".join(names) + " |",
        "| --- |" + " ---: |" * len(names),
    ]
    for n, (name, _) in enumerate(rows[0]):
        lines.append(f"| {name} | " + " | ".join(own[n][1] for own in rows) + " |")
    lines += ["", "## Hours of one core by stage", "", "| stage | " + " | ".join(names) + " |"]
    lines.append("| --- |" + " ---: |" * len(names))
    for stages in zip(*(found.stages for found in sizes), strict=True):
        shown = ("not measured" if s.hours is None else f"{s.hours:,.1f}" for s in stages)
        mark = " (accelerator)" if stages[0].accelerator else ""
        lines.append(f"| {stages[0].name}{mark} | " + " | ".join(shown) + " |")
    for title, found in zip(names, sizes, strict=True):
        lines += ["", f"## {title}: what gives out first", ""]
        first = found.first
        fits = "It still fits." if first.share <= 1 else "It does not fit one machine."
        lines.append(
            f"**{first.name[0].upper()}{first.name[1:]}**: {amount(first.value, first.unit)}, "
            f"{share(first.share)} of what one machine bears. {fits} What helps: {first.remedy}."
        )
        lines += ["", "| then | | of one machine | what helps |", "| --- | ---: | ---: | --- |"]
        for other in found.limits[1:]:
            lines.append(
                f"| {other.name} | {amount(other.value, other.unit)} | {share(other.share)} | {other.remedy} |"
            )
    lines += ["", *_CHANGES]
    return "\n".join(lines) + "\n"


_CHANGES = """\
## What holds at every size

- **Prefect**: at most 500 task runs a build, also where other commits came first, because groups of shards grow and
  tasks do not: a stage has at most 32 tasks on a cluster, 4 for each of `tasks_at_once` threads on one machine
  (`tests/flows/test_bounds.py` counts both on a server for 131,072 shards).
- **The manifest**: 32 part lists a stage; a version that changes one shard writes one of them and names the others.
  `python benchmarks/manifest.py` writes, reads, compares and collects 131,072 shards within stated time and memory.
- **A machine that dies**: its tasks run again on another and find every finished shard; the digests are the same
  (`tests/flows/test_ray.py`: two nodes, one killed).
- **Two builds at once**: both stay correct; who commits second plans again and finds the rows of the first.

## What would have to change for 5 billion images

- Fits that merge in one process (`near_duplicates`, `splits`) need a merge by key range on several machines, and keyed
  results must be read by range: today every process holds the whole index of keys.
- The snapshot is one file that one process cuts and sorts; it would become a list of files, one a range of record ids.
- A recipe allows 1,048,576 shards: about 5,000 images a shard, five times what is used below that. Rows of a shard are
  held in memory while they are planned, so this costs memory, not correctness.
- The lists of a stage are at most 32: at a million shards a list has 32,768 parts, and a build that changes one shard
  writes one of them again; two levels of lists would bring that down.
- gc and verify walk every object by name. At this size they need the object storage's own inventory instead.
- A crawl runs on one machine. It would be split by host.
""".splitlines()


if __name__ == "__main__":
    sys.stdout.write(scale_page())
