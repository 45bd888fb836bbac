"""Several OCR processes of one thread each, which read pictures side by side.

One process with all cores as threads is slower, and what it reads depends in the last digits on their number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from diptych.machine import memory
from diptych.stages.ocr_engine import OcrProcess
from diptych.stages.pool import threads

__all__ = ["OcrProcesses"]

Item = TypeVar("Item")
Result = TypeVar("Result")
ENOUGH = 100
"""Pictures that one reads before others are started: a start takes as long as 40 pictures."""
BYTES = 2 << 30
"""Free memory for each: it takes 0.64 GiB of its own, and may not be alone in growing."""


class OcrProcesses:
    """The first one starts with the first picture, the others after ``ENOUGH``: as many as cores and memory bear."""

    def __init__(self, make: Callable[[], OcrProcess]) -> None:
        self._make = make
        self.each = [make()]
        self._grown = False

    def map(self, function: Callable[[OcrProcess, Item], Result], items: Sequence[Item]) -> list[Result]:
        """``function`` of each item with a process that is free, in order; raises what it raised, the others end."""
        if not self._grown and sum(process.pictures for process in self.each) >= ENOUGH:
            free = memory()
            most = max(1, free[0] // BYTES) if free else threads()
            self.each += [self._make() for _ in range(min(threads(), most) - 1)]
            self._grown = True
        left, found = deque(enumerate(items)), dict[int, Result]()

        def take() -> tuple[int, Item] | None:
            try:
                return left.popleft()
            except IndexError:
                return None

        def work(process: OcrProcess) -> None:
            try:
                while (taken := take()) is not None:
                    number, item = taken
                    found[number] = function(process, item)
            finally:
                left.clear()  # after an error

        if len(self.each) == 1:
            work(self.each[0])
        else:
            with ThreadPoolExecutor(len(self.each), thread_name_prefix="ocr") as pool:
                try:
                    list(pool.map(work, self.each))
                finally:
                    left.clear()  # after Control-C
        return [found[number] for number in range(len(items))]

    def close(self) -> None:
        """End all of them."""
        for process in self.each:
            process.close()
