"""Cells and comparisons in processes of their own, several at a time, each on one thread; they end with this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from diptych.processes import end_with_parent
from diptych.study.certainty import Difference, differences
from diptych.study.plan import Cell, ModelPlan
from diptych.study.running import Result, run_cell
from diptych.training.folder import RunFolder
from diptych.version import open_version

__all__ = ["Pair", "Place", "compare", "train", "work"]

Given = TypeVar("Given")
Found = TypeVar("Found")
Place = tuple[Cell, Path, str | None]
"""A cell, its dataset, the run that is there."""
Pair = tuple[ModelPlan, str, Path, tuple[str, ...], tuple[str, ...]]
"""A model's row to compare with the full model, their dataset, the runs of both."""


def work(function: Callable[[Given], Found], given: Sequence[Given], jobs: int) -> Iterator[Found]:
    """What comes of each, as it comes; when one fails those that have begun end first, and no other begins."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin) as pool:
        try:
            for done in as_completed([pool.submit(function, one) for one in given]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """One thread a run, however many run at a time: a sum's order, and so every figure, depends on it."""
    end_with_parent()
    import torch

    torch.set_num_threads(1)


def train(place: Place) -> Result:
    """Finish a cell, or read it."""
    cell, home, path = place
    version = open_version(home)
    return run_cell(version, cell, RunFolder(version.store, path) if path else None)


def compare(pair: Pair) -> tuple[tuple[str, str], Mapping[str, Difference]]:
    """The full model less the row."""
    plan, row, home, full, other = pair
    store = open_version(home).store
    first, second = ([RunFolder(store, path) for path in side] for side in (full, other))
    return (plan.model, row), differences(first, second, plan.metrics)
