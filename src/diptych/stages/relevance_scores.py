"""How well each caption of a document fits its summary: scores and ranks of all its accepted pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from diptych import weights
from diptych.exceptions import WeightsError
from diptych.models.common.model_folder import require_transformers
from diptych.models.common.text_encoder import encoder_weights, load_encoder
from diptych.releases import require
from diptych.settings import unreadable
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.relevance_scorers import Cosine, Ngrams, Scorer

__all__ = ["RelevanceScores", "RelevanceScoresConfig"]

ScorerName = Literal["ngrams", "minilm", "esim"]


class RelevanceScoresConfig(StageConfig):
    """What captions are compared with, and how."""

    places: ClassVar[tuple[str, ...]] = ("checkpoint",)

    scorer: ScorerName = Field(
        "ngrams",
        description="character n-grams (any language), MiniLM-L6 (English) or ESIM (the languages of its checkpoint); "
        "documents in a language that a scorer does not know are compared by n-grams",
    )
    languages: dict[str, ScorerName] = Field({}, description="other scorers by language: {en: minilm, zh: esim}")
    checkpoint: str | None = Field(
        None, description="of ESIM: a file that `diptych relevance train` wrote, or its name in the weights cache"
    )
    checkpoint_sha256: str | None = Field(None, description="of that file; filled in when the recipe is read")
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (2, 3), min_length=1, description="lengths of the character n-grams"
    )
    against: tuple[Literal["summary", "title", "text"], ...] = Field(
        ("summary", "title", "text"), min_length=1, description="the first of these that has a word is the reference"
    )
    unit: Literal["sentence", "whole"] = Field(
        "sentence", description="a caption's score is its best with one sentence of the reference, or with the whole"
    )

    @property
    def asked(self) -> frozenset[str]:
        """The scorers that some language may need."""
        return frozenset({self.scorer, *self.languages.values()})

    @model_validator(mode="before")
    @classmethod
    def _file_is_content(cls, raw: Any) -> Any:
        """A changed checkpoint is a changed setting."""
        if not isinstance(raw, dict) or raw.get("checkpoint") is None:
            return raw
        try:
            found = weights.sha256_of(_file(raw["checkpoint"]))
        except OSError as error:
            raise unreadable("checkpoint", raw["checkpoint"], error.strerror) from error
        except WeightsError as error:
            raise ValueError(f"checkpoint: {raw['checkpoint']}: {error}") from error
        if raw.get("checkpoint_sha256") not in (None, found):
            raise ValueError(f"checkpoint: {raw['checkpoint']} changed since the recipe was read")
        return {**raw, "checkpoint_sha256": found}

    @model_validator(mode="after")
    def _esim_needs_a_checkpoint(self) -> RelevanceScoresConfig:
        if "esim" in self.asked and self.checkpoint is None:
            raise ValueError("checkpoint: the scorer esim needs one; run: diptych relevance train PAIRS --to FILE")
        return self


def _file(checkpoint: str) -> Path:
    """A file, or what was imported into the weights cache under this name."""
    return Path(checkpoint) if Path(checkpoint).is_file() or "/" in checkpoint else weights.path(checkpoint)


@dataclass(frozen=True)
class _Plan:
    """What one document needs: its scorer, and for each caption the pairs of which the best counts."""

    scorer: str
    reference: str
    positions: list[int]
    pairs: list[list[tuple[str, str]]]


class RelevanceScores(Stage):
    """Scores captions against the summary, one document at a time; the stage ``relevance`` hands them to the pairs.

    A caption that holds several, one a line, counts by its best. Without caption or reference the score is 0.
    Rank 1 is the highest score; of equal ones (to five digits) the first in the document.
    """

    name, version = "relevance_scores", 2
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
            pa.field("scorer", pa.string(), metadata={"doc": "ngrams, minilm or esim"}),
        ]
    )
    Config = RelevanceScoresConfig
    config: RelevanceScoresConfig
    packages = ("torch", "transformers", "tokenizers")
    batch_size = 256
    tolerance = 1e-4

    def weight_names(self) -> tuple[str, ...]:
        """The files of the encoders that are asked for."""
        names = ["minilm"] if "minilm" in self.config.asked else []
        if "esim" in self.config.asked and self.config.checkpoint is not None:
            from diptych.models.esim.checkpoint import header

            embedding = header(_file(self.config.checkpoint))[0].embedding
            names += [embedding] if embedding != "characters" else []
        return tuple(dict.fromkeys(file for name in names for file in encoder_weights(name)))

    def check(self) -> None:
        """What the scores asked for are made with."""
        if "minilm" in self.config.asked:
            require_transformers()
        if "esim" in self.config.asked:
            require("vision", "torch")

    def setup(self, device: str) -> None:
        """Load the encoder and the checkpoint."""
        self._scorers: dict[str, Scorer] = {"ngrams": Ngrams(self.config.sizes)}
        self._known: dict[str, tuple[str, ...]] = {"minilm": ("en", "")}
        if "minilm" in self.config.asked:
            self._scorers["minilm"] = Cosine(load_encoder("minilm", device=device, max_pieces=256))
        if "esim" in self.config.asked and self.config.checkpoint is not None:
            from diptych.models.esim.checkpoint import load_scorer

            self._scorers["esim"], self._known["esim"] = load_scorer(_file(self.config.checkpoint), device)

    def process(self, batch: Batch) -> Output:
        """The pairs of all documents at once; each document's captions see nothing but its own words."""
        out = batch.output()
        asked: dict[str, dict[tuple[str, str], float]] = {}
        plans = [self._plan(batch, row, out) for row in range(len(batch))]
        rows = {row: plan for row, plan in enumerate(plans) if plan is not None}
        for plan in rows.values():
            pairs = asked.setdefault(plan.scorer, {})
            pairs.update(dict.fromkeys((pair for caption in plan.pairs for pair in caption), 0.0))
        for name, pairs in asked.items():
            pairs.update(zip(pairs, self._scorers[name].scores(list(pairs)).tolist(), strict=True))
        for row, plan in rows.items():
            known = asked[plan.scorer]
            best = [max((known[pair] for pair in caption), default=0.0) for caption in plan.pairs]
            scores = [float(np.float32(score)) for score in best]
            order = sorted(range(len(scores)), key=lambda n: (-round(scores[n], 5), plan.positions[n]))
            ranks = {n: rank for rank, n in enumerate(order, 1)}
            out.set(
                row,
                positions=list(plan.positions),
                scores=scores,
                ranks=[ranks[n] for n in range(len(scores))],
                reference=plan.reference,
                scorer=plan.scorer,
            )
        return out

    def _plan(self, batch: Batch, row: int, out: Output) -> _Plan | None:
        captions, positions = batch["pairs.caption"][row] or [], batch["pairs.position"][row] or []
        if len(captions) != len(positions):
            out.fail(row, "unequal_lists", f"{len(captions)} captions, {len(positions)} positions")
            return None
        field, references = self._reference(batch, row)
        lines = [[line for line in (caption or "").splitlines() if line.strip()] for caption in captions]
        pairs = [[(line, reference) for line in some for reference in references] for some in lines]
        return _Plan(self._scorer(batch["documents.language"][row] or ""), field, list(positions), pairs)

    def _scorer(self, language: str) -> str:
        name = self.config.languages.get(language, self.config.scorer)
        return name if name == "ngrams" or language in self._known[name] else "ngrams"

    def _reference(self, batch: Batch, row: int) -> tuple[str, list[str]]:
        """The field that captions are compared with, and its sentences (or its whole text)."""
        items: list[dict[str, Any]] = batch["sentences.items"][row] or []
        for field in self.config.against:
            text = batch[f"documents.{field}"][row] or ""
            if any(c.isalnum() for c in text):
                found = [i["text"] for i in items if i["field"] == field] if self.config.unit == "sentence" else []
                return field, found or [text]
        return "", []
