"""Devices of a build: which ones are meant, and on which of them the next shard runs.

``cuda:0,cuda:1`` names two, ``cuda:*`` all of this machine. Every shard of an accelerator stage runs on one device,
the one with fewest shards at work; each device has the network once. One process drives them all: where the
interpreter itself becomes the limit, worker processes (``crew.py``), which share the devices out, go further.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from diptych.exceptions import UsageError

__all__ = ["DEVICES_PATTERN", "Place", "Places", "check_devices", "device_names", "one_device", "places"]

DEVICES_PATTERN = r"^(cuda:\*|[a-z]+(:\d+)?(,[a-z]+(:\d+)?)*)$"
"""What an option of a build may say; also for the forms of the flows."""


@dataclass(frozen=True)
class Place:
    """Where a stage runs, and how: one loaded network."""

    device: str
    """As torch names it."""
    number: int = 0
    """Of those with the same name: ``cpu,cpu`` are two places."""
    compiled: bool = False
    """Whether networks go through torch.compile."""

    @property
    def accelerator(self) -> bool:
        """Whether it is something else than the processor that also decodes and writes."""
        return not self.device.startswith("cpu")


def device_names(text: str) -> tuple[str, ...]:
    """The devices that ``--device`` means, in order; :class:`UsageError` when it means none."""
    if not re.fullmatch(DEVICES_PATTERN, text):
        raise UsageError(
            f"device {text!r}: expected cpu, cuda, mps, cuda:0, several as cuda:0,cuda:1, or cuda:* for all"
        )
    if text != "cuda:*":
        return tuple(text.split(","))
    count = _cuda_devices()
    if not count:
        raise UsageError("device cuda:*: this machine has no CUDA device; `diptych doctor` says what it has")
    return tuple(f"cuda:{n}" for n in range(count))


def check_devices(text: str) -> None:
    """Raise :class:`UsageError` when this machine lacks a device that is named, or torch cannot use it."""
    names = [n for n in device_names(text) if n != "cpu"]
    count = _cuda_devices() if names else 0
    for name in names:
        if not name.startswith("cuda"):
            _try(name)
        elif int(name.partition(":")[2] or 0) >= count:
            have = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0" if count else "no CUDA device"
            raise UsageError(f"device {name}: this machine has {have}; `diptych doctor` says what it has")


def one_device(text: str) -> str:
    """The device of a command that uses one; :class:`UsageError` when it is several or this machine lacks it."""
    check_devices(text)
    names = device_names(text)
    if len(names) != 1:
        raise UsageError(f"device {text!r}: this command uses one device, found {len(names)}; name one of them")
    return names[0]


def _try(name: str) -> None:
    """Raise :class:`UsageError` when nothing can be put on this device and taken back."""
    try:
        import torch

        torch.zeros(1, device=name).cpu()
    except Exception as error:  # each kind of device has its own way to say so
        said = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UsageError(
            f"device {name}: torch cannot use it here ({said}); `diptych doctor` says what it can"
        ) from error


def _cuda_devices() -> int:
    try:
        import torch
    except ImportError:
        return 0
    return torch.cuda.device_count()


def places(text: str, *, compiled: bool = False) -> tuple[Place, ...]:
    """One place a device; a device that is named twice has two."""
    seen: Counter[str] = Counter()
    found = []
    for name in device_names(text):
        found.append(Place(name, seen[name], compiled))
        seen[name] += 1
    return tuple(found)


class Places:
    """Deals shards out to places, over all builds of this process."""

    def __init__(self) -> None:
        self._busy: Counter[Place] = Counter()
        self._lock = Lock()

    @contextmanager
    def one_of(self, some: Sequence[Place]) -> Iterator[Place]:
        """The place with fewest shards at work, the first among equals; held until the end of the block."""
        with self._lock:
            place = min(some, key=lambda p: self._busy[p])
            self._busy[place] += 1
        try:
            yield place
        finally:
            with self._lock:
                self._busy[place] -= 1
