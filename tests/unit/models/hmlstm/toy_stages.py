"""Stages that give the samples of ``samples.py`` to a real build: no weights, no parser."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from samples import brackets, sample

from diptych.models.parser.flat import flatten
from diptych.models.parser.tree import read_brackets
from diptych.stage import Batch, Output, Stage, Tensor
from diptych.stages.parse import Parse

COUNT = 18
TREES = {" ".join(read_brackets(line).leaves()): line for n in range(COUNT) for line in brackets(n)}


class ToyParse(Stage):
    name, version, key = "parse", 1, "sentence"
    inputs = ("sentence.text",)
    outputs = Parse.outputs

    def process(self, batch: Batch) -> Output:
        out = batch.output()
        for row, text in enumerate(batch["sentence.text"]):
            tree = read_brackets(TREES[text])
            flat = flatten(tree, tree.leaves())
            arrays = {n: list(getattr(flat, n)) for n in ("parent", "label", "start", "end", "noun_phrase")}
            out.set(row, language="en", words=tree.leaves(), bracket=TREES[text], parsed=True, **arrays)
        return out


class ToyFc7(Stage):
    name, version, key = "fc7", 1, "pair"
    inputs = ("pairs.caption",)
    outputs = pa.schema([("boxes", pa.list_(pa.list_(pa.float32()))), ("kinds", pa.list_(pa.string()))])
    tensors: ClassVar = {"features": Tensor("float16", (None, 20))}

    def process(self, batch: Batch) -> Output:
        out = batch.output()
        known: dict[str, dict[str, Any]] = {s["pairs.caption"]: s for s in map(sample, range(COUNT))}
        for row, caption in enumerate(batch["pairs.caption"]):
            mine = known[caption]
            out.set(row, boxes=mine["fc7.boxes"], kinds=mine["fc7.kinds"], features=mine["fc7.features"])
        return out
