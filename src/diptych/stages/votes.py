"""What annotators decided: majority, counts and entropy of every question about a document or a pair.

The file of votes (``diptych votes import`` writes it) enters by its content: another file is another setting,
and recomputes these rows and what reads them, nothing else. Who voted is not kept, only how many. A value
wins by plurality (2-1-1); a tie (2-2-1, 1-1-1) has no winner and says so; the stage ``best_image`` breaks ties
about pictures by relevance.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from diptych.exceptions import StageError
from diptych.metrics.agreement import item_entropy, majority
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.votes.answers import import_votes
from diptych.votes.kinds import KINDS

__all__ = ["PairVotes", "Votes", "VotesConfig"]


class VotesConfig(StageConfig):
    """Which votes count."""

    places: ClassVar[tuple[str, ...]] = ("file",)

    file: str | None = Field(None, description="votes as `diptych votes import` writes them; None: nobody voted yet")
    file_sha256: str | None = Field(None, description="of that file; filled in when the recipe is read")
    min_annotators: int = Field(1, ge=1, description="an item with fewer votes gets no value")

    @model_validator(mode="before")
    @classmethod
    def _file_is_content(cls, raw: Any) -> Any:
        """A changed file is a changed setting: its hash stands beside its path."""
        if not isinstance(raw, dict) or raw.get("file") is None:
            return raw
        try:
            found = hashlib.sha256(Path(raw["file"]).read_bytes()).hexdigest()
        except OSError as error:
            raise ValueError(f"file: cannot read {raw['file']}: {error.strerror}") from error
        expected = raw.get("file_sha256")
        if expected not in (None, found):
            raise ValueError(f"file: {raw['file']} has SHA-256 {found}, expected {expected}")
        return {**raw, "file_sha256": found}


RESULT = pa.struct(
    [
        pa.field("kind", pa.string(), metadata={"doc": "the question"}),
        pa.field("value", pa.string(), metadata={"doc": "the most frequent answer; null on a tie or too few votes"}),
        pa.field("tied", pa.bool_()),
        pa.field("annotators", pa.int32()),
        pa.field("values", pa.list_(pa.string()), metadata={"doc": "answers given, in the question's order"}),
        pa.field("counts", pa.list_(pa.int32()), metadata={"doc": "how many gave each: the input of kappa and alpha"}),
        pa.field("entropy", pa.float32(), metadata={"doc": "bits; 0 when all agree"}),
    ]
)
_RESULTS = pa.field("results", pa.list_(RESULT), metadata={"doc": "one a question that was answered, by its name"})


class _Voted(Stage):
    """What both stages share: reading the file once, counting each row's votes."""

    inputs = ()
    Config = VotesConfig
    config: VotesConfig
    batch_size = 4096
    rows_kind: ClassVar[Literal["document", "pair"]]
    flat: ClassVar[tuple[str, ...]]
    """Questions whose majority is a column of its own."""

    def setup(self, device: str) -> None:
        """Read the votes; a file with lines that cannot be read is refused as a whole."""
        self._results: dict[str, list[dict[str, Any]]] = {}
        if self.config.file is None:
            return
        data = Path(self.config.file).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.config.file_sha256:
            raise StageError(f"stage {self.name}: {self.config.file} changed since the recipe was read; build again")
        found = import_votes(self.config.file)
        if found.refused:
            first = found.refused[0]
            raise StageError(
                f"stage {self.name}: {len(found.refused)} lines of {self.config.file} are no votes, the first is line "
                f"{first.line} ({first.reason}: {first.text}); run: diptych votes import {self.config.file}"
            )
        counts: dict[tuple[str, str], Counter[str]] = {}
        for vote in found.votes:
            if KINDS[vote.kind].rows == self.rows_kind:
                counts.setdefault((vote.item, vote.kind), Counter())[vote.value] += 1
        for item, kind in sorted(counts):
            self._results.setdefault(item, []).append(_result(kind, counts[item, kind], self.config.min_annotators))

    def process(self, batch: Batch) -> Output:
        """An item without votes is ok and has no results."""
        out = batch.output()
        for row, key in enumerate(batch.keys):
            results = self._results.get(key, [])
            values = {r["kind"]: r["value"] for r in results}
            flat = {name: _typed(name, values.get(name)) for name in self.flat}
            out.set(row, results=[dict(r) for r in results], **flat)
        return out


class Votes(_Voted):
    """Votes about documents: which picture is the best."""

    name, version = "votes", 1
    key = "document"
    outputs = pa.schema([_RESULTS, pa.field("best_image", pa.string(), metadata={"doc": "image key or null"})])
    rows_kind = "document"
    flat = ("best_image",)


class PairVotes(_Voted):
    """Votes about pairs: how picture and text relate."""

    name, version = "pair_votes", 1
    key = "pair"
    outputs = pa.schema(
        [
            _RESULTS,
            pa.field("relation", pa.string(), metadata={"doc": "explicit, implicit or irrelevant"}),
            pa.field("cmi", pa.float32(), metadata={"doc": "cross-modal mutual information: 0, .25, .5, .75, 1"}),
            pa.field("sc", pa.float32(), metadata={"doc": "semantic correlation: -1, -.5, 0, .5, 1"}),
        ]
    )
    rows_kind = "pair"
    flat = ("relation", "cmi", "sc")


def _result(kind: str, counts: Counter[str], min_annotators: int) -> dict[str, Any]:
    values = [v for v in KINDS[kind].values if v in counts] or sorted(counts)
    counts_1C = np.array([[counts[v] for v in values]])
    winner, enough = int(majority(counts_1C)[0]), counts.total() >= min_annotators
    return {
        "kind": kind,
        "value": values[winner] if winner >= 0 and enough else None,
        "tied": winner < 0 and enough,
        "annotators": counts.total(),
        "values": values,
        "counts": counts_1C[0].tolist(),
        "entropy": float(np.float32(item_entropy(counts_1C)[0])),
    }


def _typed(kind: str, value: str | None) -> str | float | None:
    return value if value is None or not KINDS[kind].numeric else float(value)
