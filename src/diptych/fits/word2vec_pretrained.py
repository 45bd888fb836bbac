"""Published word vectors, trimmed to the words of the dataset: the fit ``vectors``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from diptych.exceptions import StageError
from diptych.fit import Fit
from diptych.fits.vocabulary import FieldName, count_table, frequent, merged, word_counts
from diptych.fits.word2vec_files import read_vectors
from diptych.settings import unreadable
from diptych.stage import StageConfig

__all__ = ["Vectors", "VectorsConfig"]


class VectorsConfig(StageConfig):
    """Which file, and which words of the dataset are looked up in it."""

    places: ClassVar[tuple[str, ...]] = ("file",)

    file: str | None = Field(None, description="GloVe or word2vec text, or word2vec binary; None: no word has a vector")
    file_sha256: str | None = Field(None, description="of that file; filled in when the recipe is read")
    fields: tuple[FieldName, ...] = Field(("title", "text", "summary", "caption"), description="whose words count")
    min_count: int = Field(1, ge=1, description="rarer words are left out")
    top: int = Field(45_000, ge=1, le=10_000_000, description="at most so many words, the most frequent")
    lower_case: bool = Field(True, description="look words up in lower case, as GloVe has them")

    @model_validator(mode="before")
    @classmethod
    def _file_is_content(cls, raw: Any) -> Any:
        """A changed file is a changed setting: its hash stands beside its path."""
        if not isinstance(raw, dict) or raw.get("file") is None:
            return raw
        try:
            with Path(raw["file"]).open("rb") as source:
                found = hashlib.file_digest(source, "sha256").hexdigest()
        except OSError as error:
            raise unreadable("file", raw["file"], error.strerror) from error
        expected = raw.get("file_sha256")
        if expected not in (None, found):
            raise ValueError(f"file: {raw['file']} has SHA-256 {found}, expected {expected}")
        return {**raw, "file_sha256": found}


class Vectors(Fit):
    """The dataset's words with the file's vectors; a word the file lacks stands there without one.

    How a model starts those words is the model's (GloVe-200: uniform in (-0.1, 0.1)).
    """

    name, version = "vectors", 1
    rows = "document"
    inputs = ("sentences.items",)
    outputs = pa.schema(
        [
            pa.field("word", pa.string()),
            pa.field("count", pa.int64()),
            pa.field("vector", pa.list_(pa.float32()), metadata={"doc": "null where the file has none"}),
        ]
    )
    Config = VectorsConfig
    config: VectorsConfig

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """Counts of one shard."""
        return count_table(word_counts(columns["sentences.items"], self.config.fields, self.config.lower_case))

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """The words that stay, and what the file has for them."""
        counts = frequent(merged(partials), self.config.min_count, self.config.top)
        words = counts["word"].to_pylist()
        vectors = read_vectors(self.config.file, set(words)).vectors if self.config.file and words else {}
        if self.config.file and words and not vectors:
            raise StageError(f"fit vectors: none of the dataset's {len(words)} words is in {self.config.file}")
        column = pa.array([vectors.get(w) for w in words], self.outputs.field("vector").type)
        return pa.table({"word": counts["word"], "count": counts["count"], "vector": column}, schema=self.outputs)
