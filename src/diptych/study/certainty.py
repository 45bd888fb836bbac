"""How sure the difference of two rows is: test rows drawn again, seeds averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.training.assignment import assignment_of
from diptych.training.folder import RunFolder
from diptych.training.task import Line, Task

__all__ = ["SAMPLES", "Difference", "Differences", "differences"]

SAMPLES = 200


@dataclass(frozen=True)
class Difference:
    """First less second, mean over seeds; the middle 95 % of it over resampled test rows."""

    value: float
    low: float
    high: float


Differences = Mapping[tuple[str, str], Mapping[str, Difference]]
"""The full model less a row of it, by (model, row) and metric."""


def differences(
    first: Sequence[RunFolder], second: Sequence[RunFolder], metrics: Sequence[str], samples: int = SAMPLES
) -> dict[str, Difference]:
    """For each metric; the runs of both, seed by seed, are measured on the same draws of the test rows that all have.

    A sample draws as many rows as there are, with replacement; a metric that is never defined is left out.
    """
    sides = [[_test_lines(run) for run in runs] for runs in (first, second)]
    shared = sorted(set.intersection(*(set(lines) for side in sides for lines in side)))
    draw = np.random.default_rng(0)
    draws = [np.arange(len(shared)), *(draw.integers(0, len(shared), len(shared)) for _ in range(samples))]
    tasks = [assignment_of(runs[0]).task() for runs in (first, second)]
    means = [_measured(task, side, shared, draws, metrics) for task, side in zip(tasks, sides, strict=True)]
    found = {}
    for metric in metrics:
        value, *rest = means[0][metric] - means[1][metric]
        defined = np.array(rest)[np.isfinite(rest)]
        if len(defined) and np.isfinite(value):
            low, high = np.quantile(defined, [0.025, 0.975])
            found[metric] = Difference(float(value), float(low), float(high))
    return found


def _test_lines(run: RunFolder) -> dict[str, Line]:
    return {str(line["id"]): line for line in run.read_lines("predictions-test.jsonl")}


def _measured(
    task: Task, side: Sequence[Mapping[str, Line]], shared: Sequence[str], draws: Sequence[np.ndarray],
    metrics: Sequence[str],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Of each metric the mean over seeds on each draw."""
    values = np.full((len(side), len(draws), len(metrics)), np.nan)
    for seed, lines in enumerate(side):
        for number, rows in enumerate(draws):
            measured = task.evaluate([lines[shared[int(n)]] for n in rows])
            values[seed, number] = [measured.get(metric, np.nan) for metric in metrics]
    return dict(zip(metrics, values.mean(0).T, strict=True))
