"""Settings of HM-LSTM."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from diptych.models.common.word_vectors import VectorFit
from diptych.training.config import TaskConfig, ours, reading

__all__ = ["HMLSTMConfig"]


class HMLSTMConfig(TaskConfig):
    """Defaults are the paper's where it prints a value."""

    region_feature: str = reading(
        "fc7.features", "R-CNN of Karpathy and Fei-Fei", "a row for each box of its stage, best first; VGG stands in"
    )
    image_feature: str = Field(
        "", description="tensor of the whole image; empty: a row of region_feature whose kind is picture, the first"
    )
    feature_size: int | None = Field(4096, description="asserted width of region_feature; null: any")
    links: Literal["annotated", "votes"] = Field(
        "annotated", description="who linked phrases to boxes: the source (pairs.extra), or people (pair_votes.regions)"
    )
    regions: int = Field(19, ge=0, description="at most so many proposals an image, the best (Section 3.1)")
    vectors: VectorFit = Field("word2vec", description="the fit with the word vectors (printed: GoogleNews word2vec)")
    word: int = Field(300, ge=1, description="numbers of a word vector")
    hidden: int = ours(512, "width of the tree unit; the joint space's", ge=1)
    joint: int = Field(512, ge=1, description="the joint space")
    dropout: float = ours(0.1, "silent; of what the joint space's linear layers read", ge=0, lt=1)
    encoder: Literal["hierarchical", "tree", "chain"] = Field("hierarchical", description="tree, chain: ablations")
    parts: bool = Field(True, description="false: no phrase-region loss, as many epochs (ablation)")
    image: bool = Field(True, description="false: image features are zeros (baseline)")
    margin: float = ours(0.2, "m of Eq 9; usual for a hinge on cosines", gt=0)
    negatives: Literal["batch", "batch+same_image"] = ours(
        "batch", "contrastive parts: those of other images, or also other parts of the same image"
    )
    first_epochs: int = ours(15, "epochs of root losses only, before the first matching (Fig 3, step 1)", ge=0)
    rounds: int = ours(3, "T of Fig 3: matchings, each followed by epochs of all losses", ge=0)
    round_epochs: int = ours(5, "epochs after each matching", ge=1)
    patience: int = ours(1000, "the schedule ends the training, not a stalling dev value", ge=1)
    batch_size: int = Field(64, ge=2, description="image-sentence pairs, of different images")
    lr: float = Field(8e-3, gt=0, description="of Adam")
    lr_factor: float = ours(0.5, "the rate is multiplied by it when dev rsum stalls", gt=0, le=1)
    judged_images: int = Field(
        1000, ge=0, description="recalls are of a seeded sample of so many test images (5.1.2); 0: of all"
    )
    subset: str = Field("", description="only documents of this subset")

    @property
    def region_stage(self) -> str:
        """The stage of the regions."""
        return self.region_feature.partition(".")[0]

    @property
    def epochs(self) -> int:
        """All of them."""
        return self.first_epochs + self.rounds * self.round_epochs
