"""A fitted run on any version that has its stages: metrics, predictions, and which rows are comparable."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diptych.exceptions import NotFound, UsageError
from diptych.storage.reader_records import Records
from diptych.storage.store import open_store
from diptych.training.assignment import Assignment, assignment_of
from diptych.training.checkpoint import seed_everything
from diptych.training.feed import EXTRA, Feed, entry_of
from diptych.training.folder import RunFolder
from diptych.training.needs import check_needs
from diptych.training.options import RunOptions, make_fabric
from diptych.training.phase import Stream
from diptych.training.predicting import predict_lines
from diptych.training.task import Line, Task
from diptych.version import Version

__all__ = ["OTHERWISE", "Evaluation", "check_fitted", "evaluate_run", "fitted", "made_otherwise", "predict_rows"]

OTHERWISE = "made with other settings or weights than what the run was trained on; the model may not know such features"
_LABELS = ("votes", "pair_votes", "best_image")
"""Stages whose keys change with every answer of a person."""


@dataclass(frozen=True)
class Evaluation:
    """A run's metrics on some rows of a version; ``path`` relative to the dataset of the run."""

    run: str
    on: str
    """``dataset@version, split``"""
    rows: int
    metrics: dict[str, float]
    trained_on: int
    """rows among them that the run was trained on (a record may leave train in a later version)"""
    otherwise: tuple[str, ...]
    """stages of other settings or weights than those whose rows the run was trained on"""
    path: str

    def __str__(self) -> str:
        made = f"; {', '.join(self.otherwise)}: {OTHERWISE}" if self.otherwise else ""
        shown = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        seen = f"; {self.trained_on:,} of them were trained on: --records-of compares fairly" if self.trained_on else ""
        return f"{self.run} on {self.on}: {self.rows:,} rows{seen}{made}\n{shown}"


def predict_rows(
    assignment: Assignment,
    version: Version | None = None,
    *,
    split: str | None = "test",
    keys: Collection[str] | None = None,
    task: Task | None = None,
    stream: Stream | None = None,
) -> Sequence[Line]:
    """Lines of a fitted run for the rows of a split (of its own version unless another is given), in their order.

    ``stream`` has other rows than the scored ones, with at least their fields.
    """
    task = task or assignment.task()
    fabric, module = fitted(assignment, task)
    feed = Feed(
        version or assignment.open(),
        task,
        "scored",
        replace(stream or task.scored(), each=""),
        split=split,
        shuffle=False,
        workers=assignment.options.other_readers,
        keys=keys,
    )
    with contextlib.closing(feed):
        return predict_lines(fabric, task, module, feed)


def check_fitted(assignment: Assignment) -> None:
    """Raise :class:`UsageError` for a run without weights."""
    folder = assignment.folder()
    if not folder.exists("weights.safetensors"):
        raise UsageError(
            f"run {folder.model}/{folder.run} has no weights: it is unfinished (`diptych train --resume "
            f"{folder.model}/{folder.run}`) or a baseline that is not trained"
        )


def fitted(assignment: Assignment, task: Task) -> tuple[Any, Any]:
    """A run's network with its fitted weights, and the Fabric whose device it is on."""
    check_fitted(assignment)
    fabric = make_fabric(replace(assignment.options, devices=1))
    seed_everything(assignment.seed)  # a task that draws when it predicts says the same again
    module = task.build()
    module.load_state_dict(assignment.folder().read_tensors("weights.safetensors"))
    module.to(fabric.device)
    return fabric, module


def evaluate_run(
    folder: RunFolder,
    version: Version | None = None,
    *,
    split: str = "test",
    records_of: Version | None = None,
    options: RunOptions | None = None,
) -> Evaluation:
    """Predict and measure a split; with ``records_of`` only the rows that this version's split has, too.

    Lines and metrics are kept in the run's folder under ``evaluations/``.
    """
    assignment = assignment_of(folder, options)
    task, version = assignment.task(), version or assignment.open()
    check_needs(version, type(task), task.config)
    stream = task.scored()
    keys = None if records_of is None else row_keys(records_of, stream, split)
    lines = predict_rows(assignment, version, split=split, keys=keys, task=task)
    on = f"{version.manifest.dataset}@{version.number}, {split}"
    name = f"{version.manifest.dataset}@{version.number}-{split}"
    if records_of is not None:
        other = f"{records_of.manifest.dataset}@{records_of.number}"
        on, name = f"{on}, rows of {other}", f"{name}-of-{other}"
    if not lines:
        raise UsageError(f"{on}: there is no row to evaluate on")
    metrics = {n: float(v) for n, v in task.evaluate(lines).items()}
    seen = len(_trained(assignment, task, stream) & {str(line["id"]) for line in lines})
    path, otherwise = f"evaluations/{name}", made_otherwise(folder, version)
    folder.write_lines(f"{path}.jsonl", lines)
    about = {"on": on, "rows": len(lines), "metrics": metrics, "trained_on": seen, "otherwise": otherwise}
    folder.write_json(f"{path}.json", about)
    return Evaluation(
        f"{folder.model}/{folder.run}", on, len(lines), metrics, seen, otherwise, f"{folder.path}/{path}.json"
    )


def made_otherwise(folder: RunFolder, version: Version) -> tuple[str, ...]:
    """Stages that the run reads whose key in the version is not that of the version it was trained on."""
    keys = {stage.name: stage.key for stage in version.manifest.stages}
    known = folder.about()["stages"]
    return tuple(name for name, key in known.items() if name not in _LABELS and keys.get(name, key) != key)


def row_keys(version: Version, stream: Stream, split: str) -> set[str]:
    """Keys of a split's rows of a stream."""
    with Records(
        version, stream.fields, rows=stream.rows, split=split, where=stream.where or None, missing=stream.missing
    ) as records:
        return {
            records.key(i)
            for i in range(len(records))
            if not stream.says or entry_of(records.value(i, EXTRA), stream.says) is not None
        }


def _trained(assignment: Assignment, task: Task, scored: Stream) -> set[str]:
    """Keys of the rows that the run was trained on; none when its version is retired."""
    store = open_store(assignment.root, assignment.dataset)
    try:
        version = Version(store, store.log.manifest(assignment.version))
    except NotFound:
        return set()
    used = {name: s for phase in task.phases() for name, s in phase.streams.items() if s.rows == scored.rows}
    return {key for stream in used.values() for key in row_keys(version, stream, "train")}
