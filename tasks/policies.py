"""When a task is tried again and how long it may take: one place for all of them.

====================  =========================================================  ==============================
task                  tried again                                                ends after
====================  =========================================================  ==============================
crawl                 twice, after an error of files or network                  the form's ``crawl_hours``
snapshot              never: it would read the same files                        2 hours
extract, annotate     once, after an error of files, network or a child process  the form's ``task_hours``
publish               never: only a new plan may follow a lost race              2 hours
describe              never: it decorates what stands, at no cost to the run     30 minutes
train                 once, from its last checkpoint                             the form's ``max_hours`` a run
====================  =========================================================  ==============================

Rows that were computed are kept whatever happens to a task; a shard is finished or computed again. No task is tried
again after an error that it would meet again: see ``may_heal``.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.task_engine import TaskRunTimeoutError

from diptych.exceptions import SourceError, Unreachable

__all__ = ["ACCELERATOR", "CRAWL_RETRY_S", "LIMIT_S", "OverLimit", "environment", "may_heal", "tags_for"]

ACCELERATOR = "accelerator"
"""Tag of the tasks that want the accelerator; ``flows.deployments`` makes the limit of that name on the server."""
CRAWL_RETRY_S = [5.0, 60.0]
"""Seconds before the second and the third try of a crawl."""
HOUR = 3600.0
LIMIT_S = {"crawl": 24 * HOUR, "snapshot": 2 * HOUR, "stage": 12 * HOUR, "publish": 2 * HOUR, "describe": HOUR / 2}
"""Seconds after which a task is ended."""
_HEALS = (OSError, EOFError, BrokenExecutor, Unreachable)
_STAYS = (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError)
"""Errors of files that a second try meets again."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class OverLimit(TimeoutError):
    """A stage was at work for as long as the form lets it."""


def may_heal(task: object, run: TaskRun, state: State[Any]) -> bool:
    """Whether a second try can end otherwise: after errors of files, network and child processes.

    A task that met its time limit would meet it again; a wrong recipe, a missing file and a full disk stay as they are.
    A source that cannot be read stays so, too, unless the disk or network it stands on failed.
    """
    error = state.data if isinstance(state.data, BaseException) else _raised(state)
    if isinstance(error, SourceError) and getattr(error.__cause__, "errno", None):
        error = error.__cause__
    if isinstance(error, (OverLimit, TaskRunTimeoutError, *_STAYS)) or getattr(error, "errno", None) in _FULL:
        return False
    return isinstance(error, _HEALS)


def _raised(state: State[Any]) -> BaseException | None:
    try:
        state.result()
    except BaseException as error:
        return error
    return None


def tags_for(device: str) -> list[str]:
    """The tags of a task on that device: only what runs on an accelerator waits for one."""
    return [] if device == "cpu" else [ACCELERATOR]


def _not_said_for_each_task(record: logging.LogRecord) -> bool:
    """Prefect warns at each task in a thread that its limit waits for a call to return; the guide says it once."""
    return not record.getMessage().startswith("Timeout of ") or "worker thread" not in record.getMessage()


logging.getLogger("prefect.task_runs").addFilter(_not_said_for_each_task)


def environment() -> Mapping[str, str]:
    """The worker's environment, for what the library is handed explicitly."""
    return os.environ
