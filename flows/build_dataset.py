"""Build a dataset: crawl (optional) -> snapshot -> stages and fits -> commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect import flow, get_run_logger
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from diptych.engine.build import ATTEMPTS, BuildReport, check_parent, make_context
from diptych.engine.commit import would_commit
from diptych.engine.context import BuildContext, BuildOptions, Done, Force, Progress, graph_of, new_build_id
from diptych.engine.drive import Step, drive
from diptych.engine.intake import check_shrink
from diptych.engine.space import check_space
from diptych.exceptions import Conflict, NotFound
from diptych.parameters import BuildParameters
from diptych.recipe import load_recipe, parse_recipe
from diptych.storage.alive import SignOfLife
from diptych.storage.store import open_store
from flows.approval import ask_to_publish
from flows.environment import root_of
from flows.notify import notify
from flows.published import published
from flows.shown import Shown
from tasks.annotate import annotate
from tasks.compute import use_environment
from tasks.crawl import crawl_sources, cut
from tasks.extract import extract
from tasks.policies import tags_for
from tasks.publish import publish

__all__ = ["build_dataset", "run_build"]

_RUNNER: TaskRunner[PrefectFuture[Any]] = ThreadPoolTaskRunner(max_workers=2)  # type: ignore[assignment]


@flow(name="build-dataset", task_runner=_RUNNER, log_prints=False, on_failure=[notify], on_crashed=[notify])
def build_dataset(parameters: BuildParameters) -> dict[str, object]:
    """Build, and commit a version if anything changed."""
    use_environment()
    file, root = load_recipe(parameters.recipe), root_of(parameters.root)
    text, folder = file.text, str(file.folder)
    graph_of(text)
    if parameters.crawl:
        crawl_sources(text, root, folder, parameters.retry_failed, allow_shrink=parameters.allow_shrink)
    options = BuildOptions(
        workers=parameters.workers,
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
        approve_days=days,
        task_hours=parameters.task_hours,
    )
    published(report, root)
    get_run_logger().info("dataset %s: %s", file.recipe.name, report.committed.reason)
    return {
        "dataset": file.recipe.name,
        "version": report.committed.version,
        "reason": report.committed.reason,
        "computed": report.computed,
        "stages": {p.name: p.computed for p in report.progress.values() if p.kind == "stage"},
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
) -> BuildReport:
    """The steps of one build as tasks, planned again (``snapshot`` is asked again) when another commit came first.

    With ``approve_days`` a person is asked before something new is published.
    """
    build_id = new_build_id()
    store = open_store(root, parse_recipe(recipe).name)
    with SignOfLife(store, build_id, "build"):
        for _ in range(ATTEMPTS):
            context = make_context(recipe, root, snapshot(), options, build_id=build_id, force=force)
            check_parent(context, planned_on)
            check_shrink(store, context)
            check_space(store, context)
            shown, outcome = Shown(context), ""
            try:
                finished = drive(
                    context, lambda steps, done, c=context, s=shown: _submit(c, s, task_hours, steps, done), shown.ended
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


def _submit(
    context: BuildContext, shown: Shown, task_hours: float, steps: Sequence[Step], done: Mapping[str, Done]
) -> list[Progress]:
    graph, plain = graph_of(context.recipe, context.build), context.to_json()
    futures = []
    for step in steps:
        stage = graph[step.names[0]].stage
        task = extract if stage is not None and stage.accelerator else annotate
        named = task.with_options(
            task_run_name=f"{' + '.join(step.names)} {step.group}",
            timeout_seconds=3600 * task_hours,
            tags=tags_for(context.options.device) if task is extract else None,  # the accelerator's limit
        )
        futures.append(named.submit(step.kind, plain, step.names, step.group, done))
    return shown.collect(futures)
