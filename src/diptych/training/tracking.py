"""What a run says while it runs: a bar on a terminal, plain lines elsewhere, TensorBoard events in its folder."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diptych.storage.root import LocalRoot
from diptych.training.checkpoint import EpochLog
from diptych.training.folder import RunFolder
from diptych.training.phase import Phase

__all__ = ["Reporter", "duration"]

COST_AFTER = 20
"""Steps after which the run says what the rest will cost."""
WARM_UP = 5
"""Steps that are not counted for that."""


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Reporter:
    """Speaks for one process; without a folder (every rank but the first) it is silent."""

    def __init__(self, folder: RunFolder | None, tensorboard: bool, say: Callable[[str], None] | None) -> None:
        self._folder = folder
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
        self._tensorboard = tensorboard and folder is not None
        self._writer: Any = None
        self._events: Path | None = None
        self._bar: Any = None
        self._task: Any = None
        self._steps = 0
        self._last: float | None = None
        self._counted = 0
        self._seconds = 0.0
        self._phase: Phase | None = None
        self._left = 0

    def say(self, text: str) -> None:
        """One line."""
        if self._folder is None:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            self._say(text)

    def start(self, step: int) -> None:
        """The run begins, or goes on after a step."""
        if self._folder is None:
            return
        if self._tensorboard and importlib.util.find_spec("tensorboard") is None:
            self.say("no TensorBoard events: pip install 'diptych[tracking]'")
        elif self._tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            home = self._folder.home
            self._events = home.scratch("events")
            self._writer = SummaryWriter(str(self._events), purge_step=step)

    def epoch(self, phase: Phase, epoch: int, steps: int, left: int) -> None:
        """An epoch of so many steps begins, or goes on with those that are left."""
        if self._folder is None:
            return
        self._phase = phase
        self._left = left + (phase.epochs - epoch - 1) * steps
        self._last = None  # what lies between epochs is no step
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            name = f"{phase.name} {epoch + 1}/{phase.epochs}"
            self._task = self._bar.add_task(name, total=steps, completed=steps - left)

    def step(self, step: int) -> None:
        """A step was taken."""
        if self._folder is None:
            return
        self._steps += 1
        self._left -= 1
        if self._bar is not None:
            self._bar.advance(self._task)
        now = time.monotonic()
        if self._last is not None and self._steps > WARM_UP:
            self._seconds += now - self._last
            self._counted += 1
        self._last = now
        if self._steps == COST_AFTER and self._counted and self._phase is not None:
            each = self._seconds / self._counted
            seconds = each * max(0, self._left)
            done = time.strftime("%H:%M", time.localtime(time.time() + seconds))
            self.say(
                f"{each:.3f} s a step: phase {self._phase.name} takes at most {duration(seconds)} more, until {done} "
                "(without its passes over dev; fewer epochs when dev stalls)"
            )

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Values of a step for TensorBoard."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def finished(self, entry: EpochLog, step: int, monitored: str, best: bool) -> None:
        """An epoch has ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        value = entry.dev.get(monitored)
        dev = "" if value is None else f"  dev {monitored} {value:.4g}{' (best)' if best else ''}"
        self.say(f"{entry.phase} epoch {entry.epoch + 1}: loss {entry.train.get('loss', float('nan')):.4g}{dev}")
        self.scalars({f"{entry.phase}/train/{name}": value for name, value in entry.train.items()}, step)
        self.scalars({f"{entry.phase}/dev/{name}": value for name, value in entry.dev.items()}, step)
        self.scalars({f"{entry.phase}/lr": entry.lr}, step)

    def close(self) -> None:
        """Complete the events; a bucket gets them now."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._writer is None or self._folder is None or self._events is None:
            return
        self._writer.close()
        self._writer = None
        if not isinstance(self._folder.home, LocalRoot):
            for file in sorted(self._events.iterdir()):
                self._folder.home.put(f"events/{file.name}", file.read_bytes())
