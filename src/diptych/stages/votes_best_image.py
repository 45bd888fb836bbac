"""The three pictures of a document that a model sees, and which of them people chose."""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from diptych.stage import Batch, Output, Stage, StageConfig

__all__ = ["BestImage", "BestImageConfig"]


class BestImageConfig(StageConfig):
    """How many pictures stay, and what a tie becomes."""

    candidates: int = Field(3, ge=1, le=100, description="the most relevant pictures that stay")
    ties: Literal["relevance", "none"] = Field(
        "relevance", description="2-2-1: the more relevant of the two, or nothing; both are counted in `tied`"
    )


class BestImage(Stage):
    """The most relevant pictures in order of relevance, and the place of the voted one among them.

    Votes for pictures that are not among them do not count (they left the document, or its captions changed).
    """

    name, version = "best_image", 1
    key = "document"
    inputs = ("votes.results", "relevance.image", "relevance.rank", "relevance.position")
    outputs = pa.schema(
        [
            pa.field("images", pa.list_(pa.string()), metadata={"doc": "image keys, the most relevant first"}),
            pa.field("positions", pa.list_(pa.int32()), metadata={"doc": "their pairs.position"}),
            pa.field("choice", pa.int32(), metadata={"doc": "place in images, from 0; null when nobody decided"}),
            pa.field("votes", pa.list_(pa.int32()), metadata={"doc": "votes of each of images"}),
            pa.field("tied", pa.bool_(), metadata={"doc": "several images had most votes"}),
        ]
    )
    Config = BestImageConfig
    config: BestImageConfig
    batch_size = 1024

    def process(self, batch: Batch) -> Output:
        """A document without votes is ok; its choice is null."""
        out = batch.output()
        for row in range(len(batch)):
            lists = [batch[f"relevance.{n}"][row] or [] for n in ("rank", "position", "image")]
            if len({len(values) for values in lists}) > 1:
                out.fail(row, "unequal_lists", f"{[len(values) for values in lists]} ranks, positions and images")
                continue
            kept = sorted(zip(*lists, strict=True))[: self.config.candidates]
            images = [image for _, _, image in kept]
            votes = _votes(batch["votes.results"][row] or [], images)
            winners = [n for n, count in enumerate(votes) if count == max(votes) > 0]
            tied = len(winners) > 1
            choice = None if not winners or (tied and self.config.ties == "none") else winners[0]
            out.set(row, images=images, positions=[p for _, p, _ in kept], choice=choice, votes=votes, tied=tied)
        return out


def _votes(results: list[dict[str, Any]], images: list[str]) -> list[int]:
    """Votes of each image; an image that stands twice in the document has them once."""
    counts = {
        value: count
        for result in results
        if result["kind"] == "best_image" and (result["value"] is not None or result["tied"])
        for value, count in zip(result["values"], result["counts"], strict=True)
    }
    return [counts.pop(image, 0) for image in images]
