"""Checkpoints: everything a run needs to go on to the bit, as safetensors and JSON; nothing is pickled.

``checkpoints/<step>/`` in the run folder; ``checkpoint.json`` is written last, so a folder without it does not exist.

``weights.safetensors``    parameters and buffers
``optimiser.safetensors``  the optimiser's tensors by parameter, as ``3.exp_avg``
``memory.safetensors``     what ``before_epoch`` found (absent when empty)
``checkpoint.json``        where the run stands, the optimiser's numbers, the random generators of every process
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.exceptions import Corrupt, UsageError
from diptych.training.config import Plain

if TYPE_CHECKING:
    import torch

    from diptych.training.folder import RunFolder

__all__ = [
    "Checkpoint",
    "EpochLog",
    "Progress",
    "plain_weights",
    "random_state",
    "read_checkpoint",
    "seed_everything",
    "set_random",
    "write_checkpoint",
]

FORMAT = 1


@dataclass(frozen=True)
class EpochLog:
    """What an epoch measured: means of the loss terms on train and dev, metrics of dev."""

    phase: str
    epoch: int
    lr: float
    train: Mapping[str, float]
    dev: Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step."""

    phase: int = 0
    """number of the phase; that of the phases when all are done"""
    epoch: int = 0
    """of the phase"""
    step: int = 0
    """optimiser steps of the run"""
    seconds: float = 0.0
    """spent in training so far"""
    begun: bool = False
    """whether the epoch's first step was taken (and ``before_epoch`` asked)"""
    sums: Mapping[str, float] = field(default_factory=dict)
    """of this epoch's loss terms over their items, and how many these are (:mod:`diptych.training.terms`)"""
    log: tuple[EpochLog, ...] = ()
    before: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """dev values before a phase's first epoch, of the phases that ask for them"""


@dataclass(frozen=True)
class Checkpoint:
    """A progress and the tensors that belong to it."""

    progress: Progress
    weights: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, Any]
    """as ``torch.optim.Optimizer.state_dict`` gives it; empty between phases"""
    memory: Mapping[str, np.ndarray]
    streams: Mapping[str, Mapping[str, int | str | bool]]
    """state of each stream's loader"""
    random: Sequence[Mapping[str, Plain]]
    """of each process, in order of rank"""
    scaler: Mapping[str, Plain]
    """the loss scaler's numbers under float16"""


def random_state() -> dict[str, Plain]:
    """The states of Python's, NumPy's and torch's generators (also the current CUDA device's, or MPS's), as JSON."""
    import torch

    version, inner, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Plain] = {
        "python": [version, list(inner), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), int(place), int(has_gauss), float(cached)],
        "torch": bytes(torch.get_rng_state().numpy()).hex(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = bytes(torch.cuda.get_rng_state().numpy()).hex()
    if torch.backends.mps.is_available():
        state["mps"] = bytes(torch.mps.get_rng_state().numpy()).hex()
    return state


def seed_everything(seed: int) -> None:
    """Start Python's, NumPy's and torch's generators from a seed."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def set_random(state: Mapping[str, Any]) -> None:
    """Put the generators where they were."""
    import torch

    version, inner, gauss = state["python"]
    random.setstate((version, tuple(inner), gauss))
    name, keys, place, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), place, has_gauss, cached))
    torch.set_rng_state(_bytes(state["torch"]))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(state["cuda"]))
    if "mps" in state and torch.backends.mps.is_available():
        torch.mps.set_rng_state(_bytes(state["mps"]))


def _bytes(text: str) -> torch.Tensor:
    import torch

    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)


def plain_weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors on the CPU, each with memory of its own (tied parameters are written twice)."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def write_checkpoint(folder: RunFolder, checkpoint: Checkpoint) -> None:
    """Write it and remove the older ones."""
    progress = checkpoint.progress
    place = f"checkpoints/{progress.step:08d}-{progress.phase}-{progress.epoch:04d}"
    older = [name for name in folder.list("checkpoints") if name != place.partition("/")[2]]
    tensors, numbers = _flat(checkpoint.optimiser)
    folder.write_tensors(f"{place}/weights.safetensors", plain_weights(checkpoint.weights))
    folder.write_tensors(f"{place}/optimiser.safetensors", plain_weights(tensors))
    if checkpoint.memory:
        folder.write_arrays(f"{place}/memory.safetensors", checkpoint.memory)
    folder.write_json(
        f"{place}/checkpoint.json",
        {
            "format": FORMAT,
            "progress": asdict(progress),
            "optimiser": numbers,
            "memory": bool(checkpoint.memory),
            "streams": dict(checkpoint.streams),
            "random": list(checkpoint.random),
            "scaler": dict(checkpoint.scaler),
        },
    )
    for name in older:
        folder.delete_folder(f"checkpoints/{name}")


def read_checkpoint(folder: RunFolder) -> Checkpoint | None:
    """The last complete one, None when there is none; :class:`Corrupt` names what is damaged."""
    complete = [n for n in folder.list("checkpoints") if folder.exists(f"checkpoints/{n}/checkpoint.json")]
    if not complete:
        return None
    place = f"checkpoints/{complete[-1]}"
    raw: Any = folder.read_json(f"{place}/checkpoint.json")
    if raw.get("format") != FORMAT:
        raise UsageError(f"{folder.path}/{place} has format {raw.get('format')}; this release reads {FORMAT}")
    try:
        log = tuple(
            EpochLog(**{**entry, "train": _numbers(entry["train"]), "dev": _numbers(entry["dev"])})
            for entry in raw["progress"]["log"]
        )
        before = {name: _numbers(values) for name, values in raw["progress"].get("before", {}).items()}
        sums = _numbers(raw["progress"]["sums"])
        progress = Progress(**{**raw["progress"], "sums": sums, "log": log, "before": before})
        return Checkpoint(
            progress,
            folder.read_tensors(f"{place}/weights.safetensors"),
            _nested(folder.read_tensors(f"{place}/optimiser.safetensors"), raw["optimiser"]),
            folder.read_arrays(f"{place}/memory.safetensors") if raw["memory"] else {},
            raw["streams"],
            raw["random"],
            raw["scaler"],
        )
    except (KeyError, TypeError) as error:
        raise Corrupt(f"{folder.path}/{place}/checkpoint.json is not a checkpoint: {error}") from error


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def _flat(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Plain]]:
    """An optimiser's tensors by ``parameter.name``, and all else as JSON."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, values in state.get("state", {}).items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{parameter}.{name}"] = value
            else:
                numbers.setdefault(str(parameter), {})[name] = value
    return tensors, {"groups": state.get("param_groups", []), "numbers": numbers} if state else {}


def _nested(tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    if not rest:
        return {}
    state: dict[int, dict[str, Any]] = {int(p): dict(values) for p, values in rest["numbers"].items()}
    for path, value in tensors.items():
        parameter, _, name = path.partition(".")
        state.setdefault(int(parameter), {})[name] = value
    return {"state": dict(sorted(state.items())), "param_groups": rest["groups"]}
