"""Making the study's version and its runs; everything that is there already is taken as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from diptych.study.plan import Cell
from diptych.training.folder import RunFolder, find_runs
from diptych.training.options import RunOptions
from diptych.training.train import Order, continue_run, start_run
from diptych.version import Version, open_version

__all__ = ["Result", "build_versions", "run_cell", "runs_of"]

RECIPES: Mapping[str, str] = {"study": "sample.yaml", "study_captions": "captions.yaml"}
"""Dataset to recipe."""
PRESET = "sample"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One finished cell: test metrics, rows, seconds of this session (None when it was there)."""

    cell: Cell
    run: str
    metrics: Mapping[str, float | None]
    rows: int
    seconds: float | None


def build_versions(folder: Path, documents: int, seed: int, say: Say) -> dict[str, Version]:
    """Write the sample with its votes, and its caption set from another seed; build both recipes.

    Only what is missing is written and computed. The caption set has a third of the documents.
    """
    from diptych.engine.build import build
    from diptych.sample import Site, write
    from diptych.sample.caption_set import write_captions

    sample, captions = folder / "documents", folder / "captions"
    if not (sample / "votes.csv").exists():  # the last file that is written
        say(f"writing {documents} sample documents to {sample}")
        write(Site(documents, seed), sample, static=False)
    if not (captions / "done.json").exists():
        say(f"writing a caption set to {captions}")
        write_captions(Site(documents // 3, seed + 1, dirt=False), captions)
    versions = {}
    for name, recipe in RECIPES.items():
        say(f"building {name}")
        text = (files("diptych.study") / recipe).read_text(encoding="utf-8")
        say(str(build(text, str(folder / "data"), folder=folder)))
        versions[name] = open_version(folder / "data" / name)
    return versions


def runs_of(version: Version, root: str) -> dict[Cell, RunFolder]:
    """The study's runs on a version, finished ones first."""
    found: dict[Cell, RunFolder] = {}
    for run in find_runs(root, version.manifest.dataset):
        about = run.about()
        if about.get("preset") != PRESET or about["settings"] or about["input_digest"] != version.manifest.input_digest:
            continue
        kind = "ablation" if about["ablation"] else "baseline" if about["baseline"] else "full"
        cell = Cell(run.model, about["ablation"] or about["baseline"] or "full", kind, about["seed"])
        if cell not in found or found[cell].about()["status"] != "finished":
            found[cell] = run
    return found


def run_cell(version: Version, cell: Cell, known: RunFolder | None, say: Say) -> Result:
    """Train and measure one cell, go on with a run that was stopped, or read what a finished one measured."""
    start = time.perf_counter()
    seconds: float | None = None
    if known is None or known.about()["status"] != "finished":
        order = Order(
            cell.model, PRESET, seed=cell.seed,
            ablation=cell.row if cell.kind == "ablation" else "",
            baseline=cell.row if cell.kind == "baseline" else "",
        )  # fmt: skip
        known = known or start_run(version, order)
        continue_run(known, RunOptions(tensorboard=False))
        seconds = time.perf_counter() - start
    results: dict[str, Any] = known.read_json("results.json")
    result = Result(cell, known.run, results["metrics"][results["split"]], results["rows"], seconds)
    say(f"{cell}: {'there already' if seconds is None else f'{seconds:.0f} s'}")
    return result
