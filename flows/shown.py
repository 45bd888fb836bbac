"""What the UI shows while a build runs: a bar, a line a stage, each failed row by name, the table of stages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed

from diptych.engine.build import BuildReport
from diptych.engine.context import BuildContext, Progress, graph_of
from diptych.engine.diagnosis import failed_rows
from diptych.storage.parts import groups
from diptych.storage.snapshot import read_snapshot

__all__ = ["Shown", "show_compared"]

EVERY_S = 2.0
"""Seconds between two updates of the bar: each is a request."""
LISTED = 200
"""Rows that differ after they were computed again, in their table."""
NAMED = 20
"""Failed rows of a stage that the log names."""
ROWS = ("ok", "rejected", "skipped", "failed_transient", "failed_permanent")


class Shown:
    """One build; the bar counts stages and fits times groups of shards."""

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self._graph = graph_of(context.recipe, context.build)
        self._total = max(1, len(self._graph.nodes) * len(groups(context.shards)))
        self._steps = 0
        self._last = 0.0
        self._log = get_run_logger()
        self._chunks: dict[str, dict[int, str]] = {}
        """Of each stage, by group."""
        self._ended: dict[str, Progress] = {}
        made = create_progress_artifact(0.0, key="build-progress", description=f"{context.dataset}: begun")
        assert isinstance(made, UUID)
        self._bar = made

    def collect(self, futures: Iterable[PrefectFuture[list[Progress]]]) -> list[Progress]:
        """What tasks give, as they end, which moves the bar; raises at once what the first one raised that failed."""
        found: list[Progress] = []
        for future in as_completed(list(futures)):
            for progress in future.result():
                found.append(progress)
                self._steps += 1
                self._chunks.setdefault(progress.name, {})[progress.group] = progress.chunk
                self._move(f"{progress.name}, group {progress.group + 1}")
        return found

    def ended(self, progress: Progress) -> None:
        """A stage or fit is done: its line, and which of its rows failed and why."""
        self._ended[progress.name] = progress
        unit = "rows" if progress.kind == "stage" else "shards"
        other = ", ".join(f"{n} {s}" for s, n in progress.counts.items() if n and s != "ok")
        self._log.info(
            "%s: %d rows, %d %s computed, %d reused, %.1f s%s",
            progress.name, progress.rows, progress.computed, unit, progress.reused, progress.seconds,
            f"; {other}" if other else "",
        )  # fmt: skip
        failed = sum(n for status, n in progress.counts.items() if status.startswith("failed"))
        if failed:
            self._name_failures(progress.name, failed)

    def _name_failures(self, name: str, failed: int) -> None:
        context, stage = self._context, self._graph[name].stage
        assert stage is not None
        snapshot = read_snapshot(context.store(), context.snapshot)
        chunks = [chunk for _, chunk in sorted(self._chunks.get(name, {}).items())]
        for row in failed_rows(context.store(), name, stage.key, chunks, snapshot, context.shards, NAMED):
            self._log.warning("%s", row)
        if failed > NAMED:
            self._log.warning("%s: %d more rows failed; the report shows all", name, failed - NAMED)

    def close(self, outcome: str) -> None:
        """The last word: the full bar and the table of stages, also of a build that failed."""
        done = 100.0 if outcome else 100.0 * self._steps / self._total
        update_progress_artifact(self._bar, done, description=f"{self._context.dataset}: {outcome or 'ended early'}")
        rows = [_row(p) for p in self._ended.values()]
        if rows:
            create_table_artifact(
                table=rows, key="build-table", description=f"{self._context.dataset}: {outcome or 'not committed'}"
            )

    def _move(self, what: str) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY_S:
            self._last = now
            update_progress_artifact(
                self._bar,
                min(99.0, 100.0 * self._steps / self._total),
                description=f"{self._context.dataset}: {self._steps} of about {self._total} steps; last: {what}",
            )


def show_compared(report: BuildReport) -> Counter[str]:
    """The table of rows that were computed again although they were there, those that differ by name; counts."""
    outcome, rows = Counter[str](), []
    for progress in report.progress.values():
        for key, what, columns in progress.compared:
            outcome[what] += 1
            if what not in ("equal", "new") and len(rows) < LISTED:
                rows.append({"stage": progress.name, "row": key, "outcome": what, "columns": columns})
    counts = ", ".join(f"{n} {what}" for what, n in outcome.items()) or "no row was named"
    said = f"{report.dataset}: {counts}; {report.committed.reason}"
    create_table_artifact(
        table=rows or [{"outcome": w, "rows": n} for w, n in outcome.items()], key="rebuilt-rows", description=said
    )
    get_run_logger().info("%s", said)
    return outcome


def _row(p: Progress) -> dict[str, str | int | float]:
    failed = sum(n for status, n in p.counts.items() if status.startswith("failed"))
    return {
        "stage": p.name if p.kind == "stage" else f"{p.name} (fit; shards)",
        "computed": p.computed,
        "reused": p.reused,
        "failed": failed,
        "rows": p.rows,
        "ok": p.counts.get("ok", 0),
        "rejected": p.counts.get("rejected", 0),
        "skipped": p.counts.get("skipped", 0),
        "seconds": round(p.seconds, 1),
        "bytes written": p.bytes_written,
    }
