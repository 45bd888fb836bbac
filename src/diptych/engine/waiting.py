"""Waiting for other threads and processes so that a task's time limit is noticed.

A limit is an exception that another thread raises in the task's (``PyThreadState_SetAsyncExc``), which comes when that
thread executes Python again: one that waits for a lock without end would meet it when all is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from typing import TypeVar

__all__ = ["results"]

Result = TypeVar("Result")
_NOTICE_S = 0.5


def results(futures: Iterable[Future[Result]]) -> Iterator[Result]:
    """What each of them comes to, in order; an exception raised in the waiting thread is met within half a second."""
    for future in futures:
        while not future.done():
            wait([future], _NOTICE_S)
        yield future.result()
