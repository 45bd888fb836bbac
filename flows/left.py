"""Runs and places on accelerators that a server still counts although nothing computes for them.

A server that was down hears of no end, and Prefect keeps who holds which place in the server's memory alone: after a
start a run would be Running for ever, and its task's place taken.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from flows.accelerators import LIMIT

__all__ = ["end_runs", "free_accelerators", "worker_name"]

UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
YOUNG_S = 90.0
"""A run that is Pending for less may be on its way to a process."""


def worker_name(pool: str) -> str:
    """What ``diptych serve`` of this machine calls its worker for a pool."""
    return f"diptych serve on {socket.gethostname()}: {pool}"


def end_runs(client: SyncPrefectClient, why: str) -> list[str]:
    """Mark every run of this machine whose process is gone: Crashed, or Cancelled where that was asked; their names."""
    found = []
    for run in _under_way(client):
        if _is_dead(run):
            asked = run.state is not None and run.state.type == StateType.CANCELLING
            state = Cancelled(message=why) if asked else Crashed(message=f"{why}; Retry goes on from what was finished")
            client.set_flow_run_state(run.id, state, force=True)
            found.append(run.name)
    return found


def free_accelerators(client: SyncPrefectClient) -> None:
    """No place is taken; right where the server has just started, because who held one was known to the last alone."""
    try:
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))
    except ObjectNotFound:
        return


def _under_way(client: SyncPrefectClient) -> Iterator[FlowRun]:
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)))
    start = 0
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=start):
        runs += page
        start += len(page)
    yield from runs


def _is_dead(run: FlowRun) -> bool:
    """Only where we can know: a run of our own workers without its process, or one that no worker ever took on."""
    worker = str(run.labels.get("prefect.worker.name", ""))
    if worker:
        return worker.startswith(worker_name("")) and not _computes(run)
    since = run.state.timestamp if run.state is not None else run.updated
    old = since is None or (datetime.now(UTC) - since).total_seconds() > YOUNG_S
    return old and run.state_type == StateType.PENDING and run.work_pool_name is not None


def _computes(run: FlowRun) -> bool:
    """Whether its process is alive; its number may be another's by now."""
    pid = run.infrastructure_pid or ""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
        return f"PREFECT__FLOW_RUN_ID={run.id}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system without /proc
        return True
