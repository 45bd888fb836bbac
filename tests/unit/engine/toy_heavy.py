"""Toy stages that count how often they are set up, and how many of them are loaded."""

from __future__ import annotations

import threading
from collections import Counter
from typing import ClassVar

import pyarrow as pa

from diptych.stage import Batch, Output, Stage

SET_UP: Counter[str] = Counter()
LOADED: Counter[str] = Counter()
MOST: list[int] = []
"""How many were loaded after each set-up."""
LOCK = threading.Lock()
NAMES = ("one", "two", "three", "four", "five")


class Heavy(Stage):
    version, key = 1, "document"
    inputs, fetched = ("documents.text",), True
    outputs = pa.schema([("length", pa.int32())])
    batch_size: ClassVar[int] = 2

    def setup(self, device: str) -> None:
        with LOCK:
            SET_UP[self.name] += 1
            LOADED[self.name] += 1
            MOST.append(LOADED.total())

    def process(self, batch: Batch) -> Output:
        output = batch.output()
        for row, text in enumerate(batch["documents.text"]):
            output.set(row, length=len(text))
        return output

    def close(self) -> None:
        with LOCK:
            LOADED[self.name] -= 1


class One(Heavy):
    name = "one"


class Two(Heavy):
    name = "two"


class Three(Heavy):
    name = "three"


class Four(Heavy):
    name = "four"


class Five(Heavy):
    name = "five"


RECIPE = "name: toy\nsources: [{kind: folder, name: toy, path: .}]\nshards: 8\nstages:\n" + "".join(
    f'  {name}: {{use: "toy_heavy:{name.title()}"}}\n' for name in NAMES
)
