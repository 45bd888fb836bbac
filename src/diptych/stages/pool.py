"""One pool of threads a process for decoding, and the pictures that several stages of a build share.

Pillow releases the interpreter lock while it decodes.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TypeVar

from PIL import Image

from diptych.imaging import ImageRefused, decode
from diptych.machine import cores

__all__ = ["decoded_once", "mapped", "set_threads", "sharing", "threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_THREADS = min(16, cores())
_PARTS = 4
"""Tasks a thread for one call: several items share a task's cost, and no thread waits long for the last one."""
SHARED_BYTES = 256 << 20
"""Decoded pictures kept for the other stages: some 280 of 640x480."""


def threads() -> int:
    """How many threads this process uses."""
    return _THREADS


def set_threads(count: int) -> None:
    """Use so many threads, 16 at most, in a process that shares the machine with others of its kind."""
    global _THREADS
    _THREADS = min(16, count)


def mapped(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``function`` of each item, in order; a single item is computed in the caller's thread."""
    if len(items) < 2:
        return [function(item) for item in items]
    size = max(1, len(items) // (_PARTS * _THREADS))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    made = _pool(os.getpid()).map(lambda some: [function(item) for item in some], parts)
    return [result for some in made for result in some]


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Keyed by process id, because threads do not survive a fork."""
    del process
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")


class _Pictures:
    """The last decoded pictures by their file's bytes; empty while no stages run side by side."""

    def __init__(self) -> None:
        self.users = self.bytes = self.decoded = 0
        self.lock = Lock()
        self.kept: OrderedDict[bytes, Image.Image | ImageRefused] = OrderedDict()

    def get(self, data: bytes) -> Image.Image | ImageRefused:
        with self.lock:
            if data in self.kept:
                self.kept.move_to_end(data)
                return self.kept[data]
        try:
            found: Image.Image | ImageRefused = decode(data)
        except ImageRefused as error:
            found = error
        with self.lock:
            self.decoded += 1
            if self.users and data not in self.kept:
                self.kept[data] = found
                self.bytes += _size(data, found)
                while self.bytes > SHARED_BYTES:
                    self.bytes -= _size(*self.kept.popitem(last=False))
        return found


_PICTURES = _Pictures()


def _size(data: bytes, found: Image.Image | ImageRefused) -> int:
    return len(data) + (3 * found.width * found.height if isinstance(found, Image.Image) else 0)


def decoded_once(data: bytes) -> Image.Image:
    """The picture at full size, not to be changed: of stages that run side by side only the first decodes it."""
    found = _PICTURES.get(data)
    if isinstance(found, ImageRefused):
        raise ImageRefused(found.code, str(found).removeprefix(f"{found.code}: "), found.value, found.limit)
    return found


@contextmanager
def sharing() -> Iterator[None]:
    """Keep decoded pictures while this is entered by anyone."""
    with _PICTURES.lock:
        _PICTURES.users += 1
    try:
        yield
    finally:
        with _PICTURES.lock:
            _PICTURES.users -= 1
            if not _PICTURES.users:
                _PICTURES.kept.clear()
                _PICTURES.bytes = 0
