"""A person's approval in the Prefect UI: the flow waits before it publishes; the form shows what it would publish."""

from __future__ import annotations

from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from diptych.engine.context import BuildContext
from diptych.engine.drive import Finished
from diptych.exceptions import NothingCommitted

__all__ = ["Approval", "ask_to_publish"]

POLL_S = 5
"""Seconds between two looks at the answer, where the process has to wait for it."""


class Approval(RunInput):
    """The form that opens with the button Resume."""

    publish: bool = Field(default=False, description="publish this version")
    note: str = Field(default="", max_length=2000, description="why, or why not")


def ask_to_publish(context: BuildContext, finished: Finished, days: int) -> None:
    """Wait until somebody approves; :class:`NothingCommitted` when it is declined, its segments stay.

    A deployment's run is suspended: its process ends, and after the answer the flow runs again, finds every finished
    segment, and goes on here. An answer belongs to this snapshot on this parent: others are asked for again.
    """
    rows = [f"| {p.name} | {p.rows} | {p.computed} | {p.reused} |" for p in finished.progress.values()]
    shown = "\n".join(
        [f"Publish a version of **{context.dataset}** (snapshot {context.snapshot[:12]})?", "",
         "| stage | rows | computed | reused |", "| --- | --- | --- | --- |", *rows]
    )  # fmt: skip
    form = Approval.with_initial_data(description=shown)
    key, seconds = f"publish-{context.snapshot[:16]}-{context.head}", days * 86_400
    if deployment.id:
        answer = suspend_flow_run(wait_for_input=form, key=key, timeout=seconds)
    else:
        answer = pause_flow_run(wait_for_input=form, key=key, timeout=seconds, poll_interval=POLL_S)
    if not answer.publish:
        reason = f": {answer.note}" if answer.note else ""
        raise NothingCommitted(f"dataset {context.dataset}: publishing was declined{reason}; the segments stay")
