"""What of the machine this process may use: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cores", "memory"]


def cores() -> int:
    """Those it is allowed to run on, else all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> tuple[int, int] | None:
    """Bytes that are free or can be freed, and all; None on another system than Linux."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10, int(lines["MemTotal"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None
