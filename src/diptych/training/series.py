"""Runs that differ in their seed alone: which of them are missing, and what they say together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from diptych.exceptions import Corrupt
from diptych.models.registry import find_task
from diptych.training.comparison import group_runs
from diptych.training.config import departures, make_config
from diptych.training.folder import RunFolder, find_runs
from diptych.training.options import RunOptions, check_machine
from diptych.training.results import results_text
from diptych.training.run import new_run_id
from diptych.training.train import Order, continue_run, start_run

if TYPE_CHECKING:
    from diptych.storage.store import Store
    from diptych.version import Version

__all__ = ["last_run_before", "resume", "runs_of_series", "series_text", "train_series"]

Say = Callable[[str], None]
_LOG = logging.getLogger(__name__)


def train_series(
    version: Version, order: Order, seeds: Sequence[int], options: RunOptions | None = None, say: Say | None = None
) -> list[RunFolder]:
    """One run a seed, each fitted and measured before the next begins."""
    check_machine(options or RunOptions())
    series = order.series or new_run_id()
    done = []
    for seed in seeds:
        folder = start_run(version, replace(order, seed=seed, series=series, seeds=tuple(order.seeds or seeds)))
        _go_on(folder, options, say)
        done.append(folder)
    return done


def resume(
    folder: RunFolder, version: Version, options: RunOptions | None = None, say: Say | None = None
) -> list[RunFolder]:
    """Finish a run, and then the seeds of its series that no run has begun; all finished runs of the series."""
    _go_on(folder, options, say)
    about = folder.about()
    runs = runs_of_series(folder.store, folder.model, about["series"])
    seeds = {run.about()["seed"] for run in runs}
    missing = [seed for seed in about["seeds"] if seed not in seeds]
    order = Order(
        about["task"], about["preset"], about["settings"], about["ablation"], about["baseline"],
        series=about["series"], seeds=tuple(about["seeds"]),
    )  # fmt: skip
    train_series(version, order, missing, options, say)
    return [
        run
        for run in runs_of_series(folder.store, folder.model, about["series"])
        if run.about().get("status") == "finished"
    ]


def series_text(runs: Sequence[RunFolder]) -> str:
    """The results of a run, or of several seeds with mean and deviation, beside the paper's table."""
    if len(runs) == 1:
        return runs[0].home.read("results.txt").decode()
    parts = []
    for group in group_runs(runs):
        folder = next(run for run in runs if run.run == group.runs[0])
        about: dict[str, Any] = folder.about()
        kind = find_task(about["task"])
        config = make_config(kind.Config, folder.read_json("config.json"))
        title = f"{group.model} ({group.preset}) on {group.on}: mean and deviation of {len(group.runs)} runs"
        parts.append(results_text(title, group.row, group.metrics, kind.paper, departures(config)))
    return "\n".join(parts)


def runs_of_series(store: Store, model: str, series: str) -> list[RunFolder]:
    """The runs of a model that were begun together, finished or not; a run whose run.json is damaged is in none."""
    found = []
    for run in find_runs(store.root.url, store.name, model):
        try:
            if run.about().get("series") == series:
                found.append(run)
        except Corrupt as damaged:
            _LOG.warning("run %s is left out: %s", run.path, damaged)
    return found


def last_run_before(runs: Sequence[RunFolder], unread: Say) -> RunFolder | None:
    """The last finished run of the same model and dataset that is none of these and began before all of them.

    Those that cannot be compared, because files of theirs are missing or damaged, are told to ``unread`` and left out.
    """
    first = min(run.run for run in runs)
    series = {run.about().get("series") for run in runs}
    for run in reversed(find_runs(runs[0].store.root.url, runs[0].store.name, runs[0].model)):
        if run.run >= first:
            continue
        try:
            about = run.about()
            if about.get("status") == "finished" and about.get("series") not in series and "task" in about:
                group_runs([run])
                return run
        except Exception as error:  # whatever a damaged folder comes to
            unread(f"run {run.path} cannot be read: {type(error).__name__}: {error}")
    return None


def _go_on(folder: RunFolder, options: RunOptions | None, say: Say | None) -> None:
    if say is not None:
        say(f"run {folder.model}/{folder.run}, seed {folder.about()['seed']}: {folder.home.url}")
    continue_run(folder, options, say)
