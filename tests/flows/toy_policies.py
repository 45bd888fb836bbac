"""Stages for the tests of policies: one whose memory is small, one that is slow, one some of whose rows fail."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from diptych.exceptions import StageError
from diptych.stage import Batch, Output, Stage, StageConfig

SEEN: list[int] = []
"""Sizes of the batches that fitted into memory."""


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class Narrow(Stage):
    """An accelerator stage that takes two rows at a time."""

    name, version, key = "narrow", 1, "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([pa.field("size", pa.int64())])
    accelerator: ClassVar[bool] = True
    batch_size = 16

    def process(self, batch: Batch) -> Output:
        if len(batch) > 2:
            raise OutOfMemoryError("CUDA out of memory")
        SEEN.append(len(batch))
        output = batch.output()
        for row, data in enumerate(batch["images.bytes"]):
            output.set(row, size=len(data))
        return output


class Slow(Stage):
    """A stage that takes its time; each row that begins is a line of the marker file."""

    class Config(StageConfig):
        """How long a row takes, and where it says that it began."""

        seconds: float = 60.0
        marker: str = ""

    config: Config
    name, version, key = "slow", 1, "document"
    inputs = ("documents.text",)
    outputs = pa.schema([pa.field("length", pa.int64())])
    batch_size = 1

    def process(self, batch: Batch) -> Output:
        output = batch.output()
        if self.config.marker:
            with Path(self.config.marker).open("a") as file:
                file.write("a row\n")
        for row, text in enumerate(batch["documents.text"]):
            end = time.monotonic() + self.config.seconds
            while time.monotonic() < end:
                time.sleep(0.02)
            output.set(row, length=len(text))
        return output


class SlowFar(Slow):
    """The same on an accelerator, where threads compute what the task waits for."""

    name = "slow_far"
    accelerator: ClassVar[bool] = True


class Wrong(Stage):
    """Has a bug, which shows when a slow stage's first row has begun."""

    class Config(StageConfig):
        """Where that says so."""

        marker: str

    config: Config
    name, version, key = "wrong", 1, "document"
    inputs = ("documents.text",)
    outputs = pa.schema([pa.field("length", pa.int64())])

    def process(self, batch: Batch) -> Output:
        until = time.monotonic() + 60
        while not Path(self.config.marker).exists() and time.monotonic() < until:
            time.sleep(0.02)
        raise StageError("stage wrong: a bug")


class Broken(Stage):
    """Every third text cannot be read."""

    name, version, key = "broken", 1, "document"
    inputs = ("documents.text",)
    outputs = pa.schema([pa.field("length", pa.int64())])

    def process(self, batch: Batch) -> Output:
        output = batch.output()
        for row, text in enumerate(batch["documents.text"]):
            if sum(text.encode()) % 3:
                output.set(row, length=len(text))
            else:
                output.fail(row, "unreadable", f"the text of {len(text)} characters cannot be read")
        return output
