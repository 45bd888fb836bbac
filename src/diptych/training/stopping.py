"""When a session has to end before its run does: signals and the time it was given."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Stopper"]


class Stopper:
    """Turns SIGTERM and SIGINT into a wish that the loop looks at after each step; a second SIGINT ends at once.

    Outside the main thread (in a flow's task) signals stay as they are and only the time counts.
    """

    def __init__(self, max_hours: float | None = None, *, forward: bool = False) -> None:
        self._wish = ""
        self._until = None if max_hours is None else time.monotonic() + max_hours * 3600
        self._max_hours = max_hours
        self._forward = forward
        self._before: dict[int, Any] = {}

    @property
    def reason(self) -> str:
        """Why to stop now; empty to go on."""
        if not self._wish and self._until is not None and time.monotonic() >= self._until:
            self._wish = f"max_hours {self._max_hours:g} are over"
        return self._wish

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self._wish and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._wish = f"it was sent {signal.Signals(number).name}"
        for child in multiprocessing.active_children():  # SIGTERM reaches only this process; ranks want it, too
            if self._forward and child.pid and number == signal.SIGTERM:
                os.kill(child.pid, number)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
