"""What a model looked at in one picture: weights over a grid or over boxes, for a person to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Look", "Mark"]


@dataclass(frozen=True)
class Mark:
    """One region: xyxy, in pixels of the decoded picture or (``Look.relative``) as shares of width and height."""

    box: tuple[float, float, float, float]
    weight: float
    """how strongly it was looked at, in [0, 1]; weights of one picture are compared with each other"""
    label: str = ""


@dataclass(frozen=True)
class Look:
    """One picture of a row; ``image`` is its key."""

    image: str
    marks: Sequence[Mark] = ()
    grid: Sequence[Sequence[float]] = ()
    """weights in [0, 1] by row and column of equal cells, where the model reads a grid"""
    relative: bool = False
    chosen: bool = False
    """the model chose it among several"""
    caption: str = ""
