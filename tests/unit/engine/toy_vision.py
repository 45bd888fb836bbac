"""Toy stages that look at pictures: two for an accelerator, which share their pictures, and what can go wrong."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from diptych.stage import Batch, Output, Stage, Tensor
from diptych.stages.pixels_input import accepted, decoded

SIZES: list[int] = []
"""Rows of each call of ``Mean.process``."""
THREADS: set[tuple[str, str]] = set()
"""(what, name of the thread)."""
ROOM = [0]
"""Rows that fit into memory at once; 0: any number."""
GREEDY: set[str] = set()
"""Rows that never fit into memory."""


def png(width: int, seed: int) -> bytes:
    """A picture 8 pixels high."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


RAISED: list[type[Exception]] = [OutOfMemoryError]
"""What a batch that does not fit raises: torch on a device, torch on a host, Python."""


class Vision(Stage):
    version, key = 1, "image"
    inputs = ("images.bytes",)
    accelerator: ClassVar[bool] = True

    def prepare(self, batch: Batch) -> Sequence[Any]:
        THREADS.add(("prepare", threading.current_thread().name.partition("_")[0]))
        return decoded(batch["images.bytes"], self.look)

    def look(self, image: Image.Image) -> Any:
        raise AssertionError


class Mean(Vision):
    """Mean colour of a picture."""

    name, batch_size = "mean", 8
    outputs = pa.schema([("red", pa.float32())])
    tensors: ClassVar = {"colour": Tensor("float16", (3,))}

    def look(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image).mean(axis=(0, 1))

    def process(self, batch: Batch) -> Output:
        SIZES.append(len(batch))
        THREADS.add(("process", threading.current_thread().name.partition("_")[0]))
        if (ROOM[0] and len(batch) > ROOM[0]) or GREEDY & set(batch.keys):
            raise RAISED[0](f"DefaultCPUAllocator: can't allocate memory for {len(batch)} rows")
        out = batch.output()
        for row, colour in accepted(out, batch.ready()).items():
            out.set(row, red=float(colour[0]), colour=colour.astype(np.float16))
        return out


class Shape(Vision):
    """Width of a picture; one that is 13 pixels wide breaks the stage."""

    name, batch_size = "shape", 3
    outputs = pa.schema([("width", pa.int32())])

    def look(self, image: Image.Image) -> int:
        if image.width == 13:
            raise ValueError("thirteen")
        return image.width

    def process(self, batch: Batch) -> Output:
        out = batch.output()
        for row, width in accepted(out, batch.ready()).items():
            out.set(row, width=width)
        return out
