"""Whether a version has what a model reads; asked before any work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from diptych.exceptions import NotFound
from diptych.selection import parse_selection
from diptych.storage.reader_fields import TABLES, resolve_fields
from diptych.training.config import TaskConfig
from diptych.training.phase import Stream
from diptych.training.task import Task

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["check_needs", "fields_of", "fields_read"]


def fields_read(kind: type[Task], config: TaskConfig) -> tuple[str, ...]:
    """Every field and fit that a configuration reads, each once, in order."""
    names = [name for stream in kind.reads(config).values() for name in fields_of(stream)]
    return tuple(dict.fromkeys([*names, *kind.tables(config)]))


def check_needs(version: Version, kind: type[Task], config: TaskConfig) -> None:
    """Raise :class:`NotFound` with every stage, fit or column that is missing and the recipe's lines that add them."""
    manifest = version.manifest
    have = {s.name for s in manifest.stages} | {f.name for f in manifest.fits} | set(TABLES)
    missing = dict.fromkeys(p for p in _producers(fields_read(kind, config)) if p not in have)
    if missing:
        readers = {name: [f for f in fields_read(kind, config) if f.partition(".")[0] == name] for name in missing}
        lines = [
            f"  {kind.recipe_lines.get(name, name + ': {}')}    # {_where(name)}; read as {', '.join(readers[name])}"
            for name in missing
        ]
        raise NotFound(
            f"model {kind.name} cannot be fitted on {manifest.dataset}@{manifest.version}: it has no "
            f"{', '.join(missing)} (it has {', '.join(sorted(have - set(TABLES)))}). Add to the recipe\n"
            + "\n".join(lines)
            + "\nand run `diptych build`"
        )
    for stream in kind.reads(config).values():
        try:
            resolve_fields(version.store, manifest, stream.rows, fields_of(stream))
        except NotFound as error:  # a stage that is there without a column that it has on request
            line = next((text for name, text in kind.recipe_lines.items() if f"(field {name}." in str(error)), "")
            if not line:
                raise
            raise NotFound(f"{error}. Write in the recipe\n  {line}\nand run `diptych build`") from error


def fields_of(stream: Stream) -> list[str]:
    """The fields of a stream, and those that its selections look at."""
    return list(dict.fromkeys([*stream.fields, *(parse_selection(text, "where").column for text in stream.where)]))


def _producers(names: Iterable[str]) -> list[str]:
    return [name.partition(".")[0] for name in names]


def _where(name: str) -> str:
    from diptych.fits import FITS

    return "under fits" if name in FITS else "under stages"
