"""Whether one system is better than another on the same rows: the paired bootstrap (Koehn, EMNLP 2004)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["PairedBootstrap", "paired_bootstrap"]


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
    defined = found[np.isfinite(found)]
    low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
    p = float((1 + np.count_nonzero(~kept)) / (1 + samples))
    return PairedBootstrap(float(a), float(b), float(a - b), float(low), float(high), p, samples, rows)
