"""Which documents are kept beside the others: no second copy of a text.

=========================  ==========================================  ===========
rule                       value                                       threshold
=========================  ==========================================  ===========
``near_duplicate_text``    estimated share of common word triples      -
=========================  ==========================================  ===========

The longest text of a group is kept (:mod:`diptych.fits.near_duplicate_texts`).
"""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from diptych.stage import Batch, Output, RowState, Stage, StageConfig, Status

__all__ = ["CleanDocuments", "CleanDocumentsConfig"]


class CleanDocumentsConfig(StageConfig):
    """Which rules apply."""

    near_duplicate_text: bool = Field(True, description="refuse a text that nearly equals a longer one")


class CleanDocuments(Stage):
    """Decides on each document beside all others."""

    name, version = "clean_documents", 1
    key = "document"
    inputs = (
        "near_duplicate_texts.group",
        "near_duplicate_texts.duplicate_of",
        "near_duplicate_texts.similarity",
    )
    outputs = pa.schema([pa.field("group", pa.string(), metadata={"doc": "near-duplicate texts: smallest record id"})])
    Config = CleanDocumentsConfig
    config: CleanDocumentsConfig
    fetched: ClassVar[bool] = True
    gate: ClassVar[bool] = True
    batch_size = 1024

    def process(self, batch: Batch) -> Output:
        """Every row has its group; the rule gives the reason."""
        out = batch.output()
        for row in range(len(batch)):
            out.set(row, group=batch["near_duplicate_texts.group"][row])
            other = batch["near_duplicate_texts.duplicate_of"][row]
            if self.config.near_duplicate_text and other is not None:
                similarity = batch["near_duplicate_texts.similarity"][row]
                text = f"nearly the same text as {other}"
                out.states[row] = RowState(Status.REJECTED, "near_duplicate_text", text, similarity)
        return out
