"""What the extract and annotate tasks share: one step of a build over one group of shards."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.engine.context import BuildContext, Done, Progress
from diptych.engine.steps import run_fit_group, run_group
from diptych.environment import set_environment

__all__ = ["compute_step"]


def compute_step(
    kind: str, context: Mapping[str, Any], names: Sequence[str], group: int, done: Mapping[str, Done]
) -> list[Progress]:
    """Run one step; everything that comes in and goes out is small and plain."""
    set_environment(os.environ)
    built = BuildContext.from_json(context)
    return [run_fit_group(built, names[0], group, done)] if kind == "fit" else run_group(built, names, group, done)
