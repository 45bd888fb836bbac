"""The processes that read ahead: a signal to all processes leaves them to the loop, which ends its step with them.

Prefect's Cancel, ``timeout`` and systemd send SIGTERM, a terminal SIGINT, to every process of a run. Readers that ended
at once would take the batch along that the loop waits for, and with it the checkpoint.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from functools import cache
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerProcess

from diptych.processes import end_with_parent

__all__ = ["begin_reader", "start_fork_server"]


def start_fork_server(preload: Sequence[str]) -> None:
    """Start the process that readers are forked from, with these modules, unless it runs; both do not heed signals."""
    multiprocessing.set_forkserver_preload(list(preload))
    resource_tracker.ensure_running()  # it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # inherited
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _end_at_exit()


@cache
def _end_at_exit() -> None:
    """At its exit Python ends what is left of them with SIGTERM, and then waits for them."""
    util.Finalize(None, _kill_readers, exitpriority=10)


def _kill_readers() -> None:
    for process in multiprocessing.active_children():
        if isinstance(process, ForkServerProcess):
            process.kill()


def begin_reader(number: int) -> None:
    """Called once in each reader."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where another module had started the fork server
    end_with_parent()
