"""How often each token occurs in the training documents: the base of every vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from diptych.fit import Fit
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
        counts: Counter[str] = Counter()
        for items in columns["sentences.items"]:
            for item in items or ():
                counts.update(w.lower() if self.config.lower_case else w for w in item["tokens"])
        return _table(counts, self.outputs)

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """Counts of all shards."""
        counts: Counter[str] = Counter()
        for part in partials:
            for word, count in zip(part["word"].to_pylist(), part["count"].to_pylist(), strict=True):
                counts[word] += count
        kept = Counter({word: count for word, count in counts.items() if count >= self.config.min_count})
        return _table(kept, self.outputs)


def _table(counts: Counter[str], schema: pa.Schema) -> pa.Table:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return pa.table({"word": [w for w, _ in rows], "count": [c for _, c in rows]}, schema=schema)
