"""Word vectors trained on the dataset's own text (skip-gram or CBOW with negative sampling, by gensim)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych.fit import Fit
from diptych.fits.vocabulary import FieldName
from diptych.releases import require
from diptych.stage import StageConfig

__all__ = ["Word2Vec", "Word2VecConfig"]


class Word2VecConfig(StageConfig):
    """How the vectors are trained."""

    fields: tuple[FieldName, ...] = Field(("title", "text", "summary", "caption"), description="which sentences")
    size: int = Field(300, ge=1, le=4096, description="length of a vector")
    window: int = Field(5, ge=1, le=100, description="words to each side")
    min_count: int = Field(10, ge=1, description="rarer words get no vector")
    epochs: int = Field(5, ge=1, le=1000, description="passes over the text")
    negative: int = Field(5, ge=1, le=100, description="noise words a word")
    skip_gram: bool = Field(False, description="predict the neighbours from the word, not the word from them")
    lower_case: bool = Field(True, description="one vector for The and the")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="another seed gives other vectors of the same worth")


class Word2Vec(Fit):
    """A vector for each frequent word of the training documents; one thread, so that a seed gives one result."""

    name, version = "word2vec", 1
    rows = "document"
    inputs = ("sentences.items",)
    outputs = pa.schema(
        [
            pa.field("word", pa.string()),
            pa.field("count", pa.int64()),
            pa.field("vector", pa.list_(pa.float32()), metadata={"doc": "`size` numbers"}),
        ]
    )
    Config = Word2VecConfig
    config: Word2VecConfig
    packages = ("gensim", "numpy")

    def check(self) -> None:
        """gensim."""
        require("vectors", "gensim")

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """The sentences of one shard, one row a document."""
        config = self.config
        sentences = [
            [
                [w.lower() if config.lower_case else w for w in item["tokens"]]
                for item in items or ()
                if item["field"] in config.fields
            ]
            for items in columns["sentences.items"]
        ]
        kind = pa.list_(pa.list_(pa.string()))
        return pa.table({"key": pa.array(keys, pa.string()), "sentences": pa.array(sentences, kind)})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """Vectors of the words of all shards; documents are read in the order of their keys."""
        documents: dict[str, list[list[str]]] = {}
        for part in partials:
            documents.update(zip(part["key"].to_pylist(), part["sentences"].to_pylist(), strict=True))
        sentences = [s for key in sorted(documents) for s in documents[key] if s]
        counts = Counter(word for s in sentences for word in s)
        words = [w for w, n in sorted(counts.items(), key=lambda i: (-i[1], i[0])) if n >= self.config.min_count]
        vectors = self._train(sentences, {w: counts[w] for w in words}) if words else {}
        columns = {"word": words, "count": [counts[w] for w in words], "vector": [vectors[w] for w in words]}
        return pa.table(columns, schema=self.outputs)

    def _train(self, sentences: list[list[str]], counts: dict[str, int]) -> dict[str, np.ndarray]:
        self.check()
        from gensim.models import Word2Vec as Model

        config = self.config
        model: Any = Model(
            vector_size=config.size,
            window=config.window,
            min_count=1,
            negative=config.negative,
            sg=int(config.skip_gram),
            seed=config.seed,
            workers=1,
        )
        model.build_vocab_from_freq(counts, corpus_count=len(sentences))
        known = [[w for w in s if w in counts] for s in sentences]
        model.train(known, total_examples=len(known), epochs=config.epochs)
        return {word: model.wv[word] for word in counts}
