"""Train a model on a version: one run a seed, then the results beside the paper's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from diptych.parameters import TrainParameters
from diptych.storage.store import open_store
from diptych.training.options import RunOptions
from diptych.training.run import new_run_id
from diptych.training.series import series_text
from diptych.training.train import Order, start_run
from diptych.version import Version
from tasks.train import train_run

__all__ = ["train_model"]


@flow(name="train-model")
def train_model(parameters: TrainParameters) -> dict[str, Any]:
    """Fit and measure; what the version lacks is an error before any work."""
    dataset, _, number = parameters.dataset.partition("@")
    store = open_store(parameters.root, dataset, must_exist=True)
    version = Version(store, store.log.manifest(int(number) if number.isdecimal() else number or "latest"))
    options = RunOptions(
        device=parameters.device,
        devices=parameters.devices,
        precision=parameters.precision,
        workers=parameters.workers,
        max_hours=parameters.max_hours,
    )
    series, done, results = new_run_id(), [], []
    for seed in parameters.seeds:
        order = Order(
            parameters.model,
            parameters.preset,
            parameters.settings,
            parameters.ablation,
            parameters.baseline,
            seed=seed,
            series=series,
            seeds=tuple(parameters.seeds),
        )
        folder = start_run(version, order)
        results.append(train_run(parameters.root, dataset, folder.path, asdict(options)))
        done.append(folder)
    text = series_text(done)
    create_markdown_artifact(f"```\n{text}```\n", key="training-results", description=f"{parameters.model}")
    get_run_logger().info("%s", text)
    return {"runs": [folder.path for folder in done], "metrics": [r["metrics"] for r in results]}
