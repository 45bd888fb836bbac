"""The relevance of a pair's caption to its document's summary: score and rank, for selections and training.

A pair cannot read its siblings, and a rank is about all of them; so the document's row of ``relevance_scores``
computes both and each pair takes its own from it: ``regions: {only: relevance.rank <= 3}``. Pairs beyond the
selection keep their score.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from diptych.naming import split_pair_key
from diptych.stage import Batch, Output, Stage, StageConfig

__all__ = ["Relevance", "RelevanceConfig"]


class RelevanceConfig(StageConfig):
    """How many pairs of a document stay; how they are scored is set in ``relevance_scores``."""

    top: int = Field(3, ge=1, description="pairs of these first ranks are `kept`; the others keep their score")


class Relevance(Stage):
    """Score and rank of a pair among the accepted pairs of its document, with what identifies it there."""

    name, version = "relevance", 1
    key = "pair"
    inputs = ("pairs.position", "relevance_scores.positions", "relevance_scores.scores", "relevance_scores.ranks")
    outputs = pa.schema(
        [
            pa.field("score", pa.float32(), metadata={"doc": "0 to 1"}),
            pa.field("rank", pa.int32(), metadata={"doc": "1 is the most relevant of the document"}),
            pa.field("kept", pa.bool_(), metadata={"doc": "among the first `top`"}),
            pa.field("candidates", pa.int32(), metadata={"doc": "accepted pairs of the document"}),
            pa.field("position", pa.int32(), metadata={"doc": "pairs.position"}),
            pa.field("image", pa.string(), metadata={"doc": "image key, so that a document can tell its pairs apart"}),
        ]
    )
    Config = RelevanceConfig
    config: RelevanceConfig
    batch_size = 1024
    tolerance = 1e-4

    def process(self, batch: Batch) -> Output:
        """A pair that its document did not score fails: the engine gives every accepted one."""
        out = batch.output()
        for row, key in enumerate(batch.keys):
            position = batch["pairs.position"][row]
            lists = [batch[f"relevance_scores.{n}"][row] or [] for n in ("positions", "scores", "ranks")]
            by_position = {p: (s, r) for p, s, r in zip(*lists, strict=False)}
            if position not in by_position:
                out.fail(row, "not_scored", f"position {position} is none of {sorted(by_position)}")
                continue
            score, rank = by_position[position]
            out.set(
                row,
                score=score,
                rank=rank,
                kept=rank <= self.config.top,
                candidates=len(by_position),
                position=position,
                image=split_pair_key(key)[1],
            )
        return out
