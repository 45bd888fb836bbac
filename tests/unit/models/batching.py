"""Dev values must not depend on how the rows fall into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from diptych.training.predicting import mean_terms
from diptych.training.task import Moment, Task

FABRIC: Any = SimpleNamespace(device=torch.device("cpu"), autocast=lambda: torch.autocast("cpu", enabled=False))


class Batches(list[Any]):
    """What a pass over dev needs of a feed."""

    def set_epoch(self, epoch: int) -> None:
        """Always the same order."""

    def forever(self) -> Iterator[Any]:
        while True:
            yield from self


def means(task: Task, module: Any, phase: str, rows: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, float]:
    """The mean terms of a phase over each stream's rows, cut into batches as given."""
    feeds: Any = {name: Batches(task.collate(some, name) for some in cut) for name, cut in rows.items()}
    return mean_terms(FABRIC, task, module, feeds, Moment(phase))


def assert_means_are_of_items(task: Task, phase: str, streams: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Each stream's rows in one batch, one by one, and cut unevenly: the same means, which are returned."""
    torch.manual_seed(0)
    module = task.build()
    whole = means(task, module, phase, {name: [rows] for name, rows in streams.items()})
    single = {name: [[row] for row in rows] for name, rows in streams.items()}
    uneven = {name: [rows[:-1], rows[-1:]] for name, rows in streams.items()}
    for cut in (single, uneven):
        assert means(task, module, phase, cut) == pytest.approx(whole, rel=1e-5)
    return whole
