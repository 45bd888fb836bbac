"""Committing: never retried by the engine, because only a new plan may follow a lost race."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from diptych.engine.build import BuildReport, report_of
from diptych.engine.context import BuildContext
from diptych.engine.drive import Finished
from tasks.policies import LIMIT_S

__all__ = ["publish"]


@task(name="publish", retries=0, timeout_seconds=LIMIT_S["publish"], cache_policy=NO_CACHE, persist_result=False)
def publish(context: Mapping[str, Any], finished: Finished) -> BuildReport:
    """Commit a finished build, or say that nothing changed."""
    built = BuildContext.from_json(context)
    return report_of(built.store(), built, finished)
