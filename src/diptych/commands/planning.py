"""``diptych plan``: what a build would compute and take, and what gives out first at any size."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from diptych.commands.console import JsonFlag, RootOption, emit, table
from diptych.planning.estimate import Machine
from diptych.planning.page import amount, share, size_rows
from diptych.planning.plan import Plan, plan
from diptych.recipe import load_recipe

__all__ = ["plan_command"]


def plan_command(
    recipe: Annotated[str, typer.Argument(help="a recipe file; .yaml and datasets/ may be left out")],
    documents: Annotated[int | None, typer.Option(min=1, help="how many; default: those the dataset holds")] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="default: about 1,000 images a shard")] = None,
    cores: Annotated[int, typer.Option(min=1, help="of one machine")] = Machine.cores,
    memory: Annotated[float, typer.Option(min=1, help="GB of one machine")] = Machine.memory / 1e9,
    disk: Annotated[float, typer.Option(min=1, help="GB of one machine")] = Machine.disk / 1e9,
    days: Annotated[float, typer.Option(min=0.01, help="how long a first build may take")] = Machine.days,
    delay: Annotated[float, typer.Option(min=0, help="seconds between requests to one host")] = Machine.host_delay,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """What a build would compute, and what one of any size would take, from measured rates."""
    machine = Machine(cores=cores, memory=memory * 1e9, disk=disk * 1e9, days=days, host_delay=delay)
    found = plan(load_recipe(recipe), root, documents=documents, shards=shards, machine=machine)
    emit(_as_json(found), as_json, lambda: _print(found))


def _as_json(found: Plan) -> dict[str, Any]:
    from diptych.commands.console import plain

    return plain(found) | {"first_bottleneck": found.size.first.name}


def _print(found: Plan) -> None:
    if found.next:
        later = "more once earlier stages have run"
        rows: list[list[Any]] = [
            [n.stage, n.rows, n.missing, _seconds(n.seconds), _bytes(n.bytes), later if n.open else ""]
            for n in found.next
        ]
        title = f"{found.dataset}: the next build, on version {found.parent}" if found.parent else found.dataset
        table(title, ["stage", "rows", "to compute", "time of one core", "bytes", ""], rows)
    for m in found.mixed:
        typer.echo(
            f"{m.stage}: its rows were computed with {m.package} {m.before}, {m.now} is installed: a version would mix "
            f"them; `diptych build RECIPE --refresh {m.package}` computes them again"
        )
    table(
        f"a first build of {found.size.documents:,} documents",
        ["stage", "rows", "time of one core", "bytes", "rate from"],
        [[s.name, s.rows, _seconds(s.hours and s.hours * 3600), _bytes(s.bytes), s.origin] for s in found.size.stages],
    )
    table("", ["", ""], [[name, value] for name, value in size_rows(found.size)])
    if found.size.unknown:
        typer.echo(f"not counted, for nobody measured them yet: {', '.join(found.size.unknown)}")
    first = found.size.first
    fits = "still fits one machine" if first.share <= 1 else "does not fit one machine"
    typer.echo(
        f"first to give out: {first.name} ({amount(first.value, first.unit)}, {share(first.share)} of what one machine "
        f"bears; {fits}); what helps: {first.remedy}"
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value / 3600:,.1f} h" if value >= 3600 else f"{value / 60:.1f} min" if value >= 60 else f"{value:.1f} s"


def _bytes(value: float | None) -> str:
    return "not measured" if value is None else amount(value, "bytes")
