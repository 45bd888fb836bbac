"""How well each caption of a document fits its summary: scores and ranks of all its accepted pairs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych import weights
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.relevance_scorers import Minilm, Ngrams, Scorer

__all__ = ["RelevanceScores", "RelevanceScoresConfig"]

_MINILM = ("minilm", "minilm_config", "minilm_tokenizer")


class RelevanceScoresConfig(StageConfig):
    """What captions are compared with, and how."""

    scorer: Literal["ngrams", "minilm"] = Field(
        "ngrams", description="character n-grams for any language, or MiniLM-L6 for English (n-grams for the others)"
    )
    sizes: tuple[int, ...] = Field((2, 3), min_length=1, description="lengths of the character n-grams")
    against: tuple[Literal["summary", "title", "text"], ...] = Field(
        ("summary", "title", "text"), min_length=1, description="the first of these that has a word is the reference"
    )
    unit: Literal["sentence", "whole"] = Field(
        "sentence", description="a caption's score is its best with one sentence of the reference, or with the whole"
    )


class RelevanceScores(Stage):
    """Scores captions against the summary, one document at a time; the stage ``relevance`` hands them to the pairs.

    A caption that holds several, one a line, counts by its best. Without caption or reference the score is 0.
    Rank 1 is the highest score; of equal ones the first in the document.
    """

    name, version = "relevance_scores", 1
    key = "document"
    inputs = (
        "documents.title",
        "documents.text",
        "documents.summary",
        "documents.language",
        "sentences.items",
        "pairs.caption",
        "pairs.position",
    )
    outputs = pa.schema(
        [
            pa.field("positions", pa.list_(pa.int32()), metadata={"doc": "pairs.position of each accepted pair"}),
            pa.field("scores", pa.list_(pa.float32()), metadata={"doc": "0 to 1, in the order of positions"}),
            pa.field("ranks", pa.list_(pa.int32()), metadata={"doc": "from 1, in the order of positions"}),
            pa.field("reference", pa.string(), metadata={"doc": "summary, title or text; empty when there is none"}),
            pa.field("scorer", pa.string(), metadata={"doc": "ngrams or minilm"}),
        ]
    )
    Config = RelevanceScoresConfig
    config: RelevanceScoresConfig
    packages = ("torch", "transformers")
    batch_size = 256
    tolerance = 1e-4

    def weight_names(self) -> tuple[str, ...]:
        """The encoder's files, when it is asked for."""
        return _MINILM if self.config.scorer == "minilm" else ()

    def setup(self, device: str) -> None:
        """Load the encoder."""
        self._ngrams = Ngrams(self.config.sizes)
        asked = self.config.scorer == "minilm"
        self._minilm = Minilm({n: weights.path(n) for n in _MINILM}, device) if asked else None

    def process(self, batch: Batch) -> Output:
        """One document at a time; its captions see nothing but its own words."""
        out = batch.output()
        for row in range(len(batch)):
            captions, positions = batch["pairs.caption"][row] or [], batch["pairs.position"][row] or []
            if len(captions) != len(positions):
                out.fail(row, "unequal_lists", f"{len(captions)} captions, {len(positions)} positions")
                continue
            field, references = self._reference(batch, row)
            name, scorer = self._scorer(batch["documents.language"][row] or "")
            scores = [_best(scorer, caption or "", references) for caption in captions]
            order = sorted(range(len(scores)), key=lambda n: (-scores[n], positions[n]))
            ranks = {n: rank for rank, n in enumerate(order, 1)}
            out.set(
                row,
                positions=list(positions),
                scores=scores,
                ranks=[ranks[n] for n in range(len(scores))],
                reference=field,
                scorer=name,
            )
        return out

    def _scorer(self, language: str) -> tuple[str, Scorer]:
        if self._minilm is not None and language in ("en", ""):
            return "minilm", self._minilm
        return "ngrams", self._ngrams

    def _reference(self, batch: Batch, row: int) -> tuple[str, list[str]]:
        """The field that captions are compared with, and its sentences (or its whole text)."""
        items: list[dict[str, Any]] = batch["sentences.items"][row] or []
        for field in self.config.against:
            text = batch[f"documents.{field}"][row] or ""
            if any(c.isalnum() for c in text):
                found = [i["text"] for i in items if i["field"] == field] if self.config.unit == "sentence" else []
                return field, found or [text]
        return "", []


def _best(scorer: Scorer, caption: str, references: list[str]) -> float:
    lines = [line for line in caption.splitlines() if line.strip()]
    if not lines or not references:
        return 0.0
    return float(np.float32(scorer.scores(lines, references).max()))
