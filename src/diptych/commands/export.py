"""``diptych export`` and ``diptych card``: a version for other tools, and what a reader should know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.commands.console import JsonFlag, RootOption, emit, open_version
from diptych.exceptions import UsageError
from diptych.export.card import card, contents_of
from diptych.export.write import FORMATS, ExportOptions, Format, write_export
from diptych.storage.outputs import write_text
from diptych.version import Version

__all__ = ["card_command", "export_command"]

At = Annotated[str, typer.Argument(metavar="D@V", help="a dataset and its version: a number, a tag or latest")]


def export_command(
    at: At,
    to: Annotated[Path, typer.Option("--to", help="a new folder")],
    format: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "huggingface",
    split: Annotated[str | None, typer.Option(help="only train, dev (in files: validation) or test")] = None,
    stages: Annotated[str, typer.Option(help="stages whose columns and tensors go along, with commas between")] = "",
    rows: Annotated[str, typer.Option(help="records, or pairs (one row a picture)")] = "records",
    redact: Annotated[bool, typer.Option(help="no addresses, handles, guessable ids or picture metadata")] = False,
    salt: Annotated[str, typer.Option(help="with --redact: makes new ids repeatable; keep it secret")] = "",
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Write a version for other tools, with its card, Croissant metadata and licences."""
    if format not in FORMATS:
        raise UsageError(f"--format {format}: known are {', '.join(FORMATS)}")
    if rows not in ("records", "pairs"):
        raise UsageError(f"--rows {rows}: known are records, pairs")
    store, manifest = open_version(at, root)
    names = tuple(name.strip() for name in stages.split(",") if name.strip())
    known: Format = next(f for f in FORMATS if f == format)
    options = ExportOptions(known, split, names, "pairs" if rows == "pairs" else "records", redact, salt)
    report = write_export(Version(store, manifest), to, options)

    def render() -> None:
        typer.echo(
            f"{store.name}@{manifest.version}: {report.records:,} records, {report.images:,} pictures, "
            f"{report.bytes:,} bytes as {format} in {report.place}"
        )
        if report.left_out:
            typer.echo(f"left out, for they hold text: {', '.join(report.left_out)}")

    emit(report, as_json, render)


def card_command(
    at: At,
    to: Annotated[Path | None, typer.Option("--to", help="a file; standard output when left out")] = None,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """The README card of a version: licences, statistics, stages, provenance, limits, how to rebuild it."""
    store, manifest = open_version(at, root)
    version = Version(store, manifest)
    text = card(version, contents_of(version))
    if to is not None:
        write_text(to, text)
    value = {"dataset": store.name, "version": manifest.version, "to": str(to) if to else None, "card": text}
    emit(value, as_json, lambda: typer.echo(f"wrote {to}" if to else text))
