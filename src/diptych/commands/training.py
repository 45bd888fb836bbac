"""Commands that fit models and measure them: train, evaluate, predict, runs, compare."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from diptych.commands.console import JsonFlag, RootOption, emit, open_version, table
from diptych.exceptions import UsageError
from diptych.storage.store import datasets
from diptych.version import Version

if TYPE_CHECKING:
    from diptych.training.folder import RunFolder
    from diptych.training.options import Precision, RunOptions

__all__ = ["register"]

Dataset = Annotated[str | None, typer.Option("--dataset", metavar="D@V", help="a dataset and its version")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps")]
Devices = Annotated[int, typer.Option(min=1, help="processes, one a device (DDP)")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="processes of each stream that read ahead; 0, or 1 to 4 on cuda by its cores")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run's id, MODEL/ID or path")]
Quiet = Annotated[bool, typer.Option("--quiet", help="say nothing while it runs")]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    for command in (train_command, evaluate_command, predict_command, compare_command):
        app.command(command.__name__.removesuffix("_command"))(command)
    runs = typer.Typer(help="Training runs and what they measured.", no_args_is_help=True)
    runs.command("list")(list_command)
    runs.command("show")(show_command)
    runs.command("compare")(compare_command)
    app.add_typer(runs, name="runs")


def train_command(
    model: Annotated[str | None, typer.Argument(help="a model's name, or module:Class")] = None,
    dataset: Dataset = None,
    config: Annotated[str, typer.Option(help="a preset (paper, debug, sample) or a YAML file of settings")] = "paper",
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="K=V", help="one setting; may be repeated")] = None,
    ablation: Annotated[str, typer.Option(help="one of the model's ablations")] = "",
    baseline: Annotated[str, typer.Option(help="one of the model's baselines")] = "",
    seeds: Annotated[str, typer.Option(help="one run for each, as 0,1,2")] = "0",
    resume: Annotated[str, typer.Option(metavar="RUN", help="go on with an unfinished run")] = "",
    device: Device = "cpu",
    devices: Devices = 1,
    precision: Annotated[
        Literal["32-true", "bf16-mixed", "16-mixed"], typer.Option(help="of matrix products")
    ] = "32-true",
    workers: Workers = None,
    max_hours: Annotated[float | None, typer.Option(min=0, help="write a checkpoint and end after so long")] = None,
    tensorboard: Annotated[bool, typer.Option(help="write TensorBoard events into the run's folder")] = True,
    quiet: Quiet = False,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Fit a model on a version and print our row beside the paper's; Control-C stops at a checkpoint."""
    from diptych.training.series import resume as resume_runs
    from diptych.training.series import series_text, train_series

    options = _options(device, devices, precision, workers, max_hours, tensorboard)
    say = None if quiet else _say
    silent = (lambda text: None) if quiet else say
    if resume:
        if model or dataset:
            raise UsageError("--resume RUN goes on with a run as it was begun: leave out the model and --dataset")
        folder = _find(root, resume)
        version = _version(f"{folder.store.name}@{folder.about()['version']}", root)
        done = resume_runs(folder, version, options, silent)
    else:
        if not model:
            raise UsageError("diptych train MODEL --dataset D@V, or diptych train --resume RUN")
        order = _order(model, config, set_ or [], ablation, baseline)
        if not dataset:
            raise UsageError(f"diptych train {model} needs --dataset D@V: a dataset and its version")
        done = train_series(_version(dataset, root), order, _seeds(seeds), options, silent)
    found = [{"run": f"{r.model}/{r.run}", **r.read_json("results.json")} for r in done]
    emit(found, as_json, lambda: typer.echo(series_text(done)))


def _order(model: str, config: str, assignments: list[str], ablation: str, baseline: str) -> Any:
    import yaml

    from diptych.models.registry import find_task
    from diptych.training.train import Order

    settings: dict[str, Any] = {}
    preset = config
    kind = find_task(model)
    if config not in kind.presets:
        file = Path(config)
        if not file.is_file():
            raise UsageError(f"--config {config}: neither a file nor one of {', '.join(kind.presets)}")
        try:
            read = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:
            raise UsageError(f"--config {config}: not YAML: {error}") from None
        if not isinstance(read, dict):
            raise UsageError(f"--config {config}: expected settings by name, found {type(read).__name__}")
        settings, preset = read, str(read.pop("preset", "paper"))
    for text in assignments:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--set {text}: expected NAME=VALUE")
        try:
            settings[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            raise UsageError(f"--set {text}: the value is not YAML") from None
    return Order(model, preset, settings, ablation, baseline)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text}: expected numbers as 0,1,2") from None
    if len(set(found)) < len(found):
        raise UsageError(f"--seeds {text}: a seed is named twice")
    if not all(0 <= seed < 1 << 63 for seed in found):
        raise UsageError(f"--seeds {text}: expected numbers from 0 to {(1 << 63) - 1}")
    return found


def _options(
    device: str, devices: int = 1, precision: Precision = "32-true", workers: int | None = None,
    max_hours: float | None = None, tensorboard: bool = True,
) -> RunOptions:  # fmt: skip
    from diptych.training.options import RunOptions

    return RunOptions(device, devices, precision, workers, max_hours, tensorboard=tensorboard)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _version(at: str, root: str) -> Version:
    return Version(*open_version(at, root))


def _find(root: str, name: str) -> RunFolder:
    from diptych.training.folder import find_run

    return find_run(root, name)


def evaluate_command(
    run: RunName,
    dataset: Dataset = None,
    split: Annotated[str, typer.Option(help="train, dev or test")] = "test",
    records_of: Annotated[
        str | None, typer.Option(metavar="D@V", help="only rows that this version's split has, too")
    ] = None,
    device: Device = "cpu",
    workers: Workers = None,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Measure a fitted run on any version that has the stages it reads."""
    from diptych.training.evaluation import evaluate_run

    found = evaluate_run(
        _find(root, run),
        _version(dataset, root) if dataset else None,
        split=split,
        records_of=_version(records_of, root) if records_of else None,
        options=_options(device, workers=workers),
    )
    emit(found, as_json, lambda: typer.echo(str(found)))


def predict_command(
    run: RunName,
    source: Annotated[
        str, typer.Option("--input", metavar="D@V|PATH", help="a version, or a folder or file of raw documents")
    ],
    split: Annotated[str | None, typer.Option(help="of a version: train, dev or test; all rows when left out")] = None,
    key: Annotated[list[str] | None, typer.Option("--key", help="only this row; may be repeated")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="a JSONL file; standard output when left out")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="draw what the model looked at into this folder, a picture a row")
    ] = None,
    device: Device = "cpu",
    workers: Workers = None,
    quiet: Quiet = False,
    root: RootOption = "data",
) -> None:
    """What a fitted run says of a version's rows, or of raw documents: one JSON line a row.

    Raw documents are built first, in a folder that goes afterwards, through the stages that the run reads.
    A row about which nothing can be said has `failed`: why.
    """
    import json

    from diptych.training.assignment import assignment_of
    from diptych.training.saying import say_of

    assignment = assignment_of(_find(root, run), _options(device, workers=workers))
    path = Path(source).expanduser()
    if path.exists():
        if split is not None:
            raise UsageError(f"--split {split}: raw documents have no splits; --input {source} is a path")
        place: Version | Path = path
    elif "@" in source or source in datasets(root):
        place = _version(source, root)
    else:
        known = ", ".join(datasets(root)) or "none"
        raise UsageError(f"--input {source}: neither a folder or file nor DATASET@VERSION (under {root}: {known})")
    said = say_of(
        assignment, place, split=split, keys=key, pictures=pictures, say=(lambda text: None) if quiet else _say
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in said.lines)
    if to is None:
        sys.stdout.write(text)
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text, encoding="utf-8")
        failed = sum("failed" in line for line in said.lines)
        lost = f", {failed:,} of them without a prediction: see `failed`" if failed else ""
        typer.echo(f"wrote {len(said.lines):,} row{'s' if len(said.lines) != 1 else ''} to {to}{lost}")
    if pictures is not None and not quiet:
        _say(f"drew {said.pictures:,} pictures into {pictures}")


def list_command(
    dataset: Annotated[str | None, typer.Argument(help="a dataset; all of them when left out")] = None,
    model: Annotated[str | None, typer.Option(help="only this model")] = None,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """List runs with their state and what they measured, the paper's columns first."""
    from diptych.training.comparison import leading
    from diptych.training.folder import find_runs
    from diptych.training.train import row_name

    found = []
    for run in find_runs(root, dataset, model):
        about = run.about()
        results = run.read_json("results.json") if run.exists("results.json") else {}
        metrics = results.get("metrics", {}).get(results.get("split"), {})
        found.append(
            {
                "run": f"{run.model}/{run.run}",
                "on": f"{about['dataset']}@{about['version']}",
                "row": row_name(about),
                "preset": about.get("preset", ""),
                "seed": about.get("seed"),
                "status": about.get("status", "finished"),
                "metrics": leading(metrics, str(about.get("task", ""))),
            }
        )
    rows = []
    for item in found:
        shown = ", ".join(f"{n} {v:.4f}" for n, v in list(item["metrics"].items())[:3] if v is not None)
        rows.append([item["run"], item["on"], item["row"], item["preset"], str(item["seed"]), item["status"], shown])
    emit(found, as_json, lambda: table("", ["run", "on", "row", "preset", "seed", "status", "metrics"], rows))


def show_command(run: RunName, root: RootOption = "data", as_json: JsonFlag = False) -> None:
    """One run: what it was told, how its epochs went, its results beside the paper's."""
    folder = _find(root, run)
    about = folder.about()
    epochs = folder.read_json("metrics.json").get("epochs", []) if folder.exists("metrics.json") else []
    results = folder.read_json("results.json") if folder.exists("results.json") else None
    value = {"about": about, "config": folder.read_json("config.json"), "epochs": epochs, "results": results}
    emit(value, as_json, lambda: _render(folder, about, epochs))


def _render(folder: RunFolder, about: dict[str, Any], epochs: list[dict[str, Any]]) -> None:
    typer.echo(f"{folder.model}/{folder.run}: {about.get('status', 'finished')}, {folder.home.url}")
    typer.echo(f"on {about['dataset']}@{about['version']}, seed {about.get('seed')}, started {about.get('started')}")
    if epochs:
        rows = [[e["phase"], e["epoch"] + 1, e["lr"], e["train"].get("loss") or 0.0, _short(e["dev"])] for e in epochs]
        table("", ["phase", "epoch", "rate", "train loss", "dev"], rows)
    if folder.exists("results.txt"):
        typer.echo(folder.home.read("results.txt").decode())
    elif about.get("status") == "unfinished":
        typer.echo(f"it goes on with: diptych train --resume {folder.model}/{folder.run}")


def _short(values: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)


def compare_command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="finished runs; seeds of one series are joined")],
    metric: Annotated[list[str] | None, typer.Option("--metric", help="only this one; may be repeated")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw them into this .png, .svg or .pdf file")] = None,
    bootstrap: Annotated[str, typer.Option(metavar="METRIC", help="the first run against each other one")] = "",
    samples: Annotated[int, typer.Option(min=1, help="of the bootstrap")] = 1000,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Runs beside each other and beside the paper: table, plot, paired bootstrap."""
    from diptych.training.comparison import comparison_text, draw, group_runs

    folders = [_find(root, name) for name in runs]
    groups = group_runs(folders)
    text = comparison_text(groups, metric or ())
    if plot is not None:
        form = plot.suffix.removeprefix(".")
        if form not in ("png", "svg", "pdf"):
            raise UsageError(f"--plot {plot}: expected a .png, .svg or .pdf file")
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_bytes(draw(groups, metric or (), form))
    tests = [_bootstrap(folders[0], other, bootstrap, samples) for other in folders[1:]] if bootstrap else []

    def render() -> None:
        typer.echo(text)
        for found in tests:
            typer.echo(
                f"{' - '.join(found['runs'])}: {bootstrap} {found['difference']:+.4f} "
                f"[{found['low']:+.4f}, {found['high']:+.4f}] on {found['rows']:,} rows, p = {found['p']:.4f} "
                f"(one-sided, {samples:,} samples)"
            )
        if plot is not None:
            typer.echo(f"wrote {plot}")

    emit({"groups": groups, "bootstrap": tests}, as_json, render)


def _bootstrap(first: RunFolder, second: RunFolder, metric: str, samples: int) -> dict[str, Any]:
    from dataclasses import asdict

    from diptych.training.assignment import assignment_of
    from diptych.training.comparison import bootstrap_runs

    if first.model != second.model:
        raise UsageError(f"runs of {first.model} and {second.model} have no metric of the same rows in common")
    split = first.read_json("results.json")["split"]
    mine, other = (run.read_lines(f"predictions-{split}.jsonl") for run in (first, second))
    found = bootstrap_runs(assignment_of(first).task(), mine, other, metric, samples=samples)
    return {**asdict(found), "runs": [f"{first.model}/{first.run}", f"{second.model}/{second.run}"]}
