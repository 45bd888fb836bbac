"""The papers' recipes with their light stages alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from diptych.stage import Batch, Output, Stage
from diptych.version import Version

DATASETS = Path(__file__).resolve().parents[3] / "datasets"
LIGHT = frozenset(
    "clean clean_text clean_pairs sentences relevance_scores relevance votes pair_votes best_image entities".split()
)
"""Stages that need no network of their own; what reads others is left out with them."""
Built = Callable[[str], Version]
"""A recipe's name to the version of its light stages."""


def only(text: str, stages: Collection[str], fits: Collection[str]) -> str:
    """A recipe with some of its stages and fits."""
    raw: dict[str, Any] = yaml.safe_load(text)
    for part, names in (("stages", stages), ("fits", fits)):
        raw[part] = {name: settings for name, settings in raw[part].items() if name in names}
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


class Relayed(Stage):
    """The length of what OCR read in a picture: a stage that depends on OCR alone."""

    name, version = "relayed", 1
    key = "image"
    inputs = ("ocr.text",)
    outputs = pa.schema([pa.field("length", pa.int32())])

    def process(self, batch: Batch) -> Output:
        """Count characters."""
        out = batch.output()
        for row, text in enumerate(batch["ocr.text"]):
            out.set(row, length=len(text or ""))
        return out
