"""Stages that want an accelerator: the flow tags those that run on one; a batch too large is halved by the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from diptych.engine.context import Done, Kind, Progress
from tasks.compute import compute_step
from tasks.policies import LIMIT_S, may_heal

__all__ = ["extract"]


@task(
    name="extract",
    retries=1,
    retry_delay_seconds=2,
    retry_condition_fn=may_heal,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def extract(
    kind: Kind,
    context: Mapping[str, Any],
    names: Sequence[str],
    groups: Sequence[int],
    done: Mapping[str, Done],
    limit_s: float = LIMIT_S["stage"],
) -> list[Progress]:
    """Accelerator stages that share their pictures, over some groups of shards."""
    return compute_step(kind, context, names, groups, done, limit_s)
