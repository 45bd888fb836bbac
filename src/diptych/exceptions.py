"""Every error Diptych raises on purpose, and the exit code each one ends a command with.

DiptychError                      exit 1
├── UsageError                    exit 2   what was asked for cannot be
│   └── RecipeError               exit 2   a recipe key is unknown, mistyped or impossible
├── MissingExtra                  exit 1   an optional package is not installed, or cannot be loaded
├── WeightsError                  exit 1   weights are absent, or their hash differs
├── SourceError                   exit 1   a source cannot be read at all
├── StageError                    exit 1   a stage broke its contract
├── StoreError                    exit 1
│   ├── Unreachable               exit 1   the object storage did not answer, or asked to slow down
│   ├── NotFound                  exit 2   no such dataset, version, record or file
│   ├── Conflict                  exit 1   somebody else committed first
│   ├── Corrupt                   exit 1   a stored file is not what was written
│   └── NoSpace                   exit 1   the build would not fit the disk
├── WorkerLost                    exit 1   a worker process of a build ended by itself
├── NothingCommitted              exit 3   too much failed or vanished
└── Unfinished                    exit 1   a training run was told to end; it can go on
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

__all__ = [
    "Conflict",
    "Corrupt",
    "DiptychError",
    "MissingExtra",
    "NoSpace",
    "NotFound",
    "NothingCommitted",
    "RecipeError",
    "SourceError",
    "StageError",
    "StoreError",
    "Unfinished",
    "Unreachable",
    "UsageError",
    "WeightsError",
    "WorkerLost",
]


class DiptychError(Exception):
    """Base of all; its text names what was expected, what was found and the remedy."""

    exit_code = 1


class UsageError(DiptychError):
    """The command or call asks for something that cannot be."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe is wrong; the text gives the key's path and what is allowed there."""


class MissingExtra(DiptychError):
    """An optional dependency is missing; the text names the extra that brings it.

    With ``problem``, the error of its import, it is there and lacks a library of the system.
    """

    def __init__(self, package: str, extra: str, problem: str = "") -> None:
        text = f"the package {package!r} is not installed; run: pip install 'diptych[{extra}]'"
        if problem:
            text = (
                f"the package {package!r} is installed and cannot be loaded: {problem}; where that names libGL or "
                "libgthread run, on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0"
            )
        super().__init__(text)
        self.given = package, extra, problem

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str, str]]:
        """From another process, too."""
        return type(self), self.given


class WeightsError(DiptychError):
    """Weights are not in the cache, or a file's SHA-256 is not the registered one."""


class SourceError(DiptychError):
    """A source as a whole cannot be read (one bad document or image is a row, not an error)."""


class StageError(DiptychError):
    """A stage broke its contract: wrong columns, wrong number of rows, wrong shapes."""


class StoreError(DiptychError):
    """The dataset store could not do what was asked."""


class Unreachable(StoreError):
    """The object storage did not answer, or asked to slow down; the same may go well later."""


class NotFound(StoreError):
    """No such dataset, version, record, blob or file."""

    exit_code = 2


class Conflict(StoreError):
    """Another writer took the log number first."""


class Corrupt(StoreError):
    """A stored file is missing or its content is not what its name or manifest says."""


class NoSpace(StoreError):
    """The disk does not hold what the build would write."""


class WorkerLost(DiptychError, BrokenExecutor):
    """A worker process of a build ended by itself; what was finished is kept and a second try may succeed."""


class NothingCommitted(DiptychError):
    """Too much failed or vanished; the finished segments stay and the next run goes on from there."""

    exit_code = 3


class Unfinished(DiptychError):
    """A training run stopped at a checkpoint, on a signal or at its time limit; the text says how it goes on."""
