"""The words a model knows: those of the training documents that are frequent enough.

A word's id is its place in the result (models put their special tokens before it); rows of stages never hold ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from diptych.fit import Fit
from diptych.stage import StageConfig

__all__ = ["Vocabulary", "VocabularyConfig", "count_table", "frequent", "merged", "word_counts"]

FieldName = Literal["title", "text", "summary", "caption"]


class VocabularyConfig(StageConfig):
    """Which words stay."""

    fields: tuple[FieldName, ...] = Field(("title", "text", "summary", "caption"), description="whose words count")
    min_count: int = Field(1, ge=1, description="rarer words are left out")
    top: int = Field(45_000, ge=1, le=10_000_000, description="at most so many, the most frequent")
    lower_case: bool = Field(True, description="count The and the together")


class Vocabulary(Fit):
    """Words by descending count, then by code point, cut at ``min_count`` and ``top``."""

    name, version = "vocabulary", 1
    rows = "document"
    inputs = ("sentences.items",)
    outputs = pa.schema([pa.field("word", pa.string()), pa.field("count", pa.int64())])
    Config = VocabularyConfig
    config: VocabularyConfig

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """Counts of one shard."""
        return count_table(word_counts(columns["sentences.items"], self.config.fields, self.config.lower_case))

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """The words that stay."""
        return frequent(merged(partials), self.config.min_count, self.config.top)


def word_counts(documents: Sequence[Any], fields: Sequence[str] | None, lower_case: bool) -> Counter[str]:
    """How often each token occurs in these fields' sentences; None counts all."""
    counts: Counter[str] = Counter()
    for items in documents:
        for item in items or ():
            if fields is None or item["field"] in fields:
                counts.update(w.lower() if lower_case else w for w in item["tokens"])
    return counts


def merged(partials: Sequence[pa.Table]) -> Counter[str]:
    """The sum of partial counts."""
    counts: Counter[str] = Counter()
    for part in partials:
        for word, count in zip(part["word"].to_pylist(), part["count"].to_pylist(), strict=True):
            counts[word] += count
    return counts


def frequent(counts: Counter[str], min_count: int, top: int | None = None) -> pa.Table:
    """The ``top`` most frequent words (all when None) among those that occur ``min_count`` times."""
    return count_table(Counter({w: n for w, n in counts.items() if n >= min_count}), top)


def count_table(counts: Counter[str], top: int | None = None) -> pa.Table:
    """Counts as a table, the most frequent first, equal ones by code point."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]
    return pa.table({"word": [w for w, _ in rows], "count": [c for _, c in rows]}, schema=Vocabulary.outputs)
