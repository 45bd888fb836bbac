"""What all commands share: where datasets are, how ``D@V`` is read, how results and progress are printed."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from diptych.engine.context import Progress as StageProgress
from diptych.exceptions import UsageError
from diptych.storage.manifest import Manifest
from diptych.storage.store import Store, datasets, open_store

__all__ = ["ConsoleWatcher", "DryRun", "JsonFlag", "RootOption", "console", "emit", "open_version", "plain", "table"]

RootOption = Annotated[
    str, typer.Option("--root", envvar="DIPTYCH_ROOT", help="folder or bucket that holds the datasets")
]
JsonFlag = Annotated[bool, typer.Option("--json", help="print one JSON value instead of text")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would be done; compute, commit and delete nothing")]

console = Console(width=None if sys.stdout.isatty() else 160)
"""Standard output; wide enough for tables when it is not a terminal."""


def open_version(name: str, root: str) -> tuple[Store, Manifest]:
    """The store and manifest of ``D@V``; ``V`` is a number, a tag or ``latest`` (also when left out)."""
    dataset, _, version = name.partition("@")
    known = datasets(root)
    if dataset not in known:
        raise UsageError(
            f"no dataset {dataset!r} under {root}; there {'are ' + ', '.join(known) if known else 'is none'}"
        )
    store = open_store(root, dataset)
    return store, store.log.manifest(int(version) if version.isdecimal() else version or "latest")


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses and models as objects, arrays as shape and norm, bytes as hex."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        flat = value.astype(np.float64).ravel()
        return {"dtype": str(value.dtype), "shape": list(value.shape), "norm": float(np.linalg.norm(flat))}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return value


def emit(value: Any, as_json: bool, render: Callable[[], None]) -> None:
    """One JSON value on standard output, or what ``render`` prints."""
    if as_json:
        typer.echo(json.dumps(plain(value), ensure_ascii=False, indent=1, default=str))
    else:
        render()


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table; numbers stand right."""
    shown = Table(title=title or None, title_justify="left", header_style="bold")
    for n, name in enumerate(columns):
        numeric = all(isinstance(r[n], int | float) for r in rows) and bool(rows)
        shown.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(
            *(f"{c:,}" if isinstance(c, int) else f"{c:.3g}" if isinstance(c, float) else escape(str(c)) for c in row)
        )
    console.print(shown)


class ConsoleWatcher:
    """Shows how a build goes on: a bar on a terminal, a line a stage elsewhere; nothing when quiet."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars: Progress | None = None
        self._tasks: dict[str, Any] = {}
        if not quiet and sys.stderr.isatty():
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bars = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
            self._bars.start()

    def started(self, name: str, groups: int) -> None:
        """A stage or fit begins."""
        if self._bars:
            self._tasks[name] = self._bars.add_task(name, total=None)

    def rows(self, name: str, count: int) -> None:
        """So many rows more were computed."""
        if self._bars:
            self._bars.advance(self._tasks[name], count)

    def finished(self, progress: StageProgress) -> None:
        """A stage or fit has ended."""
        if self._bars and progress.name in self._tasks:
            self._bars.remove_task(self._tasks[progress.name])
        if self._quiet:
            return
        other = ", ".join(f"{n} {s}" for s, n in progress.counts.items() if n and s != "ok")
        unit = "rows" if progress.kind == "stage" else "shards"
        line = f"{progress.name:16} {progress.rows:>8} rows  {progress.computed:>8} {unit} computed"
        line += f"  {progress.reused:>8} reused"
        typer.echo(f"{line}  {progress.seconds:6.1f} s{'  ' + other if other else ''}", err=True)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars:
            self._bars.stop()
