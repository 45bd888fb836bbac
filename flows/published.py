"""After a commit: the event that others wait for, new lists in the forms, and what the UI shows of the version."""

from __future__ import annotations

from prefect import get_run_logger
from prefect.events import emit_event

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
    """Tell what was committed; nothing here can fail the build, whose version stands."""
    number = report.committed.version
    if number is None:
        return
    log = get_run_logger()
    describe_version(root, report.dataset, number, return_state=True)
    try:  # before the event: the server refuses a training of a dataset that its form does not list
        refresh_forms(root_of(), committed=report.dataset)
    except Exception as error:  # the server is away or refuses: the forms keep their old lists
        log.warning("the lists of the forms were not refreshed: %s", error)
    _announce(root, report.dataset, number)


def _announce(root: str, dataset: str, number: int) -> None:
    manifest = open_store(root, dataset, must_exist=True).log.manifest(number)
    resource = {"prefect.resource.id": f"diptych.dataset.{dataset}", "prefect.resource.name": dataset}
    about = {"dataset": dataset, "version": str(number), "root": root}
    parent = str(manifest.parent or "")
    emit_event(COMMITTED, resource, payload={**about, "parent": parent, "input_digest": manifest.input_digest})
    for wanted in parse_recipe(manifest.recipe).train_on_commit:
        emit_event(f"{COMMITTED}.train", resource, payload={**about, **wanted.model_dump()})
