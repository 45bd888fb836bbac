"""Settings of MM-MKP; the defaults are the paper's (Section 4.1.2), decisions M1-M13."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diptych.training.config import TaskConfig, ours, reading

__all__ = ["MkpConfig"]


class MkpConfig(TaskConfig):
    """Inputs, sizes, switches and both stages of training."""

    grid: str = Field("grid.grid", description="region features of a post's picture, by field name")
    entities: Literal["entities.names", "entity_labels.names", ""] = Field(
        "entities.names", description="visual entities; empty: none"
    )
    ocr: bool = Field(True, description="OCR text joins the input")
    text: bool = Field(True, description="False: the picture alone (the baseline VGG)")
    image: bool = Field(True, description="False: the text alone (the baselines COPY, AVG, MAX)")
    posts_subset: str = ours("", "subset of the posts; empty: every record with keyphrases")
    matching_subset: str = ours("", "subset of the matching set; empty: all. Only records that say image_adds are read")

    language: str = ours("", "language of the posts; empty: all. The paper's are English")

    vectors: Literal["vectors", "word2vec", "random"] = Field("vectors", description="where word embeddings start from")
    vocabulary: int = Field(45_000, ge=1, description="most frequent words of posts, OCR, entities and keyphrases")
    copy_words: int = ours(15, "words of a post outside the vocabulary that can be copied", ge=0)
    post_tokens: int = ours(200, "longer posts are cut", ge=1)
    ocr_tokens: int = ours(200, "longer OCR text is cut; 99 % of the released posts have fewer", ge=0)

    word: int = Field(200, ge=1)
    hidden: int = Field(300, ge=2, multiple_of=2, description="of the encoder in all, of decoder and image")
    layers: int = ours(2, "silent; the authors' code", ge=1)
    heads: int = ours(4, "silent; the authors' run script", ge=1)
    head_width: int = ours(128, "silent; the authors' run script", ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    pool: Literal["max", "mean"] = "max"
    lambda_copy: float = ours(0.5, "lambda_c of Eq 12, no value printed", ge=0, le=1)
    top_classes: int = Field(5, ge=1, description="predicted classes whose words can be copied")
    context_in_gru: Literal["previous", "none"] = reading("previous", "current", "Eq 8 needs c_j, c_j needs s_j")

    image_text_matching: bool = True
    matching_loss: bool = True
    region_matching: bool = True
    region_loss: bool = True
    noise_filter: bool = True
    classifier: bool = True
    irtm_target_sc: Literal["input", "none"] = ours("input", "the matching score in A_gt is the input's, so it cancels")
    irtm_detach: bool = ours(True, "A_gt is a supervisory signal")

    ranked_by: Literal["generator", "classifier"] = Field(
        "generator", description="whose list is scored; classifier: no second stage (the classification baselines)"
    )
    beam: int = Field(10, ge=1)
    max_steps: int = Field(6, ge=2, description="of decoding, the end included")
    keep: int = ours(5, "hypotheses; MAP is at 5", ge=1)
    present_in: Literal["post", "input"] = ours("post", "where a present keyphrase must stand")

    batch_size: int = Field(64, ge=1)
    lr: float = Field(1e-3, gt=0)
    stage1_epochs: int = ours(15, "silent; early stopping", ge=0)
    stage2: Literal["all", "decoder_only"] = ours(
        "all", "what the second stage trains; decoder_only: as the authors' code, stage 1 then trains the decoder, too"
    )
    stage2_epochs: int | None = ours(None, "silent; empty: 15, early stopping; with decoder_only 5", ge=0)
    stage2_lr: float | None = ours(None, "silent; empty: 1e-3, restarted; with decoder_only 1e-4", gt=0)

    @property
    def second_epochs(self) -> int:
        """Of stage 2 at most."""
        return (15 if self.stage2 == "all" else 5) if self.stage2_epochs is None else self.stage2_epochs

    @property
    def second_lr(self) -> float:
        """The rate that stage 2 starts with."""
        return (1e-3 if self.stage2 == "all" else 1e-4) if self.stage2_lr is None else self.stage2_lr
