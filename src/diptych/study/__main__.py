"""`python -m diptych.study`: build the sample, run the cells that are missing, write the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from diptych.study.certainty import Differences
from diptych.study.page import Study, results_page
from diptych.study.plan import PLANS, SEEDS, Cell, ModelPlan, cells
from diptych.study.pool import Pair, compare, train, work
from diptych.study.running import Result, build_versions, runs_of
from diptych.study.spending import Ledger

Models = Annotated[str, typer.Option(help="only these models, as gap,mkp")]


def main(
    folder: Annotated[Path, typer.Option(help="where documents, dataset and runs stand")] = Path("data/study"),
    page: Annotated[Path, typer.Option(help="the page that is written")] = Path("docs/results.md"),
    documents: Annotated[int, typer.Option(min=24)] = 600,
    seeds: Annotated[str, typer.Option(help="of the runs")] = ",".join(map(str, SEEDS)),
    models: Models = "",
    jobs: Annotated[int, typer.Option(min=1, help="runs at a time, each on one thread")] = 2,
) -> None:
    """Go on where the last call ended; the page is written anew after each cell."""
    wanted = models.split(",") if models else [plan.model for plan in PLANS]
    plans = tuple(plan for plan in PLANS if plan.model in wanted)
    folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder / "spent.json")
    versions = build_versions(folder, documents, 0, ledger, typer.echo)
    homes = {plan.model: folder / "data" / plan.dataset for plan in plans}
    order = list(cells(plans, tuple(int(s) for s in seeds.split(","))))
    known = {cell: run for v in versions.values() for cell, run in runs_of(v, str(folder / "data")).items()}
    places = [(cell, homes[cell.model], known[cell].path if cell in known else None) for cell in order]
    results: dict[Cell, Result] = {}

    def write(differences: Differences) -> None:
        found = [results[cell] for cell in order if cell in results]
        study = Study(list(versions.values()), found, documents, ledger.read(), differences)
        page.write_text(results_page(study), encoding="utf-8")

    for result in work(train, places, jobs):
        results[result.cell] = result
        typer.echo(f"{result.cell}: {result.spent.text() if result.spent else 'there already'}")
        write({})
    typer.echo("drawing test rows again")
    with ledger.on("comparing"):
        found = dict(work(compare, _pairs(plans, order, homes, results), jobs))
    write(found)
    typer.echo(f"wrote {page}")


def _pairs(
    plans: Sequence[ModelPlan], order: Sequence[Cell], homes: Mapping[str, Path], results: Mapping[Cell, Result]
) -> list[Pair]:
    """Every other row of a model with its full one, seed by seed."""

    def runs(model: str, row: str) -> tuple[str, ...]:
        return tuple(f"runs/{model}/{results[c].run}" for c in order if (c.model, c.row) == (model, row))

    return [
        (plan, row, homes[plan.model], runs(plan.model, "full"), runs(plan.model, row))
        for plan in plans
        for row in (plan.expectation.row, *plan.baselines)
    ]


if __name__ == "__main__":
    typer.run(main)
