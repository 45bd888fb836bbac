"""Training of ESIM on pairs, by the loop that all models share: checkpoints, resuming, early stopping are its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diptych.exceptions import Unfinished, UsageError
from diptych.models.esim.checkpoint import EsimScorer
from diptych.models.esim.measuring import Measured
from diptych.models.esim.model import Esim, EsimConfig
from diptych.models.esim.pairs import TextPair
from diptych.models.esim.task import EsimTask, EsimTraining, samples_of
from diptych.models.esim.texts import alphabet_of
from diptych.storage.store import open_store
from diptych.training.assignment import Assignment
from diptych.training.feed import Given
from diptych.training.folder import RunFolder
from diptych.training.loop import fit
from diptych.training.options import RunOptions, make_fabric
from diptych.training.schedule import best_epoch

__all__ = ["Trained", "train"]

_PATH = "runs/esim/pairs"


@dataclass(frozen=True)
class Trained:
    """A model, and what dev said after every epoch."""

    scorer: EsimScorer
    alphabet: str
    epochs: tuple[Measured, ...]
    best: int
    seconds: float


class _Pairs(Assignment):
    """A run whose rows and task are given, not found in a version."""

    given: tuple[Given, EsimTask]

    def open(self) -> Any:
        """The pairs."""
        return self.given[0]

    def task(self) -> EsimTask:
        """The task at hand."""
        return self.given[1]


def train(
    pairs: Sequence[TextPair],
    dev: Sequence[TextPair],
    config: EsimConfig | None = None,
    settings: EsimTraining | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Trained:
    """The model of the best epoch on ``dev``; the same seed gives the same model on one machine.

    ``folder`` keeps the checkpoints of a run that was stopped; the next call with the same pairs and settings goes on
    there, to the bit, and a finished one removes it. :class:`~diptych.exceptions.Unfinished` when it was told to end.
    """
    config, settings, started = config or EsimConfig(), settings or EsimTraining(), time.monotonic()
    if not dev or len({p.same for p in pairs}) < 2:
        raise UsageError(f"training needs pairs of both labels and a dev set, found {len(pairs)} and {len(dev)} pairs")
    alphabet = alphabet_of(t for p in pairs for t in (p.first, p.second)) if config.embedding == "characters" else ""
    lengths = {"train": np.array([len(p.first) + len(p.second) for p in pairs])}
    rows = Given({"train": samples_of(pairs), "dev": samples_of(dev)}, lengths)
    task = EsimTask(settings, config, alphabet, device)
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="diptych-esim-")))
        _same_run(place, {**asdict(config), **settings.model_dump(), "seed": seed}, pairs, dev)
        options = RunOptions(device, workers=0, tensorboard=False)  # in a worker an encoder would be loaded again
        assignment = _Pairs(str(place), "esim", 0, _PATH, "esim", seed, options)
        object.__setattr__(assignment, "given", (rows, task))
        if reason := fit(make_fabric(options), assignment, say):
            raise Unfinished(f"training on pairs is not finished: {reason}; the same command goes on in {place}")
        run = RunFolder(open_store(str(place), "esim"), _PATH)
        found = run.read_json("metrics.json")["epochs"]
        model = task.build()
        assert isinstance(model, Esim)
        model.load_state_dict(run.read_tensors("weights.safetensors"))
    if folder is not None:
        shutil.rmtree(folder)
    epochs = tuple(Measured(len(dev), e["dev"]["accuracy"], 0.5, _number(e["dev"]["auc"])) for e in found)
    best = best_epoch([m.accuracy for m in epochs], task.phases()[0].monitor) or 0
    return Trained(EsimScorer(model.to(device), task.reader), alphabet, epochs, best, time.monotonic() - started)


def _same_run(place: Path, settings: dict[str, Any], pairs: Sequence[TextPair], dev: Sequence[TextPair]) -> None:
    """Make the folder of a run; :class:`UsageError` when another run was stopped there."""
    digest = hashlib.sha256(json.dumps([settings, [(p.first, p.second, p.same) for p in (*pairs, *dev)]]).encode())
    mine, note = digest.hexdigest(), place / "run.sha256"
    if note.exists() and note.read_text() != mine:
        raise UsageError(
            f"{place} holds a run of other pairs or settings that was stopped; remove it, or repeat its command"
        )
    place.mkdir(parents=True, exist_ok=True)
    note.write_text(mine)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
