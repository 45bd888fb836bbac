"""Which runs the results page consists of: for each model its rows, and what is expected of them.

Every expectation is written down before the table; the page prints what came out, also where it contradicts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["PLANS", "Cell", "Expectation", "ModelPlan", "cells"]

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Expectation:
    """``row`` lacks something that the truth makes necessary: it scores lower than the full model in ``metric``."""

    row: str
    metric: str
    why: str
    paper: str
    """what the paper has to say about it"""


@dataclass(frozen=True)
class ModelPlan:
    """One model's rows: the full model, one ablation, the baselines it has to beat in ``metric``."""

    model: str
    metric: str
    """what the whole model is needed for, among the paper's metrics; rows are compared in it and in ``also``"""
    also: tuple[str, ...]
    expectation: Expectation
    baselines: tuple[str, ...]
    dataset: str = "study"
    note: str = ""
    """what a reader of the table has to know"""

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is compared."""
        return tuple(dict.fromkeys((self.metric, *self.also, self.expectation.metric)))


@dataclass(frozen=True)
class Cell:
    """One run of the table."""

    model: str
    row: str
    """``full``, an ablation's or a baseline's name"""
    kind: str
    """full, ablation or baseline"""
    seed: int

    def __str__(self) -> str:
        return f"{self.model} {self.row} seed {self.seed}"


PLANS = (
    ModelPlan(
        "gap", "accuracy_cmi", ("accuracy_sc",),
        Expectation(
            "no_autoencoder", "accuracy_cmi",
            "the autoencoder sees every pair, the classifier only labelled ones",
            "CMI .6953 -> .5625 (Table 3)",
        ),
        ("most_frequent", "random", "text_only"),
    ),
    ModelPlan(
        "ananet", "accuracy", ("weighted_f1",),
        Expectation(
            "no_association", "f1_implicit",
            "an implied object is never named: words and regions have nothing to align",
            "implicit F1 42.86 -> 37.71 (Table V)",
        ),
        ("majority", "random", "text_only"),
    ),
    ModelPlan(
        "mkp", "f1_at_3", ("map_at_5", "f1_at_1"),
        Expectation(
            "no_ocr", "f1_at_3",
            "some keyphrases stand only on a banner in the picture",
            "F1@1 48.19 -> 46.72, F1@3 33.86 -> 32.95 (Table 2)",
        ),
        ("most_frequent", "random", "text_only"),
        note="Nearly every post has a keyphrase in its text, which may come first: F1@1 says least about pictures.",
    ),
    ModelPlan(
        "hcscl", "image_precision", ("rouge_1",),
        Expectation(
            "no_sentence_scene_fusion", "image_precision",
            "the best picture is the one where subject and landmark stand together, in one scene",
            "IP 40.98 -> 31.94 (Table 4)",
        ),
        ("lead", "random", "text_only"),
        note="The image precision of `lead` and `text_only` is chance: all pictures score alike. `lead` copies the "
        "first sentence, which names subject, landmark and place; the decoder cannot copy (Eq 24). `text_only` reads "
        "the same words as the full model.",
    ),
    ModelPlan(
        "hmlstm", "i2t_r1", ("rsum",),
        Expectation(
            "chain", "region_r1",
            "phrases nest: a tree gives each its own vector in its sentence",
            "none, it prints no ablation; our hypothesis",
        ),
        ("random", "text_only"), "study_captions",
    ),
)  # fmt: skip
"""In the order of the page; a fixed row runs once a seed all the same, so that seeds are compared with themselves."""


def cells(plans: tuple[ModelPlan, ...] = PLANS, seeds: tuple[int, ...] = SEEDS) -> Iterator[Cell]:
    """Seed by seed, so that an interrupted study has whole seeds."""
    for seed in seeds:
        for plan in plans:
            yield Cell(plan.model, "full", "full", seed)
            yield Cell(plan.model, plan.expectation.row, "ablation", seed)
            for name in plan.baselines:
                yield Cell(plan.model, name, "baseline", seed)
