"""Stages that want an accelerator: never retried blindly (the store keeps finished rows), limited by tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from diptych.engine.context import Done, Progress
from tasks.compute import compute_step

__all__ = ["extract"]


@task(
    name="extract", tags=["accelerator"], retries=1, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False
)
def extract(
    kind: str, context: Mapping[str, Any], names: Sequence[str], group: int, done: Mapping[str, Done]
) -> list[Progress]:
    """Accelerator stages that share their pictures, over one group of shards."""
    return compute_step(kind, context, names, group, done)
