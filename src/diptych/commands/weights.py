"""Weights: ``diptych weights list | pull NAME | import FILE | verify``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from diptych import weights
from diptych.commands.console import JsonFlag, emit, table

__all__ = ["app"]

app = typer.Typer(help="Pretrained weights: their licences, hashes and the cache they live in.", no_args_is_help=True)


@app.command("list")
def list_weights(as_json: JsonFlag = False) -> None:
    """Every registered file, and whether it is in the cache."""
    rows = [[s.name, weights.state(s.name), s.purpose, s.licence, weights.hash_text(s)] for s in weights.list_weights()]
    names = ["name", "state", "purpose", "licence", "sha256"]
    emit([dict(zip(names, r, strict=True)) for r in rows], as_json, lambda: table("", names, rows))


@app.command("pull")
def pull(names: Annotated[list[str], typer.Argument(help="names, or `sample` for what the sample needs")]) -> None:
    """Bring weights into the cache; a file whose hash differs is refused."""
    for name in names:
        with _progress() as told:
            found = weights.pull(name, told)
        for path in found:
            typer.echo(f"{name}: {path}")


@contextmanager
def _progress() -> Iterator[weights.Progress]:
    """Shows how a download goes on: a bar on a terminal, a line each tenth elsewhere; on standard error."""
    from diptych.weights_transfer import in_tenths

    if not sys.stderr.isatty():
        yield in_tenths(lambda line: typer.echo(line, err=True))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def told(name: str, have: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=None)
            bars.update(tasks[name], completed=have, total=total or None)

        yield told


@app.command("import")
def import_file(
    file: Path, name: Annotated[str | None, typer.Option(help="a name of your own for an unregistered file")] = None
) -> None:
    """Copy a file into the cache, by its hash or under a name of your own."""
    entry = weights.import_file(file, name)
    typer.echo(f"imported {entry.name} ({entry.sha256[:12]})")


@app.command("verify")
def verify(names: Annotated[list[str] | None, typer.Argument()] = None, as_json: JsonFlag = False) -> None:
    """Read every byte of what is in the cache; exit 1 when a file is not what it should be."""
    found = weights.verify(names or ())
    emit(found, as_json, lambda: table("", ["name", "state"], [[k, v] for k, v in found.items()]))
    if "corrupt" in found.values():
        raise typer.Exit(1)
