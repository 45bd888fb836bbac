"""Settings of HCSCL; the defaults are the paper's (Experimental Setup), decisions H1-H15."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from diptych.training.config import TaskConfig, ours, reading

__all__ = ["HcsclConfig", "Variant"]

Variant = Literal[
    "full",
    "word_object_only",
    "sentence_scene_only",
    "no_sentence_scene_fusion",
    "no_word_object_fusion",
    "s2s",
    "pointer",
]
"""The full model, the four rows of Table 4, and two baselines of Table 3 that read the text alone."""


class HcsclConfig(TaskConfig):
    """Inputs, sizes, switches, training."""

    subset: str = ours("", "subset of the documents; empty: all")
    language: str = ours("zh", "language of the documents; the paper's are Chinese; empty: all")
    contextual: int = Field(768, ge=1, description="of BERT")
    region: int = Field(2048, ge=1, description="of an object's ROI feature")
    attributes: int = ours(
        400, "attribute classes at most, the most frequent of train; bottom-up attention has 400", ge=1
    )
    image: bool = Field(True, description="False: no objects (our text-only baseline)")
    output_vectors: Literal["bert", "random"] = ours("bert", "decoder embeddings start from BERT's input table")
    encoder: str = ours("bert_base_chinese", "whose input table that is, as the stage bert names it")
    vocabulary: int = ours(
        21_128, "most frequent tokens of train's articles and summaries: characters in Chinese", ge=1
    )
    sentences: int = ours(30, "an article's sentences; the paper's average is 19.5", ge=1)
    words: int = ours(128, "a sentence's tokens; longer ones are split", ge=1)
    summary_words: int = ours(60, "a summary's tokens; the paper's average is 36.7", ge=1)

    width: int = ours(512, "one model width, which Eq 4 and 6 need", ge=2, multiple_of=2)
    location: int = ours(256, "of W_l l", ge=1)
    attribute: int = ours(256, "of W_a a; the attribute head of bottom-up attention also has 256", ge=1)
    output_word: int = ours(768, "decoder embeddings", ge=1)
    inner: int = ours(2048, "of the feed-forward", ge=1)
    heads: int = ours(8, "as the cited encoder", ge=1)
    layers: int = ours(2, "N_x; the cited encoder has 5 but is pre-trained with warm-up", ge=1)
    dropout: float = ours(0.1, "silent", ge=0, lt=1)
    variant: Variant = "full"
    selector: bool = Field(True, description="False: text output only (Table 3)")
    score: Literal["scaled", "plain"] = ours("scaled", "of the cited encoder; plain is the bare product of Eq 4")
    cme_norm: bool = ours(
        False,
        "LayerNorm on both inputs of each fusion, as the cited encoder has it: how large visual features are then "
        "does not matter",
    )  # fmt: skip
    cme_coupled: bool = ours(False, "keys are the level's inputs (10-11, 18-19) or the other side's last layer")
    object_attends: Literal["article", "sentence"] = reading(
        "article", "sentence", "an object has no sentence of its own"
    )
    readout_max: Literal["component", "image", "all"] = reading(
        "component", "all", "Eq 17's maximum over all objects would put other images' objects into a scene"
    )
    selector_state: Literal["eos", "mean"] = ours("eos", "the only state that has read the whole summary")

    image_loss: float = ours(1.0, "lambda of Eq 31, no value printed", ge=0)
    text_loss: Literal["token_mean", "sum"] = reading("token_mean", "sum", "a sum would leave the image loss under 1 %")
    batch_size: int = Field(16, ge=1)
    lr: float = Field(5e-4, gt=0)
    lr_factor: float = Field(0.8, gt=0, le=1, description="every six epochs")
    lr_epochs: int = Field(6, ge=1)
    epochs: int = ours(30, "silent", ge=1)
    beam: int = ours(5, "silent; 1 is greedy", ge=1)
    min_words: int = ours(10, "silent; a beam of 1 has no least length", ge=1)

    @model_validator(mode="after")
    def _some_length_is_allowed(self) -> Self:
        if self.beam > 1 and self.min_words > self.summary_words:
            raise ValueError(
                f"min_words {self.min_words} is above summary_words {self.summary_words}: no summary has such a "
                "length; set one of them"
            )
        return self
