"""What the extract and annotate tasks share: one step of a build over some groups of shards."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych import weights
from diptych.engine.context import BuildContext, Done, Progress
from diptych.engine.steps import run_fit_group, run_group
from diptych.environment import set_environment

__all__ = ["compute_step", "use_environment"]


def use_environment() -> None:
    """Hand this process's environment to the library, as the command line does: secrets, where weights are."""
    set_environment(os.environ)
    cache = os.environ.get("DIPTYCH_WEIGHTS")
    if cache:
        weights.set_cache(Path(cache))
    weights.set_mirror(os.environ.get("DIPTYCH_WEIGHTS_MIRROR", ""))


def compute_step(
    kind: str, context: Mapping[str, Any], names: Sequence[str], groups: Sequence[int], done: Mapping[str, Done]
) -> list[Progress]:
    """Run one step; everything that comes in and goes out is small and plain."""
    use_environment()
    built = BuildContext.from_json(context)
    if kind == "fit":
        return [run_fit_group(built, names[0], group, done) for group in groups]
    return [progress for group in groups for progress in run_group(built, names, group, done)]
