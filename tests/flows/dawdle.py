"""A stage that takes its time where ``DAWDLE`` names a folder, and notes there which process asked for which row."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pyarrow as pa

from diptych.stage import Batch, Output, Stage


class Dawdle(Stage):
    """The length of a document's text."""

    name, version, key = "dawdle", 1, "document"
    inputs = ("documents.text",)
    outputs = pa.schema([("length", pa.int64())])
    batch_size = 1

    def process(self, batch: Batch) -> Output:
        output = batch.output()
        folder = os.environ.get("DAWDLE")
        for i, text in enumerate(batch["documents.text"]):
            if folder:
                (Path(folder) / f"{os.getppid()} {os.getpid()} {batch.keys[i]} {uuid.uuid4().hex}").touch()
                time.sleep(0.3)
            output.set(i, length=len(text))
        return output
