"""Worker processes end with the process that began them, however that one ends."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import connection
from threading import Thread

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """Called in a worker process: from now on it is gone as soon as its parent is."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent.sentinel,), name="parent", daemon=True).start()


def _end_with(parent: int) -> None:
    connection.wait([parent])
    os._exit(1)
