"""Training: tried again after a failure, for a run goes on from its last checkpoint."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from diptych.exceptions import Unfinished, UsageError
from diptych.storage.store import open_store
from diptych.training.folder import RunFolder
from diptych.training.loop import NotFinite
from diptych.training.options import RunOptions
from diptych.training.train import continue_run

__all__ = ["train_run"]


def _may_heal(task: object, run: TaskRun, state: State[Any]) -> bool:
    """A run that was told to end, that cannot be, or whose loss is not finite is not tried again."""
    try:
        state.result()
    except (NotFinite, Unfinished, UsageError):
        return False
    except Exception:  # whatever else failed is what retries are for
        return True
    return False


@task(
    name="train",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=_may_heal,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def train_run(root: str, dataset: str, path: str, options: dict[str, Any]) -> dict[str, Any]:
    """Fit and measure one run that has been begun; its results."""
    folder = RunFolder(open_store(root, dataset, must_exist=True), path)
    return continue_run(folder, RunOptions(**options), get_run_logger().info)
