"""Learning rates, stopping and the choice of the epoch: pure functions of the dev values so far, so nothing of them
needs to be kept in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diptych.training.phase import Monitor, Schedule

__all__ = ["best_epoch", "factor", "stopped"]


def _better(value: float, than: float, monitor: Monitor) -> bool:
    return value > than if monitor.higher else value < than


def best_epoch(values: Sequence[float], monitor: Monitor) -> int | None:
    """The first epoch with the best value; nan is never best; None before the first number."""
    best: int | None = None
    for epoch, value in enumerate(values):
        if not math.isnan(value) and (best is None or _better(value, values[best], monitor)):
            best = epoch
    return best


def factor(schedule: Schedule, values: Sequence[float], monitor: Monitor) -> float:
    """What the learning rate is multiplied by in the epoch after these."""
    if schedule.kind == "every":
        return schedule.factor ** (len(values) // schedule.epochs)
    if schedule.kind == "constant":
        return 1.0
    times = waited = 0
    best = math.nan
    for value in values:
        if math.isnan(best) or _better(value, best, monitor):
            best, waited = value, 0
            continue
        waited += 1
        if waited == schedule.epochs:
            times, waited = times + 1, 0
    return schedule.factor**times


def stopped(values: Sequence[float], patience: int, monitor: Monitor) -> bool:
    """Whether the last ``patience`` epochs brought nothing better."""
    best = best_epoch(values, monitor)
    return len(values) - (0 if best is None else best + 1) >= patience
