"""`python -m diptych.study`: build the sample, run the cells that are missing, write the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.study.page import results_page
from diptych.study.plan import PLANS, SEEDS, cells
from diptych.study.running import Result, build_versions, run_cell, runs_of

Models = Annotated[str, typer.Option(help="only these models, as gap,mkp")]


def main(
    folder: Annotated[Path, typer.Option(help="where documents, dataset and runs stand")] = Path("data/study"),
    page: Annotated[Path, typer.Option(help="the page that is written")] = Path("docs/results.md"),
    documents: Annotated[int, typer.Option(min=24)] = 600,
    seeds: Annotated[str, typer.Option(help="of the runs")] = ",".join(map(str, SEEDS)),
    models: Models = "",
) -> None:
    """Go on where the last call ended; the page is written anew after each cell."""
    wanted = models.split(",") if models else [plan.model for plan in PLANS]
    plans = tuple(plan for plan in PLANS if plan.model in wanted)
    versions = build_versions(folder, documents, 0, typer.echo)
    known = {cell: run for v in versions.values() for cell, run in runs_of(v, str(folder / "data")).items()}
    datasets = {plan.model: plan.dataset for plan in plans}
    results: list[Result] = []
    for cell in cells(plans, tuple(int(s) for s in seeds.split(","))):
        results.append(run_cell(versions[datasets[cell.model]], cell, known.get(cell), typer.echo))
        page.write_text(results_page(list(versions.values()), results, documents), encoding="utf-8")
    typer.echo(f"wrote {page}")


if __name__ == "__main__":
    typer.run(main)
