"""Register everything a server needs: work pools, the accelerator's limit, the automation for dead workers, the
deployments of ``prefect.yaml`` and the lists of their forms.

Doing it again changes nothing that is already so, and nothing that people set in the UI: schedules stay as they are
unless recipes are named here (then those of the recipes named before go), and so do the limit and further actions of
the automation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.deployment_triggers import DeploymentTriggerTypes
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import Flow
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, TypeAdapter, ValidationError

from diptych.exceptions import DiptychError, UsageError
from flows.accelerators import set_limit
from flows.forms import refresh_forms

__all__ = ["HEARTBEAT_S", "Schedules", "check_server", "prefect_file", "register"]

POOLS = ("cpu", "gpu")
HEARTBEAT_S = 30
"""Seconds between two signs of life of a flow run: the shortest that Prefect allows."""
ZOMBIE = "diptych: a run without a sign of life has crashed"
NAMED = "recipe-"
"""How the slugs of the schedules of named recipes begin."""
ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended", "AwaitingRetry", "Scheduled")


@dataclass(frozen=True)
class Schedules:
    """Recipes to crawl and build by cron, the first also by hand; an empty cron is no schedule."""

    recipes: tuple[str, ...] = ()
    build: str = ""
    crawl: str = ""


def prefect_file() -> Path:
    """The file with the deployments: beside ``flows/`` in a checkout, in it where the package is installed."""
    here = Path(__file__).resolve().parent
    found = next((p for p in (here.parent / "prefect.yaml", here / "prefect.yaml") if p.is_file()), None)
    if found is None:
        raise UsageError(f"no prefect.yaml beside or in {here}")
    return found


def check_server() -> None:
    """Raise :class:`UsageError` where no setting names a server: Prefect would start one that ends with the command.

    :class:`DiptychError` where none answers there.
    """
    address = get_current_settings().api.url
    if not address:
        raise UsageError(
            "PREFECT_API_URL is not set, in the environment or in Prefect's active profile: expected the address of "
            "the server to register on, as http://127.0.0.1:4200/api; `diptych serve` starts a server of its own"
        )
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise DiptychError(f"no Prefect server answers at {address} (PREFECT_API_URL): {error}")


def register(root: str, schedules: Schedules | None = None, accelerators: int | None = None) -> list[str]:
    """Register on the server of the present settings; the deployments' names. ``root`` fills the forms' lists.

    Without ``accelerators`` a limit that is there stays, and else is one task at a time.
    """
    with get_client(sync_client=True) as client:
        for name in POOLS:
            _pool(client, name)
        set_limit(client, accelerators)
        _zombies(client)
        names = [_deploy(client, entry, schedules or Schedules()) for entry in _entries()]
    refresh_forms(root)
    return names


def _entries() -> list[dict[str, Any]]:
    file = prefect_file()
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    entries = found.get("deployments") if isinstance(found, dict) else None
    if not entries:
        raise UsageError(f"{file}: expected a list `deployments`")
    return entries


def _pool(client: SyncPrefectClient, name: str) -> None:
    template = ProcessWorker.get_default_base_job_template()
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    except ObjectAlreadyExists:
        return


def _zombies(client: SyncPrefectClient) -> None:
    """A run that gave signs of life and then, for three of them, none and did not end: its worker is dead."""
    trigger = EventTrigger(
        posture=Posture.Proactive,
        match={"prefect.resource.id": ["prefect.flow-run.*"]},  # type: ignore[arg-type]
        for_each={"prefect.resource.id"},
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{state}" for state in ENDED)},
        threshold=1,
        within=timedelta(seconds=3 * HEARTBEAT_S),
    )
    action = ChangeFlowRunState(
        name="Crashed",
        force=False,
        state=StateType.CRASHED,
        message=f"no sign of life for {3 * HEARTBEAT_S} seconds: the worker or its machine is gone. "
        "What was finished is kept; Retry goes on from there",
    )
    there = client.read_automations_by_name(ZOMBIE)
    if not there:
        client.create_automation(AutomationCore(name=ZOMBIE, trigger=trigger, actions=[action], enabled=True))
        return
    old = there[0]
    others = [a for a in old.actions if not isinstance(a, ChangeFlowRunState)]
    ours = [a for a in old.actions if isinstance(a, ChangeFlowRunState)]
    if _same(old.trigger, trigger) and len(ours) == 1 and _same(ours[0], action):
        return  # a change would forget for which runs it waits
    wanted = AutomationCore(name=ZOMBIE, trigger=trigger, actions=[action, *others], enabled=old.enabled)
    client.update_automation(old.id, wanted)


def _same(there: BaseModel, wanted: BaseModel) -> bool:
    """Whether the server has it so already; as JSON, sets would be lists in any order."""
    return there.model_dump() == wanted.model_dump()


def _deploy(client: SyncPrefectClient, entry: dict[str, Any], asked: Schedules) -> str:
    pool = entry["work_pool"]
    flow = _flow(entry["entrypoint"])
    name = f"{flow.name}/{entry['name']}"
    try:
        there = client.read_deployment_by_name(name)
    except ObjectNotFound:
        there = None
    named = _named(entry, asked)
    triggers = TypeAdapter(list[DeploymentTriggerTypes]).validate_python(entry.get("triggers", []))
    deployment: Any = flow.to_deployment(
        entry["name"],
        description=entry["description"],
        parameters=_defaults(entry, asked),
        schedules=(named or _of_file(entry)) if there is None else None,  # type: ignore[arg-type]
        triggers=[*triggers],
        work_pool_name=pool["name"],
        job_variables=pool.get("job_variables"),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.entrypoint = entry["entrypoint"]
    deployment.apply()
    if there is not None and named:
        for schedule in client.read_deployment_schedules(there.id):
            if (schedule.slug or "").startswith(NAMED):
                client.delete_deployment_schedule(there.id, schedule.id)
        client.create_deployment_schedules(there.id, named)
    return name


def _defaults(entry: dict[str, Any], schedules: Schedules) -> dict[str, Any] | None:
    """What a run has that says nothing else: the file's parameters, whose recipe is the first of those asked for."""
    given: dict[str, Any] | None = entry.get("parameters")
    if given is None or not schedules.recipes or "recipe" not in given["parameters"]:
        return given
    return {"parameters": {**given["parameters"], "recipe": schedules.recipes[0]}}


def _flow(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.partition(":")
    return getattr(import_module(module), name)


def _named(entry: dict[str, Any], asked: Schedules) -> list[DeploymentScheduleCreate]:
    """Those of the recipes that are named, one each."""
    cron = {"build": asked.build, "crawl": asked.crawl}.get(entry["name"], "")
    if not asked.recipes or not cron:
        return []
    try:
        schedule = CronSchedule(cron=cron, timezone="UTC")
    except ValidationError:
        raise UsageError(f"{cron!r} is no cron expression: expected five fields, as '0 3 * * *'") from None
    return [
        DeploymentScheduleCreate(
            schedule=schedule, active=True, parameters={"parameters": {"recipe": recipe}}, slug=f"{NAMED}{n}"
        )
        for n, recipe in enumerate(asked.recipes)
    ]


def _of_file(entry: dict[str, Any]) -> list[DeploymentScheduleCreate] | None:
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=s["cron"], timezone=s["timezone"]),
            active=bool(s.get("active", True)),
            slug=s["slug"],
        )
        for s in entry.get("schedules", ())
    ] or None
