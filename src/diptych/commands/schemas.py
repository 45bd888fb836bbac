"""``diptych schemas``: write the published contracts from the code (stages, fits, sources, recipe, manifest)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from diptych.recipe import Recipe
from diptych.sources import SOURCES
from diptych.sources.registry import source_class
from diptych.stages.schema import all_schemas
from diptych.storage.manifest import Manifest

__all__ = ["contracts", "schemas_command"]


def contracts() -> dict[str, str]:
    """File name to text of every published contract."""
    models: dict[str, type[BaseModel]] = {"manifest.v1.json": Manifest, "recipe.v1.json": Recipe}
    models |= {f"source.{kind}.v1.json": source_class(kind).Config for kind in SOURCES}
    texts = {
        name: json.dumps(model.model_json_schema(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        for name, model in models.items()
    }
    return {**all_schemas(), **texts}


def schemas_command(
    to: Annotated[Path, typer.Option(help="the folder that holds them")] = Path("schemas"),
    check: Annotated[bool, typer.Option(help="only compare; exit 1 when a file differs from the code")] = False,
) -> None:
    """Write schemas/ from the code, or compare; files of older versions stay."""
    found = contracts()
    different = [
        n for n, text in found.items() if not (to / n).is_file() or (to / n).read_text(encoding="utf-8") != text
    ]
    if check:
        for name in different:
            typer.echo(f"{to / name} differs from the code; run: make schemas")
        raise typer.Exit(1 if different else 0)
    to.mkdir(parents=True, exist_ok=True)
    for name in different:
        (to / name).write_text(found[name], encoding="utf-8")
    typer.echo(f"{to}: {len(different)} written, {len(found) - len(different)} as they were")
