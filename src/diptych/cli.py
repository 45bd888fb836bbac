"""The command line: ``diptych COMMAND``; the only module of the library that reads the environment.

Exit codes: 0 done, 1 failed, 2 usage or recipe error, 3 nothing committed because too much failed or vanished,
130 interrupted with Control-C.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from diptych import weights
from diptych.commands import (
    building,
    detector,
    parser,
    reading,
    relevance,
    sample,
    score,
    serving,
    training,
    upkeep,
    votes,
)
from diptych.commands import weights as weights_commands
from diptych.commands.boxes import boxes_command
from diptych.commands.export import card_command, export_command
from diptych.commands.forget import forget_command
from diptych.commands.planning import plan_command
from diptych.commands.schemas import schemas_command
from diptych.environment import set_environment
from diptych.exceptions import DiptychError
from diptych.releases import release

__all__ = ["app", "main"]

app = typer.Typer(
    name="diptych",
    help="Build versioned image-text datasets and fit models on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
building.register(app)
reading.register(app)
upkeep.register(app)
training.register(app)
serving.register(app)
app.command("schemas")(schemas_command)
app.command("boxes")(boxes_command)
app.command("card")(card_command)
app.command("export")(export_command)
app.command("forget")(forget_command)
app.command("plan")(plan_command)
app.add_typer(detector.app, name="detector")
app.add_typer(parser.app, name="parser")
app.add_typer(relevance.app, name="relevance")
app.add_typer(sample.app, name="sample")
app.add_typer(score.app, name="score")
app.add_typer(votes.app, name="votes")
app.add_typer(weights_commands.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diptych {release('diptych')}")
        raise typer.Exit


@app.callback()
def _settings(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the release and exit.")
    ] = False,
) -> None:
    context.obj = os.environ
    set_environment(os.environ)
    cache = os.environ.get("DIPTYCH_WEIGHTS")
    if cache:
        weights.set_cache(Path(cache))
    weights.set_mirror(os.environ.get("DIPTYCH_WEIGHTS_MIRROR", ""))


def main() -> None:
    """Run the command line; errors made on purpose are one message and their exit code, never a traceback."""
    try:
        app(standalone_mode=True, prog_name="diptych")
    except DiptychError as error:
        typer.echo(f"diptych: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"diptych: {where}{error.strerror or error}", err=True)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:  # typer makes this of Control-C
            typer.echo("diptych: interrupted; what was finished is kept, the same command goes on from there", err=True)
        raise


if __name__ == "__main__":
    main()
