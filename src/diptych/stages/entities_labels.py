"""Visual entities without a service: the class names of what the detector found."""

from __future__ import annotations

from pydantic import Field

from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.entities import COLUMNS

__all__ = ["EntityLabels", "EntityLabelsConfig"]

_NOTHING = frozenset({"", "N/A", "__background__"})
"""Places in lists of class names that stand for no class."""


class EntityLabelsConfig(StageConfig):
    """Which names stay."""

    min_score: float = Field(0.3, ge=0, le=1, description="regions below are left out")
    top: int = Field(5, ge=1, le=100, description="at most so many names")


class EntityLabels(Stage):
    """Each class of a picture's regions once, with its highest score; the same columns as ``entities``."""

    name, version = "entity_labels", 1
    key = "image"
    inputs = ("regions.class_names", "regions.scores")
    outputs = COLUMNS
    Config = EntityLabelsConfig
    config: EntityLabelsConfig
    batch_size = 1024

    def process(self, batch: Batch) -> Output:
        """A picture without regions has no names and is ok."""
        out = batch.output()
        for row in range(len(batch)):
            names, scores = batch["regions.class_names"][row] or [], batch["regions.scores"][row] or []
            if len(names) != len(scores):
                out.fail(row, "unequal_lists", f"{len(names)} names, {len(scores)} scores")
                continue
            best: dict[str, float] = {}
            for name, score in zip(names, scores, strict=True):
                if name and name not in _NOTHING and score >= self.config.min_score:
                    best[name] = max(score, best.get(name, 0.0))
            kept = sorted(best.items(), key=lambda item: (-item[1], item[0]))[: self.config.top]
            out.set(row, names=[n for n, _ in kept], scores=[s for _, s in kept], roots=[""] * len(kept))
        return out
