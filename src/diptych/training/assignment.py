"""What each process of a run is told, and what it opens from that."""

from __future__ import annotations

from dataclasses import dataclass

from diptych.exceptions import UsageError
from diptych.models.registry import find_task
from diptych.storage.store import open_store
from diptych.training.config import make_config
from diptych.training.folder import RunFolder
from diptych.training.options import RunOptions
from diptych.training.task import Task
from diptych.version import Version

__all__ = ["Assignment", "assignment_of"]


@dataclass(frozen=True)
class Assignment:
    """What each process of a run is told; all else stands in the run's folder."""

    root: str
    dataset: str
    version: int
    path: str
    model: str
    seed: int
    options: RunOptions

    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder(open_store(self.root, self.dataset), self.path)

    def open(self) -> Version:
        """The version it is trained on."""
        store = open_store(self.root, self.dataset)
        return Version(store, store.log.manifest(self.version))

    def task(self) -> Task:
        """The task with the run's settings and state."""
        folder, kind = self.folder(), find_task(self.model)
        return kind(make_config(kind.Config, folder.read_json("config.json")), folder.read_state())


def assignment_of(folder: RunFolder, options: RunOptions | None = None) -> Assignment:
    """What the run was told; :class:`UsageError` for a run that the training loop did not make."""
    about = folder.about()
    if "task" not in about:
        raise UsageError(f"{folder.model}/{folder.run} is no run of the training loop")
    store = folder.store
    return Assignment(
        store.root.url, store.name, about["version"], folder.path, about["task"], about["seed"], options or RunOptions()
    )
