"""How often each token occurs in the training documents: the base of every vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from diptych.fit import Fit
from diptych.fits.vocabulary import count_table, frequent, merged, word_counts
from diptych.stage import StageConfig

__all__ = ["WordCounts", "WordCountsConfig"]


class WordCountsConfig(StageConfig):
    """What is counted."""

    min_count: int = Field(1, ge=1, description="rarer words are left out")
    lower_case: bool = Field(True, description="count The and the together")


class WordCounts(Fit):
    """Words by descending count, then by code point; rows hold text, never ids."""

    name, version = "word_counts", 1
    rows = "document"
    inputs = ("sentences.items",)
    outputs = pa.schema([pa.field("word", pa.string()), pa.field("count", pa.int64())])
    on = "train"
    refit = "pinned"
    Config = WordCountsConfig
    config: WordCountsConfig

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """Counts of one shard."""
        return count_table(word_counts(columns["sentences.items"], None, self.config.lower_case))

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """Counts of all shards."""
        return frequent(merged(partials), self.config.min_count)
