"""Who runs the tasks of a build: threads of this process, or the machines of a Ray cluster; the flow is the same.

A task says how much of a machine it wants. Under Ray a machine takes no more than it has, and a task of a machine that
died runs again on another, where it finds every shard that was finished.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from diptych.engine.drive import TASKS_AT_ONCE
from diptych.exceptions import MissingExtra, UsageError
from diptych.parameters import BuildParameters
from tasks.policies import tags_for

__all__ = ["LOST", "Machines", "make_runner", "resources"]

LOST = 5
"""How often Ray starts a task again whose machine or process died."""


@dataclass(frozen=True)
class Machines:
    """Where the tasks of a build run; the fields are those of the build's form."""

    runner: Literal["threads", "ray"] = "threads"
    ray_address: str = ""
    gpu_share: float = 1.0
    tasks_at_once: int = TASKS_AT_ONCE

    @property
    def threads(self) -> int | None:
        """Tasks at once on this machine; None where a cluster decides."""
        return self.tasks_at_once if self.runner == "threads" else None

    def tags(self, device: str) -> list[str]:
        """Tags of an accelerator stage's tasks: the server's limit is one machine's, a Ray cluster counts its own."""
        return tags_for(device) if self.runner == "threads" else []

    @classmethod
    def of(cls, form: BuildParameters) -> Machines:
        """As a build's form says."""
        return cls(form.runner, form.ray_address, form.gpu_share, form.tasks_at_once)


@contextmanager
def make_runner(machines: Machines) -> Iterator[TaskRunner[PrefectFuture[Any]]]:
    """The runner, started; :class:`UsageError` when no Ray cluster answers."""
    if machines.runner == "threads":
        # one more, which waits its turn: `tasks.compute.turns`
        with ThreadPoolTaskRunner(max_workers=machines.tasks_at_once + 1) as threads:
            yield cast("TaskRunner[PrefectFuture[Any]]", threads)
        return
    runner = _ray(machines.ray_address)
    try:
        _answers(machines.ray_address)
        runner.__enter__()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"ray_address {machines.ray_address!r}: no Ray cluster answers ({error}); start one with `ray start "
            "--head`, or leave the address empty: Ray then runs on the worker's machine for as long as the build"
        ) from error
    try:
        yield runner
    finally:
        runner.__exit__(None, None, None)


def _ray(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: F401 - prefect_ray imports it when it is used
        from prefect_ray.task_runners import RayTaskRunner
    except ImportError as error:
        raise MissingExtra((error.name or "ray").partition(".")[0], "ray") from None
    here = {"include_dashboard": False} if not address else {}
    return RayTaskRunner(address=address or "local", init_kwargs={"log_to_driver": False, **here})


def _answers(address: str) -> None:
    """Raise OSError at once when nobody listens there; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def resources(machines: Machines, accelerator: bool, device: str) -> Iterator[None]:
    """What the tasks submitted inside want of a machine: a core, and where a stage runs on a GPU a share of one."""
    if machines.runner == "threads":
        yield
        return
    from prefect_ray.context import remote_options

    gpus = machines.gpu_share if accelerator and device.startswith("cuda") else 0
    with remote_options(num_cpus=1, num_gpus=gpus, max_retries=LOST):
        yield
