"""How sure a metric is, and whether one system is better than another on the same rows (Koehn, EMNLP 2004)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["PairedBootstrap", "intervals", "paired_bootstrap"]


@dataclass(frozen=True)
class PairedBootstrap:
    """``first - second`` on all rows, the middle 95 % of it over the samples, and how often the sign did not hold."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    """one-sided: (1 + samples whose difference is zero, undefined or of the other sign) / (1 + samples)"""
    samples: int
    rows: int


def paired_bootstrap(
    rows: int,
    first: Callable[[np.ndarray], float],
    second: Callable[[np.ndarray], float],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> PairedBootstrap:
    """``first`` and ``second`` give a system's metric on rows by number (int64, with repetitions).

    Each sample draws as many rows as there are, with replacement, the same for both systems.
    """
    if rows < 1 or samples < 1:
        raise ValueError(f"at least one row and one sample are needed, found {rows} and {samples}")
    whole = np.arange(rows)
    a, b = first(whole), second(whole)
    draw = np.random.default_rng(seed)
    found = np.empty(samples)
    for n in range(samples):
        chosen = draw.integers(0, rows, rows)
        found[n] = first(chosen) - second(chosen)
    kept = found * np.sign(a - b) > 0
    low, high = _middle(found)
    p = float((1 + np.count_nonzero(~kept)) / (1 + samples))
    return PairedBootstrap(float(a), float(b), float(a - b), low, high, p, samples, rows)


def intervals(
    rows: int, measure: Callable[[np.ndarray], Mapping[str, float]], *, samples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The middle 95 % of each metric over resampled rows (percentile bootstrap); nan where it is never defined."""
    draw = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(samples):
        for name, value in measure(draw.integers(0, rows, rows)).items():
            found.setdefault(name, []).append(value)
    return {name: _middle(np.array(values)) for name, values in found.items()}


def _middle(values: np.ndarray) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    return float(low), float(high)
