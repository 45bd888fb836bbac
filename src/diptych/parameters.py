"""The forms of the flows: what the Prefect UI shows, checked again when a flow starts.

``flows/forms.py`` turns the fields that name a model or a dataset into lists to choose from.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from diptych.engine.devices import DEVICES_PATTERN
from diptych.engine.drive import TASKS_AT_ONCE

__all__ = ["BuildParameters", "CrawlParameters", "RebuildParameters", "TrainParameters"]

DATASET = r"^[a-z0-9][a-z0-9_-]{0,63}$"
VERSION = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
NAME = r"^[a-z0-9][A-Za-z0-9_.-]{0,63}$"
NAME_OR_NONE = r"^([a-z0-9][A-Za-z0-9_.+-]{0,63})?$"
PACKAGE_OR_NONE = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$"
DEVICE = r"^(cpu|cuda(:\d+)?|mps)$"
DEVICES = "where accelerator stages run: cpu, cuda, several as cuda:0,cuda:1, or cuda:* for all"
RECIPE = "path of the recipe; .yaml and datasets/ may be left out"
ROOT = (
    "folder (or s3://bucket/folder) that holds the datasets; empty: the worker's own (DIPTYCH_ROOT, else data). "
    "A dataset of another root can be chosen once a run has committed it"
)
RETRY_FAILED = "ask again, or compute again, for everything that failed before"
ALLOW_SHRINK = "go on although many records would leave"
REFRESH = "a package: compute again every row of the stages that its release can change, and compare"
CRAWL_HOURS = "a try of the crawl ends after so long; what was fetched is kept, and the next crawl goes on from there"
TASK_HOURS = "a task (a stage on some groups of shards) ends after so long at work; finished shards are kept"

Seed = Annotated[int, Field(ge=0, lt=1 << 63)]


class CrawlParameters(BaseModel):
    """The form of a crawl: ask the sources of a recipe for what is new."""

    model_config = ConfigDict(extra="forbid")

    recipe: str = Field(min_length=1, description=RECIPE)
    root: str = Field(default="", description=ROOT)
    refresh: bool = Field(default=False, description="fetch everything again, without conditional requests")
    retry_failed: bool = Field(default=False, description="only what failed before")
    allow_shrink: bool = Field(default=False, description=ALLOW_SHRINK)
    crawl_hours: float = Field(default=24, gt=0, le=2400, description=CRAWL_HOURS)


class BuildParameters(BaseModel):
    """The form of a build."""

    model_config = ConfigDict(extra="forbid")

    recipe: str = Field(min_length=1, description=RECIPE)
    root: str = Field(default="", description=ROOT)
    sample: bool = Field(default=False, description="a recipe of a paper: build it on generated data in its formats")
    crawl: bool = Field(default=True, description="ask the sources for what is new before building")
    device: str = Field(default="cpu", description=DEVICES, pattern=DEVICES_PATTERN)
    workers: int = Field(default=2, ge=1, le=64, description="threads that read files beside each stage")
    retry_failed: bool = Field(default=False, description=RETRY_FAILED)
    refresh: str = Field(default="", pattern=PACKAGE_OR_NONE, description=REFRESH)
    accept_failures: bool = Field(default=False, description="commit although too many rows failed")
    allow_shrink: bool = Field(default=False, description=ALLOW_SHRINK)
    approve: bool = Field(default=False, description="wait for a person's approval before a version is published")
    approve_days: int = Field(default=7, ge=1, le=90, description="how long to wait; then the run fails")
    crawl_hours: float = Field(default=24, gt=0, le=2400, description=CRAWL_HOURS)
    task_hours: float = Field(default=12, gt=0, le=240, description=TASK_HOURS)
    runner: Literal["threads", "ray"] = Field(
        default="threads", description="threads of the worker's machine, or the machines of a Ray cluster"
    )
    ray_address: str = Field(
        default="",
        pattern=r"^(auto|(ray://)?[A-Za-z0-9_.-]+:\d{1,5})?$",
        description="the cluster's head, as host:6379; empty: Ray on the worker's machine, for this run only",
    )
    gpu_share: float = Field(
        default=1, gt=0, le=8, description="under Ray on cuda: how much of a GPU an accelerator stage's task takes"
    )
    tasks_at_once: int = Field(
        default=TASKS_AT_ONCE, ge=1, le=64, description="tasks at a time where the runner is threads"
    )
    processes: int = Field(
        default=1, ge=1, le=64, description="where the runner is threads: worker processes that compute for all tasks"
    )

    @model_validator(mode="after")
    def _runner(self) -> BuildParameters:
        if self.runner == "ray" and self.processes > 1:
            raise ValueError("processes is for the runner threads; under ray each task has a process, see gpu_share")
        return self


class RebuildParameters(BaseModel):
    """The form of a rebuild: name a shard or a record, or ask for what failed."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(pattern=DATASET, description="the dataset's name; its latest version is rebuilt")
    root: str = Field(default="", description=ROOT)
    shard: int | None = Field(default=None, ge=0, description="a shard's number; of shard, record, failed exactly one")
    record: str | None = Field(default=None, description="or a record id, URL, file name or image key")
    failed: bool = Field(default=False, description="or every row that failed")
    stage: str | None = Field(default=None, description="only this stage, and what reads a row of it that changed")
    refetch: bool = Field(default=False, description="fetch the named records' bytes again first")
    device: str = Field(default="cpu", description=DEVICES, pattern=DEVICES_PATTERN)
    workers: int = Field(default=2, ge=1, le=64, description="threads that read files beside each stage")
    task_hours: float = Field(default=12, gt=0, le=240, description=TASK_HOURS)

    @field_validator("record", "stage")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @model_validator(mode="after")
    def _one(self) -> RebuildParameters:
        if [self.shard is not None, self.record is not None, self.failed].count(True) != 1:
            raise ValueError("fill exactly one of shard, record, failed")
        return self


class TrainParameters(BaseModel):
    """The form of a training: one run a seed, each goes on from its checkpoint when it is run again."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="the model's name", pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")
    dataset: str = Field(description="the dataset's name", pattern=DATASET)
    version: str = Field(
        default="latest", description="a version's number, a tag, or latest", pattern=VERSION, examples=["latest", "3"]
    )
    root: str = Field(default="", description=ROOT)
    preset: str = Field(default="paper", description="paper, debug, or another of the model's", pattern=NAME)
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict, description="settings to override")
    ablation: str = Field(default="", description="one of the model's ablations", pattern=NAME_OR_NONE)
    baseline: str = Field(default="", description="one of the model's baselines", pattern=NAME_OR_NONE)
    seeds: list[Seed] = Field(
        default=[0],
        min_length=1,
        max_length=100,
        description="one run for each",
        json_schema_extra={"uniqueItems": True},
    )
    device: str = Field(default="cpu", description="as torch names it", pattern=DEVICE)
    devices: int = Field(default=1, ge=1, le=64, description="processes, one a device")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(default="32-true", description="of products")
    workers: int | None = Field(
        default=None, ge=0, le=64, description="processes of each stream that read ahead; empty: 0, or 1 to 4 on cuda"
    )
    max_hours: float | None = Field(
        default=None, gt=0, le=2400, description="each run ends at a checkpoint after so long; a retry goes on from it"
    )

    @field_validator("seeds")
    @classmethod
    def _once(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"a seed is named twice in {value}")
        return value
