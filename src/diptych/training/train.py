"""A run from beginning to end: settings, needs, state, fitting, predictions of dev and test, results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from diptych.exceptions import DiptychError, Unfinished, UsageError
from diptych.metrics.bootstrap import intervals
from diptych.models.registry import find_task
from diptych.storage.log import now
from diptych.storage.reader_records import Records
from diptych.training.assignment import Assignment, assignment_of
from diptych.training.config import Plain, TaskConfig, departures, make_config
from diptych.training.evaluation import predict_rows
from diptych.training.folder import RunFolder
from diptych.training.loop import NotFinite, fit
from diptych.training.needs import check_needs, fields_read
from diptych.training.options import RunOptions, check_machine, make_fabric
from diptych.training.phase import Stream
from diptych.training.results import results_text, spread
from diptych.training.run import new_run_id, provenance
from diptych.training.stopping import Stopper
from diptych.training.task import Line, Task, Variant

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["SPLITS", "Order", "continue_run", "row_name", "settings_of", "start_run", "train"]

SPLITS = ("dev", "test")
"""What a finished run has predictions of."""


@dataclass(frozen=True)
class Order:
    """What is to be trained; ``settings`` override the preset's, an ablation's or baseline's override both."""

    model: str
    preset: str = "paper"
    settings: Mapping[str, Plain] = field(default_factory=dict)
    ablation: str = ""
    baseline: str = ""
    seed: int = 0
    series: str = ""
    """what runs that differ in their seed have in common"""
    seeds: tuple[int, ...] = ()
    """of the whole series"""


def settings_of(kind: type[Task], order: Order) -> TaskConfig:
    """The configuration of an order; :class:`UsageError` names the presets, ablations and baselines there are."""
    layers = [_known(kind.presets, order.preset, "preset", kind), order.settings]
    for name, table, what in (
        (order.ablation, kind.ablations, "ablation"),
        (order.baseline, kind.baselines, "baseline"),
    ):
        if name:
            found = _known(table, name, what, kind)
            if isinstance(found, Variant):
                layers.append(found.settings)
    return make_config(kind.Config, *layers)


def _known(table: Mapping[str, Any], name: str, what: str, kind: type[Task]) -> Any:
    if name not in table:
        raise UsageError(f"model {kind.name} has no {what} {name!r}; it has {', '.join(sorted(table)) or 'none'}")
    return table[name]


def row_name(about: Mapping[str, Any]) -> str:
    """What a run's row is called in tables: ``full``, or its ablation or baseline."""
    return str(about.get("ablation") or about.get("baseline") or "full")


def start_run(version: Version, order: Order) -> RunFolder:
    """Check, prepare and write a new run's folder; nothing is trained yet."""
    if order.ablation and order.baseline:
        raise UsageError("a run is an ablation or a baseline, not both")
    kind = find_task(order.model)
    config = settings_of(kind, order)
    check_needs(version, kind, config)
    started = now()
    state = kind.prepare(version, config)
    home, run_id = version.store.home, new_run_id()
    folder = RunFolder(version.store, f"runs/{kind.name}/{run_id}")
    if home.exists(folder.path):
        raise UsageError(f"run {folder.path} exists in {home.url}; runs are never overwritten")
    folder.write_json("config.json", config.model_dump(mode="json"))
    folder.write_state(state)
    about = provenance(version, kind.name, fields_read(kind, config), order.seed, started)
    extra = {"run": run_id, "task": order.model, "preset": order.preset, "status": "unfinished"}
    names = {"ablation": order.ablation, "baseline": order.baseline, "series": order.series or run_id}
    asked = {"settings": dict(order.settings), "seeds": list(order.seeds or (order.seed,))}
    folder.write_json("run.json", {**about, **extra, **names, **asked})
    return folder


def continue_run(
    folder: RunFolder, options: RunOptions | None = None, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Fit what is not fitted, predict dev and test, write the results; returns them.

    :class:`~diptych.exceptions.Unfinished` when the session was told to end before.
    """
    options, about = options or RunOptions(), folder.about()
    if about.get("status") == "finished":
        return folder.read_json("results.json")
    check_machine(options)
    assignment = assignment_of(folder, options)
    task = assignment.task()
    baseline = task.baselines.get(about["baseline"]) if about["baseline"] else None
    folder.write_json("run.json", {**about, "options": asdict(options)})
    reason = ""
    try:
        if baseline is not None and not isinstance(baseline, Variant):
            return _finish(folder, task, _untrained(assignment.open(), task, baseline, about["seed"]))
        if not folder.exists("weights.safetensors"):
            reason = _fit(assignment, say)
        if not reason:
            lines = {split: list(predict_rows(assignment, split=split, task=task)) for split in SPLITS}
            return _finish(folder, task, lines)
    except KeyboardInterrupt:
        reason = "it was interrupted"
    raise Unfinished(
        f"run {folder.model}/{folder.run} is not finished: {reason}; "
        f"go on with `diptych train --resume {folder.model}/{folder.run}`"
    )


def train(
    version: Version,
    order: Order,
    options: RunOptions | None = None,
    say: Callable[[str], None] | None = None,
) -> RunFolder:
    """A new run, fitted and measured; :class:`~diptych.exceptions.Unfinished` says how to go on with a stopped one."""
    check_machine(options or RunOptions())
    folder = start_run(version, order)
    if say is not None:
        say(f"run {folder.model}/{folder.run} in {folder.home.url}")
    continue_run(folder, options, say)
    return folder


class _Rank:
    """What each process runs; not a dataclass, for Fabric would take frozen ones among its arguments apart."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def __call__(self, fabric: Any) -> str:
        return fit(fabric, self._assignment)


def _fit(assignment: Assignment, say: Callable[[str], None] | None) -> str:
    fabric = make_fabric(assignment.options)
    if assignment.options.devices == 1:
        return fit(fabric, assignment, say)
    from torch.multiprocessing.spawn import ProcessRaisedException

    with Stopper(forward=True):
        try:
            return fabric.launch(_Rank(assignment))
        except ProcessRaisedException as error:
            kind = NotFinite if f".{NotFinite.__name__}: " in str(error) else DiptychError  # it is there as text alone
            raise kind(f"a process of the run failed; its last checkpoint stays.\n{error}") from error


def _untrained(version: Version, task: Task, baseline: Any, seed: int) -> dict[str, list[Line]]:
    stream = task.scored()
    with contextlib.ExitStack() as stack:
        train, *others = (stack.enter_context(_records(version, stream, s)) for s in ("train", *SPLITS))
        return {
            split: list(baseline(task, train, records, seed)) for split, records in zip(SPLITS, others, strict=True)
        }


def _records(version: Version, stream: Stream, split: str) -> Records:
    return Records(
        version, stream.fields, rows=stream.rows, split=split, where=stream.where or None, missing=stream.missing
    )


def _finish(folder: RunFolder, task: Task, lines: Mapping[str, list[Line]]) -> dict[str, Any]:
    """Write predictions, metrics and results; the run is then finished."""
    about = folder.about()
    metrics: dict[str, dict[str, float]] = {}
    for split, found in lines.items():
        folder.write_lines(f"predictions-{split}.jsonl", found)
        metrics[split] = {name: float(value) for name, value in task.evaluate(found).items()} if found else {}
    rows = {split: len(found) for split, found in lines.items()}
    judged = "test" if lines.get("test") else "dev"
    name, spreads = row_name(about), {n: spread([v]) for n, v in metrics[judged].items()}
    title = (
        f"{task.name} ({about['preset']}) on {about['dataset']}@{about['version']}, {judged}: {rows[judged]:,} rows, "
        f"seed {about['seed']}"
    )
    apart, sure = departures(task.config), _intervals(task, lines[judged])
    log: dict[str, Any] = folder.read_json("metrics.json") if folder.exists("metrics.json") else {}
    epochs, before = log.get("epochs", []), log.get("before", {})
    fitted = {name: float(value) for name, value in task.fitted(before, epochs).items()} if epochs else {}
    folder.write_text("results.txt", results_text(title, name, spreads, task.paper, apart, sure, fitted))
    results = {
        "row": name,
        "split": judged,
        "rows": rows,
        "metrics": metrics,
        "intervals": sure,
        "fitted": fitted,
        "paper": asdict(task.paper) if task.paper else None,
        "departures": [asdict(d) for d in apart],
    }
    folder.write_json("metrics.json", {"epochs": epochs, **({"before": before} if before else {}), **metrics})
    folder.write_json("results.json", results)
    folder.write_json("run.json", {**about, "status": "finished", "finished": now()})
    return folder.read_json("results.json")


def _intervals(task: Task, lines: Sequence[Line]) -> dict[str, tuple[float, float]]:
    if not lines or not task.interval_samples:
        return {}
    return intervals(len(lines), lambda rows: task.evaluate([lines[n] for n in rows]), samples=task.interval_samples)
