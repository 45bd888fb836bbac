"""A toy stage that says in which process it computes, and can go wrong there; also a build of it to be killed:
``toy_crew.py ROOT SNAPSHOT NOTES``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))
import toy

from diptych import weights
from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.environment import variable
from diptych.exceptions import MissingExtra
from diptych.stage import Batch, Output, StageConfig
from diptych.stages import pool

RECIPE = toy.RECIPE.replace("shards: 4", "shards: 16").replace(
    "fits:", '  where: {use: "toy_crew:Where", notes: "NOTES", what: WHAT}\nfits:'
)


class Foreign(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class Where(toy.Toy):
    """A line a row in the file ``notes``: process, key, device, its share of the cores, a secret, the weights' folder.

    ``what`` goes wrong once the file has five rows, which two may find at once: nothing, kill or raise. ``foreign``:
    setting it up raises an error that cannot travel; ``slow``: a row takes its time.
    """

    name, key = "where", "document"
    inputs = ("words.words",)
    outputs = pa.schema([("count", pa.int32())])
    accelerator: ClassVar[bool] = True
    batch_size: ClassVar[int] = 1

    class Config(StageConfig):
        notes: str
        what: str = "nothing"

    config: Config

    def setup(self, device: str) -> None:
        self.device = device
        if self.config.what == "foreign":
            raise Foreign("from", "afar")

    def row(self, batch: Batch, i: int, output: Output) -> None:
        notes = Path(self.config.notes)
        done = len(notes.read_text().splitlines()) if notes.exists() else 0
        if self.config.what == "slow":
            time.sleep(0.15)
        elif done >= 5 and not notes.with_suffix(".again").exists():
            notes.with_suffix(".again").touch()
            if self.config.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.config.what == "raise":
                raise MissingExtra("tea", "kettle")
        with notes.open("a") as file:
            said = f"{os.getpid()} {batch.keys[i]} {self.device} {pool._THREADS} {variable('SECRET')} {weights.cache()}"
            file.write(said + "\n")
        output.set(i, count=len(batch["words.words"][i]))


def recipe(notes: Path, what: str = "nothing") -> str:
    """The toy recipe with this stage."""
    return RECIPE.replace("NOTES", str(notes)).replace("WHAT", what)


if __name__ == "__main__":
    root, snapshot, notes = sys.argv[1:4]
    build(recipe(Path(notes), "slow"), root, BuildOptions(processes=2), snapshot=snapshot)
