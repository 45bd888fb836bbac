"""Compute rows again although their address exists: one shard, one record or what failed."""

from __future__ import annotations

import os

from prefect import flow

from diptych.engine.rebuild import plan_rebuild
from diptych.parameters import RebuildParameters
from flows.build_dataset import run_build

__all__ = ["rebuild_shard"]


@flow(name="rebuild-shard")
def rebuild_shard(parameters: RebuildParameters) -> dict[str, object]:
    """Compute again what was named, compare row by row, commit only if something changed."""
    plan = plan_rebuild(
        parameters.root,
        parameters.dataset,
        shard=parameters.shard,
        record=parameters.record,
        failed=parameters.failed,
        stage=parameters.stage,
        refetch=parameters.refetch,
        environ=os.environ,
    )
    report = run_build(plan.recipe, parameters.root, plan.options, lambda: plan.snapshot, plan.force, plan.version)
    outcome: dict[str, int] = {}
    for progress in report.progress.values():
        for _, what, _ in progress.compared:
            outcome[what] = outcome.get(what, 0) + 1
    return {"dataset": parameters.dataset, "version": report.committed.version, **outcome}
