"""A run's folder ``runs/<model>/<run id>/`` inside the dataset, and how it is found again.

``run.json``              dataset, version and digests, stages and fits read, code, packages, seed, options, status
``config.json``           the model's settings
``state.*``               vocabularies, classes, vectors: JSON and safetensors
``checkpoints/``          where an unfinished run goes on (see ``checkpoint``)
``best-<phase>-<n>...``   weights of a phase's best epoch
``metrics.json``          each epoch's loss terms and dev metrics; dev and test at the end
``weights.safetensors``   the fitted parameters: those of the last phase's chosen epoch
``predictions-*.jsonl``   one line a row of dev and test
``results.txt``, ``.json``  our row beside the paper's table
``events/``               TensorBoard

``status`` in run.json is ``unfinished`` until everything stands there, then ``finished``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.exceptions import Corrupt, NotFound, UsageError
from diptych.storage.store import Store, datasets, open_store
from diptych.training.task import Line, State

if TYPE_CHECKING:
    import torch

__all__ = ["RunFolder", "find_run", "find_runs"]


class RunFolder:
    """The files of one run; each is complete or absent, on disk or in a bucket."""

    def __init__(self, store: Store, path: str) -> None:
        self.store = store
        self.path = path
        """relative to the dataset"""
        self.home = store.home.at(path)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.path.split("/")[1]

    @property
    def run(self) -> str:
        """The run's id."""
        return self.path.split("/")[2]

    def list(self, prefix: str) -> list[str]:
        """Names directly below a folder, sorted."""
        return self.home.list(prefix)

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return self.home.exists(name)

    def delete(self, name: str) -> None:
        """Remove a file."""
        self.home.delete(name)

    def delete_folder(self, name: str) -> None:
        """Remove all files below a folder, also those that a kill left half written."""
        for path, _ in list(self.home.walk(name)):
            self.home.delete(path)
        self.home.sweep(name, 0.0)

    def write_text(self, name: str, text: str) -> None:
        """Write or replace a text file."""
        self.home.put(name, text.encode())

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write or replace a JSON file; numbers that JSON has not (nan, inf) become null."""
        text = json.dumps(_finite(value), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        self.write_text(name, text + "\n")

    def read_json(self, name: str) -> Any:
        """What a JSON file holds."""
        try:
            return json.loads(self.home.read(name))
        except ValueError as error:
            raise Corrupt(f"{self.path}/{name} in {self.store.home.url} is not JSON: {error}") from error

    def write_lines(self, name: str, lines: Sequence[Line]) -> None:
        """Write or replace a JSONL file."""
        text = "".join(json.dumps(_finite(line), ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        self.write_text(name, text)

    def read_lines(self, name: str) -> list[Line]:
        """The lines of a JSONL file."""
        return [json.loads(line) for line in self.home.read(name).decode().split("\n") if line]

    def write_tensors(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write or replace a safetensors file."""
        from safetensors.torch import save

        self.home.put(name, save(dict(tensors)))

    def read_tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of a safetensors file, on the CPU."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.home.read(name))
        except SafetensorError as error:
            raise Corrupt(f"{self.path}/{name} in {self.store.home.url} is damaged: {error}") from error

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write or replace a safetensors file."""
        from safetensors.numpy import save

        self.home.put(name, save({key: np.ascontiguousarray(array) for key, array in arrays.items()}))

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a safetensors file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            return load(self.home.read(name))
        except SafetensorError as error:
            raise Corrupt(f"{self.path}/{name} in {self.store.home.url} is damaged: {error}") from error

    def write_state(self, state: State) -> None:
        """Keep what ``prepare`` found."""
        self.write_arrays("state.safetensors", state.arrays)
        self.write_text("state.json", json.dumps(state.values, ensure_ascii=False, allow_nan=False))

    def read_state(self) -> State:
        """What ``prepare`` found."""
        return State(self.read_arrays("state.safetensors"), self.read_json("state.json"))

    def about(self) -> dict[str, Any]:
        """run.json."""
        return self.read_json("run.json")


def _finite(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def find_runs(root: str, dataset: str | None = None, model: str | None = None) -> list[RunFolder]:
    """The runs under a root, by dataset, model and time."""
    found = []
    for name in [dataset] if dataset else datasets(root):
        store = open_store(root, name, must_exist=True)
        for kind in store.home.list("runs"):
            if model is None or kind == model:
                paths = [f"runs/{kind}/{run}" for run in store.home.list(f"runs/{kind}")]
                found += [RunFolder(store, p) for p in paths if store.home.exists(f"{p}/run.json")]
    return found


def find_run(root: str, name: str) -> RunFolder:
    """The run with that id, ``model/id`` or path; :class:`NotFound` names the latest runs there are."""
    wanted = name.rstrip("/").split("/")
    runs = find_runs(root)
    found = [r for r in runs if [r.store.name, *r.path.split("/")][-len(wanted) :] == wanted]
    if not found:
        dashed = [r for r in runs if name.rstrip("/").endswith(f"{r.store.name}/{r.path}")]
        found = dashed
    if len(found) > 1:
        raise UsageError(f"{name} is several runs: {', '.join(f'{r.store.name}/{r.path}' for r in found)}")
    if not found:
        latest = ", ".join(f"{r.model}/{r.run}" for r in sorted(runs, key=lambda r: r.run)[-5:])
        raise NotFound(f"no run {name!r} under {root}; {'the latest are ' + latest if latest else 'there is none'}")
    return found[0]
