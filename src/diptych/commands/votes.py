"""Human votes: ``diptych votes export | import | agreement``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from diptych.commands.console import JsonFlag, RootOption, emit, open_version, table
from diptych.exceptions import UsageError
from diptych.sources.tally import counted
from diptych.version import Version
from diptych.votes.agreement import agreement
from diptych.votes.answers import Vote, import_votes, write_votes
from diptych.votes.kinds import KINDS
from diptych.votes.tasks import export_tasks, known_items

__all__ = ["app"]

app = typer.Typer(help="Questions for people, and their answers.", no_args_is_help=True)
At = Annotated[str, typer.Argument(metavar="D@V")]
_SHOWN = 8
"""Refused lines that an error names."""


@app.command("export")
def export(
    at: At,
    kind: Annotated[str, typer.Argument(help=f"the question: {', '.join(KINDS)}")],
    to: Annotated[Path, typer.Option("--to", help="the file of tasks; pictures go to images/ beside it")],
    root: RootOption = "data",
    format: Annotated[Literal["label-studio", "csv"], typer.Option(help="what the tasks are for")] = "label-studio",
    split: Annotated[str | None, typer.Option(help="only this split")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only so many tasks")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the tasks of one question, with the pictures they show."""
    store, manifest = open_version(at, root)
    done = export_tasks(Version(store, manifest), kind, to, format, split=split, limit=limit)
    text = f"wrote {done.tasks} tasks to {to} ({done.left_out} records have nothing to choose from)"
    emit(done, as_json, lambda: typer.echo(text))


@app.command("import")
def import_answers(
    at: At,
    file: Annotated[Path, typer.Argument(help="answers: Label Studio's JSON export, or CSV")],
    to: Annotated[Path, typer.Option("--to", help="the votes file that the recipe names; votes in it stay")],
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Check answers line by line; add the good ones to the votes file, say what was refused and why."""
    store, manifest = open_version(at, root)
    before = _votes_in(to, file)
    found = import_votes(file, known_items(Version(store, manifest)), before)
    said = [f"line {r.line}: {r.reason}: {r.text}" for r in found.refused if r.reason != "unanswered"]
    unanswered = len(found.refused) - len(said)
    first = "".join(f"\n{line}" for line in said[:_SHOWN])
    if said and to.exists() and to.samefile(file):
        raise UsageError(
            f"{file}: {counted(len(said), 'line')} would be lost where --to is the file itself; nothing was written. "
            f"Repair it, or name another file with --to{first}"
        )
    if not found.votes and not found.repeated:
        raise UsageError(
            f"{file}: expected votes, found none: {unanswered} rows unanswered, {len(said)} refused; {to} was not "
            f"written. An answer fills in the columns annotator and value (or a task of Label Studio){first}"
        )
    kept = write_votes([*before, *found.votes], to)
    new = counted(len(found.votes), "is", "are")
    there = f": {counted(len(before), 'was', 'were')} there, {new} new" if before else ""

    def render() -> None:
        for line in said:
            typer.echo(line, err=True)
        typer.echo(f"wrote {counted(kept, 'vote')} to {to}{there}; {len(said)} refused, {unanswered} unanswered")

    told = {"kept": kept, "before": len(before), "refused": found.refused, "reasons": found.reasons()}
    emit(told, as_json, render)


def _votes_in(to: Path, file: Path) -> tuple[Vote, ...]:
    """The votes of the file to write, when it is there and not the very file whose answers are checked."""
    if not to.is_file() or not to.stat().st_size or (file.exists() and to.samefile(file)):
        return ()
    found = import_votes(to)
    if found.refused:
        first = found.refused[0]
        lines = "1 line that is none" if len(found.refused) == 1 else f"{len(found.refused)} lines that are none"
        raise UsageError(
            f"{to}: expected votes, found {lines}, the first is line {first.line} ({first.reason}: {first.text}); "
            "nothing was written. Repair it, or name another file with --to"
        )
    return found.votes


@app.command("agreement")
def agreement_of_version(at: At, root: RootOption = "data", as_json: JsonFlag = False) -> None:
    """Agreement of the annotators whose votes a version holds."""
    store, manifest = open_version(at, root)
    found = agreement(Version(store, manifest))

    def render() -> None:
        if found:
            names = list(found[0].__dataclass_fields__)
            values = [[getattr(a, name) for name in names] for a in found]
            table(at, names, [["-" if v is None else v for v in row] for row in values])
        else:
            typer.echo(f"{at} holds no votes; add the stages votes or pair_votes to its recipe")

    emit(found, as_json, render)
