"""``build RECIPE --sample``: the recipe with its ``sample:`` block laid over it, and the data that block names.

A paper's recipe reads the paper's files: public ones that are large, or ones that only you have. Its sample build reads
files of the same formats, generated from a seed (:mod:`diptych.sample.releases`) into a cache folder, and uses the
weights that the block names where the official ones are absent. It is a dataset of its own, ``<name>-sample``; its
recipe, and so its manifest, says what it is (``sample_of``, ``stand_ins``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from diptych.exceptions import RecipeError
from diptych.recipe import RecipeFile, SampleBuild, parse_recipe
from diptych.sample.releases import release_folder

__all__ = ["CACHE", "sample_build"]

CACHE = Path("~/.cache/diptych/samples")
"""Where generated data are kept unless another folder is given; any of it can be deleted."""
_PLACE = "{sample}"


def sample_build(file: RecipeFile, documents: int | None = None, cache: Path = CACHE) -> RecipeFile:
    """The recipe of the sample build, its data written; :class:`RecipeError` for a recipe without a ``sample:`` block.

    ``documents`` instead of the block's own number. The merged recipe also lies beside the data, as ``recipe.yaml``,
    for the commands that take a recipe.
    """
    block = file.recipe.sample
    if block is None:
        raise RecipeError(f"the recipe {file.recipe.name} has no sample: block, so there is nothing to build it from")
    folder = release_folder(block.data, documents or block.documents, block.seed, cache.expanduser().absolute())
    text = _merged(file, block, str(folder))
    (folder / "recipe.yaml").write_text(text, encoding="utf-8")
    return RecipeFile(parse_recipe(text, f"the sample build of {file.recipe.name}"), text, folder)


def _merged(file: RecipeFile, block: SampleBuild, folder: str) -> str:
    recipe = file.recipe
    sources = {str(s.get("name", s.get("kind"))): dict(s) for s in recipe.sources}
    for changed in block.sources:
        name = str(changed.get("name", changed.get("kind")))
        own = sources.get(name, {})
        same = own.get("kind") == changed.get("kind", own.get("kind"))
        sources[name] = {**own, **changed} if same else dict(changed)
    merged: dict[str, Any] = {
        "name": f"{recipe.name}-sample",
        "title": recipe.title,
        "contact": recipe.contact or "https://example.org/diptych-sample",
        "sample_of": recipe.name,
        "stand_ins": list(block.stand_ins),
        "paper": recipe.paper,
        "sources": _placed(list(sources.values()), folder),
        "shards": block.shards or recipe.shards,
        "stages": _placed(_laid_over(recipe.stages, block.stages), folder),
        "fits": _placed(_laid_over(recipe.fits, block.fits), folder),
        "limits": recipe.limits.model_dump(),
    }
    return yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)


_Settings = Mapping[str, Mapping[str, Any] | None]


def _laid_over(own: _Settings, changed: _Settings) -> dict[str, dict[str, Any]]:
    """Each stage (or fit) with its changed settings; one that is null in ``changed`` is left out."""
    names = dict.fromkeys([*own, *changed])
    return {
        name: {**(own.get(name) or {}), **(changed.get(name) or {})}
        for name in names
        if changed.get(name, {}) is not None
    }


def _placed(value: Any, folder: str) -> Any:
    """The value with the folder in place of ``{sample}``, as plain YAML holds it."""
    if isinstance(value, str):
        return value.replace(_PLACE, folder)
    if isinstance(value, Mapping):
        return {key: _placed(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_placed(item, folder) for item in value]
    return value
