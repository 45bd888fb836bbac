"""Compute rows again although their address exists: one shard, one record or what failed."""

from __future__ import annotations

import os

from prefect import flow

from diptych.engine.context import BuildOptions
from diptych.engine.devices import check_devices
from diptych.engine.intake import planned_snapshot
from diptych.engine.rebuild import plan_rebuild
from diptych.parameters import RebuildParameters
from diptych.storage.store import open_store
from flows.build_dataset import run_build
from flows.environment import root_of
from flows.notify import notify
from flows.published import published
from flows.shown import show_compared
from tasks.compute import use_environment

__all__ = ["rebuild_shard"]


@flow(name="rebuild-shard", log_prints=False, on_failure=[notify], on_crashed=[notify])
def rebuild_shard(parameters: RebuildParameters) -> dict[str, object]:
    """Compute again what was named, compare row by row, commit only if something changed."""
    use_environment()
    check_devices(parameters.device)
    root = root_of(parameters.root)
    plan = plan_rebuild(
        root,
        parameters.dataset,
        shard=parameters.shard,
        record=parameters.record,
        failed=parameters.failed,
        stage=parameters.stage,
        refetch=parameters.refetch,
        options=BuildOptions(workers=parameters.workers, device=parameters.device),
        environ=os.environ,
    )
    report = run_build(
        plan.recipe,
        root,
        plan.options,
        lambda: planned_snapshot(open_store(root, parameters.dataset), plan.snapshot),
        plan.force,
        plan.version,
        task_hours=parameters.task_hours,
    )
    outcome = show_compared(report)
    published(report, root)
    return {"dataset": parameters.dataset, "version": report.committed.version, **outcome}
