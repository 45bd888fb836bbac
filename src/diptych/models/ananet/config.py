"""Settings of AnANet; the defaults are the paper's (Section V.A, VI.B), decisions A1-A9."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diptych.training.config import TaskConfig, ours, reading

__all__ = ["CLASSES", "AnANetConfig", "GlobalFeature"]

CLASSES = ("irrelevant", "implicit", "explicit")
"""In the order of Eq 19."""
GlobalFeature = Literal["inv_image", "inv_text", "var_image", "var_text", "image", "text"]
"""A part of r_g; Table VI compares combinations."""


class AnANetConfig(TaskConfig):
    """Sizes and switches."""

    text: Literal["text", "caption"] = ours("text", "which text of a pair: the post itself, or the picture's caption")
    vectors: Literal["vectors", "word2vec"] = Field("vectors", description="the fit that holds static word vectors")
    word: int = Field(200, ge=1, description="of GloVe Twitter")
    bert: bool = Field(True, description="contextual vectors joined to the static ones")
    contextual: int = Field(768, ge=1, description="of BERT")
    words: int = Field(100, ge=1, description="longer texts are cut")
    regions: int = Field(36, ge=1, description="the best by score")
    image: bool = Field(True, description="False: the text alone (our baseline)")
    hidden: int = Field(1024, ge=2, multiple_of=2, description="d")
    shared: int = Field(200, ge=1, description="d_inv and d_var")
    association: bool = True
    alignment: bool = True
    features: tuple[GlobalFeature, ...] = Field(("inv_image", "inv_text"), description="parts of r_g (Table VI)")
    lambda_association: float = Field(0.7, description="lambda of Eq 18")
    eta_alignment: float = Field(1.3, description="eta of Eq 18")
    alpha_invariance: float = Field(0.1, ge=0, description="alpha of Eq 22; VI.B calls it lambda")
    beta_orthogonality: float = Field(2.0, ge=0, description="beta of Eq 22; VI.B calls it eta")
    orthogonality: Literal["rows", "printed"] = reading(
        "rows", "printed", "W P^T, the product of row spaces; Eq 21 prints W^T P, which bounds the sum of ranks"
    )
    attention_norm: Literal["attended", "printed"] = reading(
        "attended", "printed", "a weighted average (Eq 13-14) needs weights that sum to 1 over what is attended"
    )
    score_scale: float = ours(1.0, "Eq 12 is the bare product", gt=0)
    dropout: float = ours(0.1, "silent", ge=0, lt=1)

    batch_size: int = Field(64, ge=1)
    lr: float = Field(1e-3, gt=0)
    epochs: int = ours(30, "silent", ge=1)
