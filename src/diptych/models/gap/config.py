"""Settings of the information gap model; the defaults are the paper's (Section 5), decisions G1-G10."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diptych.training.config import TaskConfig, ours

__all__ = ["CMI_LEVELS", "SC_LEVELS", "GapConfig"]

CMI_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
SC_LEVELS = (-1.0, -0.5, 0.0, 0.5, 1.0)


class GapConfig(TaskConfig):
    """Sizes of Section 4 and 5.1, training of 5.2 and 5.3."""

    image_feature: str = Field("inception.pooled", description="the frozen image model's pooled output, by field name")
    vectors: Literal["word2vec", "random"] = Field("word2vec", description="where word embeddings start from")
    text: Literal["text", "caption", "both"] = ours("text", "which text of a pair: the article's, the caption, or both")
    image: bool = Field(True, description="False: the text alone (our baseline)")
    autoencoder_subset: str = ours("", "subset of the autoencoder's pairs; empty: all pairs")
    classifier_subset: str = ours("", "subset of the labelled pairs; empty: all pairs with a label")

    word: int = Field(300, ge=1)
    embedding: int = Field(600, ge=1, description="sentence and image embeddings")
    article: int = Field(2400, ge=1)
    text_hidden: int = ours(2400, "silent; only three sizes are named, and 600 would be the bottleneck", ge=1)
    sentences: int = Field(50, ge=1, description="longer texts are cut")
    tokens: int = Field(40, ge=1, description="longer sentences are cut")
    hidden_layers: int = Field(1, ge=0, description="5.3 omitted one of the two that 4.2 draws")
    classifier: Literal["network", "svm"] = Field(
        "network", description="svm: two linear SVMs on the frozen autoencoder's embeddings (baseline of Table 3)"
    )
    cosine_scale: float = Field(1.0, gt=0, description="word logits are cosines: at 1 the loss has a floor of 7.4 nats")
    dropout: float = ours(0.3, "rate silent; the Show-and-Tell code the paper starts from keeps 0.7", ge=0, lt=1)

    batch_size: int = Field(16, ge=1)
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(0.1, gt=0)
    lr_factor: float = Field(0.5, gt=0, le=1, description="after every epoch")
    autoencoder_epochs: int = ours(10, "silent; the rate is then 1e-4", ge=0)
    classifier_epochs: int = ours(20, "silent", ge=0)
