"""Compute rows again although their address exists: one shard, one record or what failed."""

from __future__ import annotations

import os
from collections import Counter

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from diptych.engine.context import BuildOptions
from diptych.engine.rebuild import plan_rebuild
from diptych.parameters import RebuildParameters
from flows.build_dataset import run_build
from flows.environment import root_of
from flows.notify import notify
from flows.published import published
from tasks.compute import use_environment

__all__ = ["rebuild_shard"]

LISTED = 200
"""Rows that differ, in the table of the UI."""


@flow(name="rebuild-shard", log_prints=False, on_failure=[notify], on_crashed=[notify])
def rebuild_shard(parameters: RebuildParameters) -> dict[str, object]:
    """Compute again what was named, compare row by row, commit only if something changed."""
    use_environment()
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
        lambda: plan.snapshot,
        plan.force,
        plan.version,
        task_hours=parameters.task_hours,
    )
    outcome, rows = Counter[str](), []
    for progress in report.progress.values():
        for key, what, columns in progress.compared:
            outcome[what] += 1
            if what != "equal" and len(rows) < LISTED:
                rows.append({"stage": progress.name, "row": key, "outcome": what, "columns": columns})
    counts = ", ".join(f"{n} {what}" for what, n in outcome.items()) or "no row was named"
    said = f"{parameters.dataset}: {counts}; {report.committed.reason}"
    create_table_artifact(
        table=rows or [{"outcome": w, "rows": n} for w, n in outcome.items()], key="rebuilt-rows", description=said
    )
    get_run_logger().info("%s", said)
    published(report, root)
    return {"dataset": parameters.dataset, "version": report.committed.version, **outcome}
