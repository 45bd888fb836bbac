"""Train a model on a version: one run a seed, then curves and results beside the paper's and the last run's."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from diptych.commands.console import open_version
from diptych.models.registry import find_task
from diptych.parameters import TrainParameters
from diptych.training.needs import check_needs
from diptych.training.options import RunOptions, check_machine
from diptych.training.series import runs_of_series, series_text
from diptych.training.train import Order, settings_of, start_run
from diptych.version import Version
from flows.accelerators import ensure_limit
from flows.environment import root_of
from flows.notify import notify
from tasks.compute import use_environment
from tasks.describe import describe_training
from tasks.policies import tags_for
from tasks.train import train_run

__all__ = ["train_model"]


@flow(name="train-model", log_prints=False, on_failure=[notify], on_crashed=[notify])
def train_model(parameters: TrainParameters) -> dict[str, Any]:
    """Fit and measure; what the version lacks is an error before any work.

    A flow run that is retried, after a crash or ``max_hours`` or because it was cancelled, goes on with the runs
    that it began.
    """
    use_environment()
    root = root_of(parameters.root)
    version = Version(*open_version(f"{parameters.dataset}@{parameters.version}", root))
    kind = find_task(parameters.model)
    order = Order(
        parameters.model,
        parameters.preset,
        parameters.settings,
        parameters.ablation,
        parameters.baseline,
        series=str(flow_run.id),
        seeds=tuple(parameters.seeds),
    )
    check_needs(version, kind, settings_of(kind, order))
    options = RunOptions(
        device=parameters.device,
        devices=parameters.devices,
        precision=parameters.precision,
        workers=parameters.workers,
        max_hours=parameters.max_hours,
    )
    check_machine(options)
    begun = {run.about()["seed"]: run for run in runs_of_series(version.store, kind.name, order.series)}
    tags = tags_for(parameters.device)
    if tags:
        ensure_limit()
    fit = train_run.with_options(tags=tags)
    done, results = [], []
    for seed in parameters.seeds:
        folder = begun.get(seed) or start_run(version, replace(order, seed=seed))
        results.append(fit(root, parameters.dataset, folder.path, asdict(options)))
        done.append(folder)
    get_run_logger().info("%s", series_text(done))
    shown = describe_training(root, parameters.dataset, [folder.path for folder in done], return_state=True)
    if not shown.is_completed():
        get_run_logger().warning("the runs are finished, but not all of them is shown here: %s", shown.message)
    return {"runs": [folder.path for folder in done], "metrics": [r["metrics"] for r in results]}
