"""The forms of the flows: what the Prefect UI shows, checked again when a flow starts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BuildParameters", "RebuildParameters", "TrainParameters"]


class BuildParameters(BaseModel):
    """The form of a build."""

    model_config = ConfigDict(extra="forbid")

    recipe: str = Field(description="path of the recipe, or the name of one in datasets/")
    root: str = Field(default="data", description="folder (or s3://bucket/folder) that holds the datasets")
    crawl: bool = Field(default=True, description="ask the sources for what is new before building")
    device: str = Field(
        default="cpu", description="where accelerator stages run, as torch names it", pattern=r"^(cpu|cuda(:\d+)?|mps)$"
    )
    workers: int = Field(default=2, ge=1, le=64, description="threads that read files beside each stage")
    retry_failed: bool = Field(default=False, description="compute again every row that failed before")
    accept_failures: bool = Field(default=False, description="commit although too many rows failed")
    allow_shrink: bool = Field(default=False, description="commit although many records would leave")
    approve: bool = Field(default=False, description="wait for a person's approval before a version is published")
    approve_days: int = Field(default=7, ge=1, le=90, description="how long to wait; then the run fails")


class RebuildParameters(BaseModel):
    """The form of a rebuild: name a shard or a record, or ask for what failed."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="the dataset's name")
    root: str = Field(default="data", description="folder that holds the datasets")
    shard: int | None = Field(default=None, ge=0, description="a shard's number")
    record: str | None = Field(default=None, description="a record id, URL, file name or image key")
    failed: bool = Field(default=False, description="every row that failed")
    stage: str | None = Field(default=None, description="only this stage, and what reads a row of it that changed")
    refetch: bool = Field(default=False, description="fetch the named records' bytes again first")


class TrainParameters(BaseModel):
    """The form of a training: one run a seed, each goes on from its checkpoint when it is run again."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="the model's name", pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")
    dataset: str = Field(
        description="dataset and version: sample@3, sample@latest or sample@TAG",
        pattern=r"^[a-z0-9][a-z0-9_-]*(@[A-Za-z0-9._-]+)?$",
    )
    root: str = Field(default="data", description="folder (or s3://bucket/folder) that holds the datasets")
    preset: str = Field(default="paper", description="paper, debug or sample")
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict, description="settings to override")
    ablation: str = Field(default="", description="one of the model's ablations")
    baseline: str = Field(default="", description="one of the model's baselines")
    seeds: list[int] = Field(default=[0], min_length=1, description="one run for each")
    device: str = Field(default="cpu", description="as torch names it", pattern=r"^(cpu|cuda(:\d+)?|mps)$")
    devices: int = Field(default=1, ge=1, le=64, description="processes, one a device")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(default="32-true", description="of products")
    workers: int = Field(default=0, ge=0, le=64, description="processes of each stream that read ahead")
    max_hours: float | None = Field(default=None, gt=0, description="each run ends at a checkpoint after so long")
