"""What the study costs: seconds of the clock and of the processors, kept beside what they were spent on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ledger", "Spent", "measured"]


@dataclass
class Spent:
    """Seconds; ``processor`` is of this process and of its children that have ended, user and system."""

    clock: float = 0.0
    processor: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.clock + other.clock, self.processor + other.processor)

    def text(self) -> str:
        """As ``12 s of processor, 30 s of clock``."""
        return f"{self.processor:,.0f} s of processor, {self.clock:,.0f} s of clock"


@contextmanager
def measured() -> Iterator[Spent]:
    """What the block costs; the figures are there when it ends, however it ends."""
    spent, start, used = Spent(), time.perf_counter(), _processor()
    try:
        yield spent
    finally:
        spent.clock, spent.processor = time.perf_counter() - start, _processor() - used


def _processor() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class Ledger:
    """A JSON file of purposes and what was spent on each; every session adds to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[str, Spent]:
        """In the order in which the purposes came up."""
        if not self._path.exists():
            return {}
        return {name: Spent(**entry) for name, entry in json.loads(self._path.read_text(encoding="utf-8")).items()}

    @contextmanager
    def on(self, purpose: str) -> Iterator[None]:
        """Add what the block costs, however it ends."""
        spent = Spent()
        try:
            with measured() as spent:
                yield
        finally:
            self.add(purpose, spent)

    def add(self, purpose: str, spent: Spent) -> None:
        """Add to a purpose."""
        found = dict(self.read())
        found[purpose] = found.get(purpose, Spent()) + spent
        plain = {name: {"clock": s.clock, "processor": s.processor} for name, s in found.items()}
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self._path)
