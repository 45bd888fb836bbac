"""On a processor a network sees each row alone and on one thread, so that nothing else decides its last digits.

How many rows share a matrix product and how many threads share a sum decide in which order numbers are added. Alone,
a row's values are the same in any batch, beside any other rows, with any number of threads. As many rows as torch has
threads go side by side, which takes no longer than all threads on one batch. An accelerator takes batches: its values
are equal within a stage's tolerance.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Lock, Thread, local
from typing import TypeVar

__all__ = ["alone", "is_processor", "side_by_side"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_processor(device: str) -> bool:
    """Whether a network on this device sees each row alone."""
    return device.partition(":")[0] == "cpu"


def side_by_side(function: Callable[[Item], Result], items: Iterable[Item], *, most: int | None = None) -> list[Result]:
    """``function`` of each item, in order, each on a thread for which torch has one thread.

    As many at once as torch has threads where this is called, or at most ``most``. What torch keeps by thread
    (inference mode, autocast) has to be entered inside ``function``.
    """
    import torch

    if getattr(_HERE, "alone", False):  # inside another one's item
        return [function(item) for item in items]
    threads = torch.get_num_threads()
    waiting: list[Future[Result]] = []
    try:
        pool = _pool(max(1, min(threads, most or threads)))
        waiting += [pool.submit(function, item) for item in items]
        return [future.result() for future in waiting]
    finally:
        for future in waiting:  # after an error
            future.cancel()


def alone(function: Callable[[], Result]) -> Result:
    """``function()`` on such a thread."""
    return side_by_side(lambda _: function(), [None])[0]


_HERE, _LOCK = local(), Lock()
_POOLS: dict[tuple[int, int], ThreadPoolExecutor] = {}
"""By process, because threads do not survive a fork, and by size."""
_GIVEN_BACK = 31 << 20
"""Bytes. After a block of that size was freed, glibc gives memory back to the system only from twice as much on; else
it did so after every layer, and a picture's pass had 3,000 page faults, a fifth of its time."""


def _pool(size: int) -> ThreadPoolExecutor:
    """Threads that torch gives one thread each, for good; all of them stand when this returns.

    ``torch.set_num_threads`` is for the thread that calls it and for all that torch has not yet met: the number for
    those is put back.
    """
    import torch

    with _LOCK:
        name = os.getpid(), size
        if name not in _POOLS:
            pool = ThreadPoolExecutor(size, thread_name_prefix="alone")
            met = Barrier(size)

            def become_alone() -> None:
                torch.set_num_threads(1)
                torch.get_num_threads()  # now torch has met this thread
                _HERE.alone = True
                met.wait()

            def make() -> None:
                before = torch.get_num_threads()  # a thread that torch meets now: the number for those
                for future in [pool.submit(become_alone) for _ in range(size)]:
                    future.result()
                torch.set_num_threads(before)
                torch.empty(_GIVEN_BACK, dtype=torch.uint8)

            maker = Thread(target=make)
            maker.start()
            maker.join()
            _POOLS[name] = pool
        return _POOLS[name]
