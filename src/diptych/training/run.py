"""A small run's folder (that of the loop is in ``folder``): complete or absent, never changed afterwards.

``run.json``            dataset, version and its digests, stages and fits read, code, packages, seed, start and end
``config.json``         the model's settings
``metrics.json``        what the run measured
``weights.safetensors`` the fitted parameters
``predictions.jsonl``   one line a row
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diptych.exceptions import UsageError
from diptych.releases import git_commit, release
from diptych.storage.log import now
from diptych.storage.root import LocalRoot
from diptych.training.config import Plain

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["Run", "new_run_id", "provenance", "write_run"]

PACKAGES = ("diptych", "torch", "numpy", "pyarrow", "safetensors", "lightning-fabric")


def new_run_id() -> str:
    """UTC time to the millisecond and a random part: names sort by when the runs began."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return f"{stamp}-{nanoseconds // 10**6:03d}{secrets.token_hex(2)}"


@dataclass(frozen=True)
class Run:
    """What a finished run leaves; ``reads`` are the fields it read, ``started`` an ISO time."""

    model: str
    config: Mapping[str, Plain]
    metrics: Mapping[str, Plain]
    weights: Mapping[str, np.ndarray]
    predictions: Iterable[Mapping[str, Plain]]
    seed: int
    reads: tuple[str, ...]
    started: str


def write_run(version: Version, run: Run, run_id: str | None = None) -> str:
    """Write the folder; returns its path relative to the dataset. :class:`UsageError` when that run id exists."""
    home, run_id = version.store.home, run_id or new_run_id()
    path = f"runs/{run.model}/{run_id}"
    if home.exists(path):
        raise UsageError(f"run {path} exists in {home.url}; runs are never overwritten")
    temporary = f"runs/{run.model}/.tmp-{run_id}-{secrets.token_hex(4)}"
    folder = home.scratch(temporary)
    try:
        about = provenance(version, run.model, run.reads, run.seed, run.started)
        _fill(folder, run, {"run": run_id, **about, "finished": now()})
        names = sorted(os.listdir(folder), key=lambda name: (name == "run.json", name))
        if isinstance(home, LocalRoot):
            for name in names:
                home.put_file(f"{temporary}/{name}", folder / name)  # in place already: synced to the disk
            os.rename(folder, folder.parent / run_id)
        else:
            for name in names:  # a bucket has no folders to rename: run.json comes last and makes the run exist
                home.put_file(f"{path}/{name}", folder / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def _fill(folder: Path, run: Run, about: Mapping[str, Plain]) -> None:
    from safetensors.numpy import save_file

    _json(folder / "config.json", run.config)
    _json(folder / "metrics.json", run.metrics)
    save_file(
        {name: np.ascontiguousarray(array) for name, array in run.weights.items()}, folder / "weights.safetensors"
    )
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for line in run.predictions:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
    _json(folder / "run.json", about)


def provenance(version: Version, model: str, reads: Sequence[str], seed: int, started: str) -> dict[str, Plain]:
    """Which data, code and packages make a run; ``reads`` are fields ``producer.column`` and names of fits."""
    manifest = version.manifest
    producers = {name.partition(".")[0] for name in reads}
    return {
        "model": model,
        "dataset": manifest.dataset,
        "version": manifest.version,
        "snapshot": manifest.snapshot,
        "input_digest": manifest.input_digest,
        "exact_digest": manifest.exact_digest,
        "floats_digest": manifest.floats_digest,
        "stages": {s.name: s.key for s in manifest.stages if s.name in producers},
        "fits": {f.name: f.result for f in manifest.fits if f.name in producers | {"splits"}},
        "reads": list(reads),
        "random_weights": [w.name for w in manifest.weights if w.random],
        "seed": seed,
        "code": {"version": release("diptych"), "commit": git_commit()},
        "packages": {"python": platform.python_version(), **{name: release(name) for name in PACKAGES}},
        "started": started,
    }


def _json(path: Path, value: Mapping[str, Plain]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False), encoding="utf-8")
