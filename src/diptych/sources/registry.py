"""From a recipe's ``sources`` entry to a source: its class by kind or import path, its settings checked."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from diptych.exceptions import RecipeError
from diptych.recipe import explain
from diptych.sources import SOURCES
from diptych.sources.base import Source

__all__ = ["open_source", "source_class"]


def source_class(kind: str) -> type[Source]:
    """The class of a shipped kind (``web``) or of an import path (``my_package.my_module:MySource``)."""
    path = SOURCES.get(kind, kind)
    module, _, name = path.partition(":")
    if not name:
        raise RecipeError(f"sources.kind: {kind!r} is not one of {sorted(SOURCES)} nor an import path 'module:Class'")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"sources.kind: {kind!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Source)):
        raise RecipeError(f"sources.kind: {kind!r} is not a subclass of diptych.sources.base.Source")
    return found


def open_source(settings: Mapping[str, object], folder: Path, place: str = "sources[0]") -> Source:
    """The source of one recipe entry; relative paths in it start at ``folder``, the recipe's.

    Raises :class:`RecipeError` naming each wrong key under ``place`` and what is allowed there.
    """
    kind = settings.get("kind")
    if not isinstance(kind, str):
        raise RecipeError(f"{place}.kind: expected one of {sorted(SOURCES)}, found {kind!r}")
    found = source_class(kind)
    try:
        config = found.Config.model_validate(dict(settings))
    except ValidationError as error:
        raise explain(error, place, found.Config) from error
    return found(config, folder)
