"""Distributions in bounded memory: exact for small whole numbers, three significant digits for the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Cloud", "Distribution"]


@dataclass
class Distribution:
    """How often each value occurs; ``whole`` values below 1,000 are kept exactly."""

    title: str
    unit: str
    whole: bool = True
    note: str = ""
    counts: Counter[float] = field(default_factory=Counter)
    total: int = 0
    sum: float = 0.0

    def add(self, values: Iterable[float | int | None] | np.ndarray) -> None:
        """Count values; None and what is not finite are left out."""
        if isinstance(values, np.ndarray):
            array = values.astype(np.float64).ravel()
        else:
            array = np.array([v for v in values if v is not None], np.float64)
        array = array[np.isfinite(array)]
        if not array.size:
            return
        self.total += int(array.size)
        self.sum += float(array.sum())
        found, times = np.unique(_rounded(array, self.whole), return_counts=True)
        self.counts.update(dict(zip(found.tolist(), times.tolist(), strict=True)))

    @property
    def mean(self) -> float:
        """Arithmetic mean of all values."""
        return self.sum / self.total if self.total else 0.0

    def quantile(self, share: float) -> float:
        """The smallest value that at least this share of the values does not exceed."""
        reached = 0
        for value in sorted(self.counts):
            reached += self.counts[value]
            if reached >= share * self.total:
                return value
        return 0.0

    @property
    def varied(self) -> bool:
        """Whether there are at least two different values, so that a picture says something."""
        return len(self.counts) > 1


def _rounded(array: np.ndarray, whole: bool) -> np.ndarray:
    with np.errstate(divide="ignore"):
        digits = np.floor(np.log10(np.abs(np.where(array == 0, 1.0, array))))
    step = np.power(10.0, digits - 2)
    rounded = np.round(array / step) * step
    small = whole & (np.abs(array) < 1000)
    return np.where(small, array, np.round(rounded, 12))


@dataclass
class Cloud:
    """Pairs of positive numbers (width and height) counted in cells of an eighth of an octave."""

    cells: Counter[tuple[int, int]] = field(default_factory=Counter)

    STEPS = 8

    def add(self, widths: Iterable[int | None], heights: Iterable[int | None]) -> None:
        """Count pairs; those with None or zero are left out."""
        for width, height in zip(widths, heights, strict=True):
            if width and height:
                self.cells[self._cell(width), self._cell(height)] += 1

    @classmethod
    def _cell(cls, value: int) -> int:
        return round(math.log2(value) * cls.STEPS)

    @classmethod
    def value(cls, cell: int) -> float:
        """The number in the middle of a cell."""
        return 2.0 ** (cell / cls.STEPS)
