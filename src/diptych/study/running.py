"""Making the study's versions and its runs; everything that is there already is taken as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from diptych.models.registry import find_task
from diptych.study.plan import Cell
from diptych.study.spending import Ledger, Spent, measured
from diptych.training.folder import RunFolder, find_runs
from diptych.training.options import RunOptions
from diptych.training.train import Order, continue_run, settings_of, start_run
from diptych.version import Version, open_version

__all__ = ["Result", "build_versions", "order_of", "run_cell", "runs_of"]

RECIPES: Mapping[str, str] = {"study": "sample.yaml", "study_captions": "captions.yaml"}
"""Dataset to recipe."""
WEIGHTS = ("sample", "minilm")
"""What these stages need and this package has not."""
PRESET = "sample"
LEVELS = 1 / 3
"""Share of pairs with CMI and SC: the autoencoder sees every pair, the classifier only these."""
SPENT = "study.json"
"""What a run has cost, beside the files of its folder."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One finished cell: test metrics and rows; ``spent`` over all its sessions, None for a run of another program."""

    cell: Cell
    run: str
    metrics: Mapping[str, float | None]
    rows: int
    spent: Spent | None


def build_versions(folder: Path, documents: int, seed: int, ledger: Ledger, say: Say) -> dict[str, Version]:
    """Write the sample with its votes, and its caption set from another seed; build both recipes.

    Only what is missing is written and computed. The caption set has about a picture for each document.
    """
    from diptych import weights
    from diptych.engine.build import build
    from diptych.engine.crawling import crawl_recipe
    from diptych.sample import Site, write
    from diptych.sample.caption_set import write_captions
    from diptych.weights_transfer import in_tenths

    for group in WEIGHTS:  # before the work that needs them
        weights.pull(group, in_tenths(say))
    folder = folder.resolve()
    sample, captions = folder / "documents", folder / "captions"
    if not (sample / "votes.csv").exists():  # the last file that is written
        say(f"writing {documents} sample documents to {sample}")
        with ledger.on("writing the documents"):
            write(Site(documents, seed), sample, static=False, levels=LEVELS)
    if not (captions / "done.json").exists():
        say(f"writing a caption set to {captions}")
        with ledger.on("writing the caption set"):
            # 7 documents of 10 are English, with 2.5 pictures each
            write_captions(Site(documents * 7 // 12, seed + 1, dirt=False), captions)
    versions = {}
    for name, recipe in RECIPES.items():
        say(f"building {name}")
        text = (files("diptych.study") / recipe).read_text(encoding="utf-8")
        with measured() as spent, chdir(folder):  # a stage's own files are looked for from the working folder
            crawl_recipe(text, str(folder / "data"), folder)
            report = build(text, str(folder / "data"), folder=folder)
        say(report.committed.reason)
        ledger.add(f"building {name}" if report.computed else "finding that nothing changed", spent)
        versions[name] = open_version(folder / "data" / name)
    return versions


def order_of(cell: Cell) -> Order:
    """The cell as the training loop is told."""
    return Order(
        cell.model, PRESET, seed=cell.seed,
        ablation=cell.row if cell.kind == "ablation" else "",
        baseline=cell.row if cell.kind == "baseline" else "",
    )  # fmt: skip


def runs_of(version: Version, root: str) -> dict[Cell, RunFolder]:
    """The study's runs on a version, finished ones first; those of other settings than today's are none of its."""
    found: dict[Cell, RunFolder] = {}
    for run in find_runs(root, version.manifest.dataset):
        about = run.about()
        if about.get("preset") != PRESET or about["settings"] or about["input_digest"] != version.manifest.input_digest:
            continue
        kind = "ablation" if about["ablation"] else "baseline" if about["baseline"] else "full"
        cell = Cell(run.model, about["ablation"] or about["baseline"] or "full", kind, about["seed"])
        settings = settings_of(find_task(cell.model), order_of(cell)).model_dump(mode="json")
        if run.read_json("config.json") != settings:
            continue
        if cell not in found or found[cell].about()["status"] != "finished":
            found[cell] = run
    return found


def run_cell(version: Version, cell: Cell, known: RunFolder | None) -> Result:
    """Train and measure one cell, go on with a run that was stopped, or read what a finished one measured."""
    run = known if known is not None and known.about()["status"] == "finished" else _finish(version, cell, known)
    results: dict[str, Any] = run.read_json("results.json")
    split = results["split"]
    return Result(cell, run.run, results["metrics"][split], results["rows"][split], _spent(run))


def _finish(version: Version, cell: Cell, known: RunFolder | None) -> RunFolder:
    """The cell's run, finished; what a session has cost is kept, however it ends."""
    run, spent = known, Spent()
    try:
        with measured() as spent:
            run = known or start_run(version, order_of(cell))
            continue_run(run, RunOptions(tensorboard=False))
        return run
    finally:
        if run is not None:
            run.write_json(SPENT, asdict((_spent(run) or Spent()) + spent))


def _spent(run: RunFolder) -> Spent | None:
    return Spent(**run.read_json(SPENT)) if run.exists(SPENT) else None
