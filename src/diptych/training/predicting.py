"""Going through a split without training: loss terms, predictions, metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from diptych.exceptions import DiptychError
from diptych.training.feed import Feed
from diptych.training.task import Line, Moment, Task

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
    """``loss`` and ``loss.NAME``: means over the rows of the first feed, in one pass; the other feeds go round."""
    first, *others = feeds
    sums: dict[str, float] = {}
    rows = 0
    for feed in feeds.values():
        feed.set_epoch(0)
    around = {name: feeds[name].forever() for name in others}
    with resting(fabric, module):
        for batch in feeds[first]:
            batches = {first: batch, **{name: next(other) for name, other in around.items()}}
            terms = task.loss(module, {n: b.to(fabric.device) for n, b in batches.items()}, moment)
            for name, value in terms.items():
                sums[f"loss.{name}"] = sums.get(f"loss.{name}", 0.0) + float(value) * len(batch)
            rows += len(batch)
    means = {name: value / rows for name, value in sums.items()}
    return {"loss": sum(means.values()) if means else math.nan, **means}


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
