"""Lists to choose from in the forms of the UI: models and datasets as they are now.

Prefect freezes a form when a deployment is registered, so the lists are made then and again after each commit.
They are help, not the check: a flow looks again in its first seconds and names what is allowed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound

from diptych.exceptions import DiptychError
from diptych.models.registry import MODELS
from diptych.storage.store import datasets, open_store

__all__ = ["CHOOSING", "Choices", "choices", "refresh_forms", "with_choices"]

CHOOSING = ("rebuild-shard/rebuild-shard", "train-model/train")
"""Deployments whose forms name models or datasets."""
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


def _listed(schema: Mapping[str, Any], name: str) -> set[str]:
    """What a form's list of that name offers."""
    forms = [schema, *schema.get("definitions", {}).values()]
    return {value for form in forms for value in form.get("properties", {}).get(name, {}).get("enum", ())}


def refresh_forms(root: str, committed: str = "") -> list[str]:
    """Give the registered forms the lists of now; the deployments that were changed.

    ``committed`` is a dataset of another root, perhaps: it joins the list, and what the list has stays in it.
    """
    found, changed = choices(root), []
    with get_client(sync_client=True) as client:
        for name in CHOOSING:
            try:
                deployment = client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
            old = deployment.parameter_openapi_schema
            if not isinstance(old, dict):
                continue
            listed = found
            if committed:
                listed = {**found, "dataset": sorted({*found["dataset"], *_listed(old, "dataset"), committed})}
            new = with_choices(old, listed)
            if new != old:
                client.update_deployment(
                    deployment.id, DeploymentUpdate.model_validate({"parameter_openapi_schema": new})
                )
                changed.append(name)
    return changed
