"""Build a dataset: crawl (optional) -> snapshot -> stages and fits -> commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefect import flow, get_run_logger

from diptych.engine.build import ATTEMPTS, BuildReport, check_parent, make_context, retire_uncommitted
from diptych.engine.commit import would_commit
from diptych.engine.context import BuildOptions, Force, graph_of, new_build_id
from diptych.engine.crew import working
from diptych.engine.devices import check_devices
from diptych.engine.drive import drive, tasks_a_step
from diptych.engine.intake import check_shrink, sources_of
from diptych.engine.rebuild import refreshing
from diptych.engine.space import check_space
from diptych.exceptions import Conflict, NotFound
from diptych.parameters import BuildParameters
from diptych.recipe import load_recipe, parse_recipe
from diptych.sample_build import sample_build
from diptych.storage.alive import SignOfLife
from diptych.storage.store import open_store
from flows.accelerators import ensure_limit
from flows.approval import ask_to_publish
from flows.environment import root_to_write
from flows.notify import notify
from flows.published import published
from flows.runners import Machines, make_runner
from flows.shown import Shown, show_compared
from flows.submission import Tasks
from tasks.compute import turns, use_environment
from tasks.crawl import crawl_sources, cut
from tasks.publish import publish

__all__ = ["build_dataset", "run_build"]


@flow(name="build-dataset", log_prints=False, on_failure=[notify], on_crashed=[notify])
def build_dataset(parameters: BuildParameters) -> dict[str, object]:
    """Build, and commit a version if anything changed."""
    use_environment()
    file, root = load_recipe(parameters.recipe), root_to_write(parameters.root)
    if parameters.sample:
        file = sample_build(file)
    text, folder = file.text, str(file.folder)
    with file.named():
        graph = graph_of(text)
        sources_of(file.recipe, folder)
    force = refreshing(graph, parameters.refresh) if parameters.refresh else None
    versions = open_store(root, file.recipe.name).log.versions()
    graph.check(latest=versions[max(versions)] if versions else None)
    if parameters.runner == "threads":
        check_devices(parameters.device)
    if parameters.crawl:
        crawl = crawl_sources.with_options(timeout_seconds=3600 * parameters.crawl_hours)
        crawl(text, root, folder, parameters.retry_failed, allow_shrink=parameters.allow_shrink)
    options = BuildOptions(
        workers=parameters.workers,
        processes=parameters.processes,
        device=parameters.device,
        retry="failed" if parameters.retry_failed else "transient",
        accept_failures=parameters.accept_failures,
        allow_shrink=parameters.allow_shrink,
    )
    days = parameters.approve_days if parameters.approve else 0
    report = run_build(
        text,
        root,
        options,
        lambda: cut(text, root, folder),
        force,
        approve_days=days,
        task_hours=parameters.task_hours,
        machines=Machines.of(parameters),
    )
    compared = dict(show_compared(report)) if force else {}
    published(report, root)
    get_run_logger().info("dataset %s: %s", file.recipe.name, report.committed.reason)
    return {
        "dataset": file.recipe.name,
        "version": report.committed.version,
        "reason": report.committed.reason,
        "computed": report.computed,
        "stages": {p.name: p.computed for p in report.progress.values() if p.kind == "stage"},
        "compared": compared,
    }


def run_build(
    recipe: str,
    root: str,
    options: BuildOptions,
    snapshot: Callable[[], str],
    force: Force | None = None,
    planned_on: int | None = None,
    *,
    approve_days: int = 0,
    task_hours: float = 12,
    machines: Machines | None = None,
) -> BuildReport:
    """The steps of one build as tasks, planned again (``snapshot`` is asked again) when another commit came first.

    With ``approve_days`` a person is asked before something new is published.
    """
    build_id = new_build_id()
    machines = machines or Machines()
    root = root if "://" in root else str(Path(root).resolve())  # tasks may run in another folder
    store = open_store(root, parse_recipe(recipe).name)
    graph = graph_of(recipe)
    nodes = len(graph.nodes)
    if machines.tags(options.device) and any(n.stage.accelerator for n in graph.stages if n.stage):
        ensure_limit()
    at_once = turns(build_id, machines.threads)  # these two end before the runner does, which waits for its tasks
    workers = working(build_id, options.processes)
    with SignOfLife(store, build_id, "build"), make_runner(machines) as runner, at_once, workers:
        retire_uncommitted(store, recipe, force)
        for attempt in range(ATTEMPTS):
            most = tasks_a_step(nodes, attempt, ATTEMPTS, machines.threads, options.processes)
            head = store.log.head()
            context = make_context(recipe, root, snapshot(), options, build_id=build_id, force=force, head=head)
            check_parent(context, planned_on)
            check_shrink(store, context)
            check_space(store, context)
            shown, outcome = Shown(context), ""
            tasks = Tasks(runner, machines, context, most, task_hours)
            try:
                finished = drive(
                    context, lambda steps, done, t=tasks, s=shown: s.collect(t.submit(steps, done)), shown.ended
                )
                if approve_days and would_commit(store, context, finished):
                    ask_to_publish(context, finished, approve_days)
                report = publish(context.to_json(), finished)
                outcome = report.committed.reason
                return report
            except Conflict:
                continue
            except NotFound:
                if store.log.head() == context.head:
                    raise  # nobody took it away: it really is missing
            finally:
                shown.close(outcome)
    raise Conflict(f"dataset {store.name}: {ATTEMPTS} other commits came first; run the build again")
