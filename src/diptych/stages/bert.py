"""Contextual vectors of every sentence's words, and of the sentence, by a frozen BERT-like encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from diptych.models.common.model_folder import require_transformers, with_folder_digest
from diptych.models.common.text_encoder import (
    TextEncoder,
    encoder_weights,
    hidden_size,
    load_encoder,
    word_spans,
)
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.pixels_input import half
from diptych.stages.splitting import encodable

__all__ = ["Bert", "BertConfig"]


class BertConfig(StageConfig):
    """Which encoder, and how it sees long sentences."""

    places: ClassVar[tuple[str, ...]] = ("folder",)

    model: str = Field(
        "minilm", description="minilm (English), bert_base_uncased, bert_base_chinese, or random:<seed> (untrained)"
    )
    folder: str | None = Field(
        None, description="a Hugging Face model folder instead; only safetensors or plain arrays"
    )
    folder_sha256: str | None = Field(None, description="of its files; filled in when the recipe is read")
    max_pieces: int = Field(128, ge=8, le=8192, description="word pieces the encoder sees at once, [CLS] and [SEP] too")
    overlap: int = Field(32, ge=0, description="pieces that neighbouring windows of a longer sentence share")
    sentence: Literal["mean", "first"] = Field("mean", description="the mean of all pieces, or the first one ([CLS])")

    @model_validator(mode="before")
    @classmethod
    def _folder_is_content(cls, raw: Any) -> Any:
        """Changed model files are a changed setting."""
        return with_folder_digest(raw)


class Bert(Stage):
    """One row a distinct sentence: ``tokens`` has a vector for each of ``words``, the mean of its word pieces.

    Words are those of ``sentences.items`` before any edit of the wording: a sentence is its original text, whatever
    documents it stands in. A text without any word piece has the vector of [CLS] and [SEP] alone.
    Long sentences and words without pieces: see :mod:`diptych.models.common.text_encoder`.
    """

    name, version = "bert", 1
    key = "sentence"
    inputs = ("sentence.text",)
    outputs = pa.schema(
        [
            pa.field("words", pa.list_(pa.string()), metadata={"doc": "one a row of `tokens`"}),
            pa.field("pieces", pa.int32(), metadata={"doc": "word pieces of the sentence, special ones not counted"}),
        ]
    )
    Config = BertConfig
    config: BertConfig
    packages = ("torch", "transformers", "tokenizers")
    accelerator: ClassVar[bool] = True
    batch_size = 256
    tolerance = 2e-3
    """Of the tensor's largest value: one step of float16 and the order of summation."""

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """``tokens`` (words, size) and ``sentence`` (size,)."""
        size = hidden_size(self.config.model, self.config.folder)
        return {"tokens": Tensor("float16", (None, size)), "sentence": Tensor("float16", (size,))}

    def weight_names(self) -> tuple[str, ...]:
        """The registered files, unless a folder replaces them."""
        return () if self.config.folder else encoder_weights(self.config.model)

    def check(self) -> None:
        """torch and transformers."""
        require_transformers()

    def setup(self, device: str) -> None:
        """Load the encoder."""
        config = self.config
        self._encoder: TextEncoder = load_encoder(
            config.model,
            config.folder,
            device,
            max_pieces=config.max_pieces,
            overlap=config.overlap,
            pooling=config.sentence,
        )

    def process(self, batch: Batch) -> Output:
        """All sentences of the batch at once, grouped by length."""
        out = batch.output()
        texts = [encodable(text or "") for text in batch["sentence.text"]]
        spans = [word_spans(text) for text in texts]
        for row, (text, words, made) in enumerate(zip(texts, spans, self._encoder.encode(texts, spans), strict=True)):
            if not (np.isfinite(made.words).all() and np.isfinite(made.sentence).all()):
                out.fail(row, "not_finite", "the encoder gave NaN or infinity for this sentence")
                continue
            named = [text[a:b] for a, b in words]
            out.set(row, words=named, pieces=made.pieces, tokens=half(made.words), sentence=half(made.sentence))
        return out

    def close(self) -> None:
        """Forget the encoder."""
        vars(self).pop("_encoder", None)
