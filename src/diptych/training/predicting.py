"""Going through a split without training: loss terms, predictions, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from diptych.exceptions import DiptychError
from diptych.training.feed import Feed
from diptych.training.task import Line, Moment, Task
from diptych.training.terms import add_terms, mean_of

__all__ = ["mean_terms", "predict_lines", "resting"]


@contextmanager
def resting(fabric: Any, module: Any) -> Iterator[None]:
    """Eval mode, no gradients, the run's precision; the module's mode comes back afterwards."""
    import torch

    mode = module.training
    module.eval()
    try:
        with torch.no_grad(), fabric.autocast():
            yield
    finally:
        module.train(mode)


def mean_terms(fabric: Any, task: Task, module: Any, feeds: Mapping[str, Feed], moment: Moment) -> dict[str, float]:
    """``loss`` and ``loss.NAME``: means over the terms' items in one pass over the first feed; the others go round.

    One of these that has no row is left out of the batches. What the task watches is there under its own name.
    """
    import torch

    first, *others = feeds
    sums: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    wide = torch.float32 if fabric.device.type == "mps" else torch.float64
    for feed in feeds.values():
        feed.set_epoch(0)
    around = {name: feeds[name].forever() for name in others if len(feeds[name])}
    with resting(fabric, module):
        for batch in feeds[first]:
            batches = {first: batch, **{name: next(other) for name, other in around.items()}}
            there = {n: b.to(fabric.device) for n, b in batches.items()}
            add_terms(sums, task.loss(module, there, moment), task.items(batches, moment), len(batch), wide)
            watched = task.watched(module, there, moment)
            counts = {n: len(values) for n, values in watched.items()}
            add_terms(seen, {n: values.float().mean() for n, values in watched.items()}, counts, 0, wide)
    values = {n.removeprefix("loss."): value for n, value in mean_of(seen).items() if n != "loss"}
    return {**mean_of(sums), **values}


def predict_lines(fabric: Any, task: Task, module: Any, feed: Feed) -> Sequence[Line]:
    """The lines of all rows of a feed, in its order."""
    rows: list[Mapping[str, Any]] = []
    feed.set_epoch(0)
    with resting(fabric, module):
        for batch in feed:
            found = task.predict(module, batch.to(fabric.device))
            if len(found) != len(batch):
                raise DiptychError(f"model {task.name}: predict gave {len(found)} rows for a batch of {len(batch)}")
            rows.extend(found)
    return task.finish(rows)
