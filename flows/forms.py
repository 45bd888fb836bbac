"""Lists to choose from in the forms of the UI: models and datasets as they are now.

Prefect freezes a form when a deployment is registered, so the lists are made then and again after each commit.
They are help, not the check: a flow looks again in its first seconds and names what is allowed. But the server refuses
a run whose dataset is not in the list, so datasets that were committed in other roots are in it, too: they stand in a
variable of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable

from diptych.exceptions import DiptychError
from diptych.models.registry import MODELS
from diptych.storage.store import datasets, open_store

__all__ = ["CHOOSING", "ELSEWHERE", "Choices", "choices", "refresh_forms", "with_choices"]

CHOOSING = ("rebuild-shard/rebuild-shard", "train-model/train")
"""Deployments whose forms name models or datasets."""
ELSEWHERE = "diptych_datasets_elsewhere"
"""The server's variable with the names of datasets that were committed in other roots than the forms' own."""
MOST_ELSEWHERE = 60
"""Of these names, the last; a variable holds 5,000 characters."""
_LOG = logging.getLogger("diptych.flows")
Choices = Mapping[str, Sequence[str]]


def choices(root: str) -> dict[str, list[str]]:
    """By field: the registered models, and the datasets under ``root`` that have a version and can be read."""
    found = []
    for name in datasets(root):
        try:
            if open_store(root, name).log.versions():
                found.append(name)
        except (DiptychError, OSError) as error:
            _LOG.warning("dataset %s is in no form's list: %s", name, error)
    return {"model": sorted(MODELS), "dataset": sorted(found)}


def with_choices(schema: Mapping[str, Any], found: Choices) -> dict[str, Any]:
    """A form's schema whose fields of these names are lists; a field stays text while there is nothing to choose."""
    changed = deepcopy(dict(schema))
    for form in [changed, *changed.get("definitions", {}).values()]:
        for name, values in found.items():
            field = form.get("properties", {}).get(name)
            if field is not None and field.get("type") == "string":
                field.pop("enum", None)
                if values:
                    field["enum"] = list(values)
    return changed


def refresh_forms(root: str, committed: str = "") -> list[str]:
    """Give the registered forms the lists of now; the deployments that were changed.

    ``committed`` is a dataset of another root, perhaps: it joins the list for good.
    """
    found, changed = choices(root), []
    found["dataset"] = sorted({*found["dataset"], *_elsewhere(found["dataset"], committed)})
    with get_client(sync_client=True) as client:
        for name in CHOOSING:
            try:
                deployment = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            old = deployment.parameter_openapi_schema
            if not isinstance(old, dict):
                continue
            new = with_choices(old, found)
            if new != old:
                client.update_deployment(
                    deployment.id, DeploymentUpdate.model_validate({"parameter_openapi_schema": new})
                )
                changed.append(name)
    return changed


def _elsewhere(own: Sequence[str], committed: str) -> list[str]:
    """The datasets of other roots that the server knows of; ``committed`` is one where it is not an own one."""
    stored = Variable.get(ELSEWHERE, default=[])
    names = [n for n in stored if isinstance(n, str)] if isinstance(stored, list) else []
    if committed and committed not in own and committed not in names:
        names = [*names, committed][-MOST_ELSEWHERE:]
        Variable.set(ELSEWHERE, names, overwrite=True)
    return names
