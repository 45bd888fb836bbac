"""From rates and a number of documents to storage, objects, requests, hours, hosts, tasks, and what gives out first.

Every constant says where it was measured. What is assumed, not measured, is a field of :class:`Machine`: it stands in
what is printed, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diptych.engine.build import ATTEMPTS
from diptych.engine.drive import TASKS_AT_ONCE, task_runs
from diptych.engine.graph import Graph
from diptych.planning.rates import Rate
from diptych.planning.shape import Shape
from diptych.storage.parts import groups

__all__ = ["Estimate", "Limit", "Machine", "StageEstimate", "estimate", "shards_for"]

IMAGES_A_SHARD = 1000
ROW_TABLE_BYTES = 150
"""A row of a row table (storage/rows.py)."""
PART_BYTES = 450
"""A part in its list, three files a segment (benchmarks/manifest.py)."""
ENTRY_BYTES = 4000
"""A stage in a log entry: schema, settings and 32 lists of 64 digits."""
CRAWL_RATE = 460
"""Images a second and machine with perceptual hashes, two cores (benchmarks/crawl.py)."""
HASHES_A_PICTURE = 4
HASH_BYTES = 1.23 * (1 << 30) / 10_000_000
"""Peak memory of one hash in the index of near duplicates (benchmarks/near_duplicates.py, ten million)."""
THUMBNAIL_BYTES = 3000
"""A picture's thumbnail, in memory while pictures are grouped."""
INDEX_BYTES = 230
"""A key in the index of a keyed fit, which every process of a build holds whole (measured: 100,000 keys)."""


@dataclass(frozen=True)
class Machine:
    """What is assumed of one machine and of the people who wait."""

    cores: int = 16
    memory: float = 64e9
    disk: float = 8e12
    files: float = 100e6
    """Files of one file system that are still comfortable."""
    days: float = 7
    """How long a first build may take."""
    host_delay: float = 1.0
    """Seconds between requests to one host."""


@dataclass(frozen=True)
class StageEstimate:
    """One stage: its rows, hours of one core (or of the device that was measured), bytes."""

    name: str
    rows: int
    hours: float | None
    bytes: int | None
    accelerator: bool
    origin: str


@dataclass(frozen=True)
class Limit:
    """Something that gives out: how much there is of it, as a share of what one machine bears, and what then helps."""

    name: str
    value: float
    unit: str
    bears: float
    remedy: str

    @property
    def share(self) -> float:
        """Above 1 it does not fit."""
        return self.value / self.bears


@dataclass(frozen=True)
class Estimate:
    """A first build of so many documents."""

    documents: int
    images: int
    shards: int
    stages: tuple[StageEstimate, ...]
    blob_bytes: int
    bytes: int
    """Everything: blobs, segments, lists."""
    objects: int
    requests: int
    core_hours: float
    accelerator_hours: float
    """Of ``core_hours``, those of stages that an accelerator would take."""
    crawl_hours: float
    crawl_hosts: int
    """Hosts among which the requests must be spread to be done in the time, at one request a delay."""
    task_runs: int
    """In Prefect, of a build that commits at once, with the default number of threads of one machine."""
    task_runs_ray: int
    """The same on a Ray cluster."""
    manifest_bytes: int
    unknown: tuple[str, ...]
    """Stages whose rate nobody has measured; they count nothing above."""
    limits: tuple[Limit, ...]
    """The first gives out first."""
    machine: Machine

    @property
    def first(self) -> Limit:
        """What gives out first; below a share of 1 it still fits."""
        return self.limits[0]


def shards_for(images: float) -> int:
    """A power of two with about a thousand images a shard."""
    shards = 4
    while shards * IMAGES_A_SHARD < images and shards < 1 << 20:
        shards *= 2
    return shards


def estimate(
    graph: Graph,
    rates: Mapping[str, Rate | None],
    shape: Shape,
    documents: int,
    *,
    shards: int | None = None,
    machine: Machine | None = None,
) -> Estimate:
    """What a first build of ``documents`` documents of this shape would take."""
    machine = machine or Machine()
    images = int(documents * shape.images)
    shards = shards or shards_for(images)
    stages = tuple(_stage(graph, name, rate, shape, documents) for name, rate in rates.items())
    tensors = sum(len(n.stage.tensor_schema()) for n in graph.stages if n.stage)
    blobs = int(images * shape.image_bytes + documents * shape.document_bytes)
    rows = sum(s.rows for s in stages)
    part_lists = shards * len(stages) * PART_BYTES
    objects = images + documents + shards * (3 * len(stages) + tensors) + len(groups(shards)) * len(graph.nodes)
    hours = sum(s.hours or 0 for s in stages)
    requests = images + documents
    wait = machine.days * 24
    total = blobs + sum(s.bytes or 0 for s in stages) + rows * ROW_TABLE_BYTES + part_lists
    limits = _limits(graph, machine, documents, images, hours, requests, total, objects)
    return Estimate(
        documents=documents,
        images=images,
        shards=shards,
        stages=stages,
        blob_bytes=blobs,
        bytes=total,
        objects=objects,
        requests=requests,
        core_hours=hours,
        accelerator_hours=sum(s.hours or 0 for s in stages if s.accelerator),
        crawl_hours=requests / CRAWL_RATE / 3600,
        crawl_hosts=max(1, -(-int(requests * machine.host_delay) // int(wait * 3600))),
        task_runs=task_runs(graph, shards, ATTEMPTS, TASKS_AT_ONCE),
        task_runs_ray=task_runs(graph, shards, ATTEMPTS),
        manifest_bytes=len(stages) * ENTRY_BYTES + part_lists,
        unknown=tuple(s.name for s in stages if s.hours is None),
        limits=tuple(sorted(limits, key=lambda found: -found.share)),
        machine=machine,
    )


def _stage(graph: Graph, name: str, rate: Rate | None, shape: Shape, documents: int) -> StageEstimate:
    stage = graph[name].stage
    assert stage is not None
    rows = int(documents * shape.rows(stage.key))
    if rate is None:
        return StageEstimate(name, rows, None, None, stage.accelerator, "not measured")
    return StageEstimate(name, rows, rows * rate.seconds / 3600, int(rows * rate.bytes), stage.accelerator, rate.origin)


def _limits(
    graph: Graph,
    machine: Machine,
    documents: int,
    images: int,
    hours: float,
    requests: int,
    total: float,
    objects: int,
) -> Sequence[Limit]:
    wait = machine.days * 24
    keyed = sum({"document": documents, "image": images}.get(n.fit.key or "", 0) for n in graph.fits if n.fit)
    found = [
        Limit(
            "computing", hours / machine.cores, "hours on one machine", wait,
            "all cores of the machine (`build --processes`), then more machines: runner ray, each group of shards is a "
            "task wherever a core or an accelerator is free",
        ),
        Limit(
            "crawling", requests / CRAWL_RATE / 3600, "hours on one machine", wait,
            "a crawl runs on one machine: a source a recipe, each crawled on a machine of its own, or files that "
            "somebody fetched before (sources parquet, webdataset)",
        ),
        Limit(
            "index of keyed fits", keyed * INDEX_BYTES, "bytes of memory in every process", machine.memory / 8,
            "fewer and larger processes a machine; beyond that the index must be read by shard range, not whole",
        ),
        Limit("disk", total, "bytes", machine.disk, "object storage (root s3://bucket/folder): the same store"),
        Limit("files", objects, "files", machine.files, "object storage, where a prefix has no such bound"),
    ]  # fmt: skip
    if any(n.name == "near_duplicates" for n in graph.fits):
        memory = images * (THUMBNAIL_BYTES + HASHES_A_PICTURE * HASH_BYTES)
        found.append(
            Limit(
                "grouping near duplicates",
                memory,
                "bytes of memory in one process",
                machine.memory,
                "a machine with the memory; beyond that the fit must group by bands of the hash on several machines",
            )  # fmt: skip
        )
    return found
