"""The steps of a build as Prefect tasks: groups of shards bundled, so that a build of any size has few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner

from diptych.engine.context import BuildContext, Done, Progress, graph_of
from diptych.engine.drive import Step, bundles
from flows.runners import Machines, resources
from tasks.annotate import annotate
from tasks.extract import extract

__all__ = ["Tasks"]


@dataclass(frozen=True)
class Tasks:
    """Submits the waves of one build; at most ``most`` tasks a stage."""

    runner: TaskRunner[PrefectFuture[Any]]
    machines: Machines
    context: BuildContext
    most: int
    hours: float
    """After so long at work a task is ended."""

    def submit(self, steps: Sequence[Step], done: Mapping[str, Done]) -> list[PrefectFuture[list[Progress]]]:
        """The tasks of a wave, on their way."""
        context = self.context
        graph, plain = graph_of(context.recipe, context.build), context.to_json()
        futures = []
        for bundle in bundles(steps, self.most):
            stage = graph[bundle.names[0]].stage
            accelerator = stage is not None and stage.accelerator
            named = (extract if accelerator else annotate).with_options(
                task_run_name=f"{' + '.join(bundle.names)} {_range(bundle.groups)}",
                tags=self.machines.tags(context.options.device) if accelerator else None,
            )
            given = {
                "kind": bundle.kind, "context": plain, "names": bundle.names, "groups": bundle.groups,
                "done": dict(done), "limit_s": 3600 * self.hours,
            }  # fmt: skip
            with resources(self.machines, accelerator, context.options.device):
                futures.append(self.runner.submit(named, given))
        return futures


def _range(groups: Sequence[int]) -> str:
    return str(groups[0]) if len(groups) == 1 else f"{groups[0]}-{groups[-1]}"
