"""After a commit: the event that others wait for, new lists in the forms, and what the UI shows of the version."""

from __future__ import annotations

from datetime import datetime

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.runtime import flow_run

from diptych.engine.build import BuildReport
from diptych.recipe import parse_recipe
from diptych.storage.store import open_store
from flows.environment import root_of
from flows.forms import refresh_forms
from tasks.describe import describe_version

__all__ = ["COMMITTED", "published"]

COMMITTED = "diptych.version.committed"
"""The event of every commit; with ``.train`` behind it, one for each entry of the recipe's ``train_on_commit``."""


def published(report: BuildReport, root: str) -> None:
    """Tell what was committed, by this try of the flow run or by one that was cut off before it told.

    Nothing here can fail the build, whose version stands.
    """
    log = get_run_logger()
    number = report.committed.version
    if number is None:
        try:
            number = _untold(root, report.dataset)
        except Exception as error:  # the server is away or refuses
            log.warning("whether an earlier try committed a version is not known: %s", error)
        if number is None:
            return
        log.info("version %d was committed by an earlier try of this run, which was cut off before it told", number)
    describe_version(root, report.dataset, number, return_state=True)
    try:  # before the event: the server refuses a training of a dataset that its form does not list
        refresh_forms(root_of(), committed=report.dataset)
    except Exception as error:  # the server is away or refuses: the forms keep their old lists
        log.warning("the lists of the forms were not refreshed: %s", error)
    _announce(root, report.dataset, number)


def _announce(root: str, dataset: str, number: int) -> None:
    manifest = open_store(root, dataset, must_exist=True).log.manifest(number)
    resource = {"prefect.resource.id": _resource(dataset), "prefect.resource.name": dataset}
    about = {"dataset": dataset, "version": str(number), "root": root}
    parent = str(manifest.parent or "")
    emit_event(COMMITTED, resource, payload={**about, "parent": parent, "input_digest": manifest.input_digest})
    for wanted in parse_recipe(manifest.recipe).train_on_commit:
        emit_event(f"{COMMITTED}.train", resource, payload={**about, **wanted.model_dump()})


def _resource(dataset: str) -> str:
    return f"diptych.dataset.{dataset}"


def _untold(root: str, dataset: str) -> int | None:
    """The latest version, where it was made since this run's first try began and no event told of it."""
    versions = open_store(root, dataset, must_exist=True).log.versions()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run.id)
        if run.run_count < 2 or run.start_time is None or not versions:
            return None
        latest = versions[max(versions)]
        if datetime.fromisoformat(latest.created_at) < run.start_time.replace(microsecond=0):  # of whole seconds
            return None
        wanted = EventFilter(
            occurred=EventOccurredFilter(since=run.start_time),
            event=EventNameFilter(name=[COMMITTED]),
            resource=EventResourceFilter(id=[_resource(dataset)]),
        )
        told = client.read_events(wanted, limit=50).events  # 50: the most that may be asked for
    about = {"version": str(latest.version), "root": root}
    return None if any(about.items() <= event.payload.items() for event in told) else latest.version
