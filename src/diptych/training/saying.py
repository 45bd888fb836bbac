"""What a fitted run says of rows: those of a version, or raw documents that are built for it first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diptych.exceptions import UsageError
from diptych.training.assignment import Assignment
from diptych.training.evaluation import OTHERWISE, check_fitted, made_otherwise, predict_rows
from diptych.training.needs import check_needs
from diptych.training.task import Line
from diptych.version import Version

__all__ = ["Said", "say_of"]


@dataclass(frozen=True)
class Said:
    """Lines in the order of the rows, those about which nothing could be said (``failed``) behind them."""

    lines: Sequence[Line]
    pictures: int = 0
    """how many were drawn"""


def say_of(
    assignment: Assignment,
    place: Version | Path,
    *,
    split: str | None = None,
    keys: Sequence[str] | None = None,
    pictures: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Said:
    """Predictions of a version's rows (``split``; None: all), or of the raw documents of a folder or file.

    Labels are not needed. Lines of raw documents also have ``input`` and ``image_file`` (``image_files``), what the row
    was made from. ``pictures`` is a folder in which is drawn what the model looked at.
    """
    task = assignment.task()
    check_fitted(assignment)
    with contextlib.ExitStack() as stack:
        if isinstance(place, Path):
            from diptych.training.raw import as_version

            stream = replace(task.asked(), each="", where=())
            options = assignment.options
            version = stack.enter_context(
                as_version(assignment.open(), stream, place, device=options.device, workers=options.readers, say=say)
            )
        else:
            stream, version = replace(task.asked(), each=""), place
            check_needs(version, type(task), task.config)
            if otherwise := made_otherwise(assignment.folder(), version):
                say(f"{', '.join(otherwise)} of {version.manifest.dataset}@{version.number}: {OTHERWISE}")
        wanted = set(keys) if keys else None
        lines = predict_rows(assignment, version, split=split, keys=wanted, task=task, stream=stream)
        if wanted and len(lines) < len(wanted):
            raise UsageError(f"{len(lines)} of the {len(wanted)} rows named by --key were found")
        if isinstance(place, Path):
            from diptych.training.unsaid import named_lines, unsaid_lines

            said = {str(line["id"]) for line in lines}
            lines = [*named_lines(version, stream, lines), *(unsaid_lines(version, stream, said) if not keys else ())]
        drawn = 0
        if pictures is not None:
            from diptych.training.looking import draw_lines

            drawn = draw_lines(assignment, task, version, stream, lines, pictures)
    return Said(lines, drawn)
