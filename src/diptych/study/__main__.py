"""`python -m diptych.study`: build the sample, run the cells that are missing, write the page."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from diptych.study.certainty import Difference, Differences, differences
from diptych.study.page import Study, results_page
from diptych.study.plan import PLANS, SEEDS, Cell, ModelPlan, cells
from diptych.study.running import Result, build_versions, run_cell, runs_of
from diptych.study.spending import Ledger
from diptych.training.folder import RunFolder
from diptych.version import open_version

Given = TypeVar("Given")
Found = TypeVar("Found")
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

    with ledger.on("training"):
        for result in _work(_train, places, jobs):
            results[result.cell] = result
            typer.echo(f"{result.cell}: {result.spent.text() if result.spent else 'there already'}")
            write({})
    typer.echo("drawing test rows again")
    with ledger.on("comparing"):
        found = dict(_work(_compare, _pairs(plans, order, homes, results), jobs))
    write(found)
    typer.echo(f"wrote {page}")


Place = tuple[Cell, Path, str | None]
"""A cell, its dataset, the run that is there."""
Pair = tuple[ModelPlan, str, Path, tuple[str, ...], tuple[str, ...]]
"""A model's row to compare with the full model, their dataset, the runs of both."""


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


def _work(function: Callable[[Given], Found], given: Sequence[Given], jobs: int) -> Iterator[Found]:
    """What comes of each, as it comes; when one fails those that have begun end first, and no other begins."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _one_thread) as pool:
        try:
            for done in as_completed([pool.submit(function, one) for one in given]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """One thread a run, however many run at a time: a sum's order, and so every figure, depends on it."""
    import torch

    torch.set_num_threads(1)


def _train(place: Place) -> Result:
    cell, home, path = place
    version = open_version(home)
    return run_cell(version, cell, RunFolder(version.store, path) if path else None)


def _compare(pair: Pair) -> tuple[tuple[str, str], Mapping[str, Difference]]:
    plan, row, home, full, other = pair
    store = open_version(home).store
    first, second = ([RunFolder(store, path) for path in side] for side in (full, other))
    return (plan.model, row), differences(first, second, plan.metrics)


if __name__ == "__main__":
    typer.run(main)
