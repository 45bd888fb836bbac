"""One pool of threads a process for decoding: Pillow releases the interpreter lock while it decodes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

__all__ = ["mapped"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``function`` of each item, in order; a single item is computed in the caller's thread."""
    if len(items) < 2:
        return [function(item) for item in items]
    return list(_pool(os.getpid()).map(function, items))


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Keyed by process id, because threads do not survive a fork."""
    del process
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="decode")
