"""What the extract and annotate tasks share: one step of a build over one group of shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diptych.engine.context import BuildContext, Done, Progress
from diptych.engine.steps import run_fit_group, run_group

__all__ = ["compute_step"]


def compute_step(kind: str, context: Mapping[str, Any], name: str, group: int, done: Mapping[str, Done]) -> Progress:
    """Run one step; everything that comes in and goes out is small and plain."""
    built = BuildContext.from_json(context)
    return run_fit_group(built, name, group, done) if kind == "fit" else run_group(built, name, group, done)
