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
from diptych.settings import unreadable
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.votes.answers import Vote, import_votes
from diptych.votes.kinds import KINDS, row_of
from diptych.votes.labels import LabelFile, read_labels
from diptych.votes.phrases import NONE

__all__ = ["PairVotes", "Votes", "VotesConfig"]


class VotesConfig(StageConfig):
    """Which votes count."""

    places: ClassVar[tuple[str, ...]] = ("file",)

    file: str | None = Field(None, description="votes as `diptych votes import` writes them; None: nobody voted yet")
    file_sha256: str | None = Field(None, description="of that file; filled in when the recipe is read")
    labels: tuple[LabelFile, ...] = Field((), description="published label files; see diptych.votes.labels")
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
            raise unreadable("file", raw["file"], error.strerror) from error
        expected = raw.get("file_sha256")
        if expected not in (None, found):
            raise ValueError(f"file: {raw['file']} has SHA-256 {found}, expected {expected}")
        return {**raw, "file_sha256": found}


RESULT = pa.struct(
    [
        pa.field("kind", pa.string(), metadata={"doc": "the question"}),
        pa.field("about", pa.string(), metadata={"doc": "empty, or the phrase (and box): sentence key:start-end=box"}),
        pa.field("value", pa.string(), metadata={"doc": "the most frequent answer; null on a tie or too few votes"}),
        pa.field("tied", pa.bool_()),
        pa.field("annotators", pa.int32()),
        pa.field("values", pa.list_(pa.string()), metadata={"doc": "answers given, in the question's order"}),
        pa.field("counts", pa.list_(pa.int32()), metadata={"doc": "how many gave each: the input of kappa and alpha"}),
        pa.field("entropy", pa.float32(), metadata={"doc": "bits; 0 when all agree"}),
    ]
)
LINK = pa.struct(
    [
        pa.field("sentence", pa.string(), metadata={"doc": "sentence key"}),
        pa.field("start", pa.int32(), metadata={"doc": "code points from the beginning of the sentence"}),
        pa.field("end", pa.int32()),
        pa.field("box", pa.list_(pa.float32()), metadata={"doc": "x1, y1, x2, y2 in whole pixels"}),
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

    def more(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """Further columns from the results of a row."""
        return {}

    def setup(self, device: str) -> None:
        """Read the votes; a file with lines that cannot be read is refused as a whole."""
        self._results: dict[str, list[dict[str, Any]]] = {}
        votes = self._file_votes()
        for labels in self.config.labels:
            votes += read_labels(labels)
        counts: dict[tuple[str, str], Counter[str]] = {}
        for vote in votes:
            if KINDS[vote.kind].rows == self.rows_kind:
                counts.setdefault((vote.item, vote.kind), Counter())[vote.value] += 1
        for item, kind in sorted(counts, key=lambda c: (c[1], c[0])):
            row, about = row_of(item)
            result = _result(kind, about, counts[item, kind], self.config.min_annotators)
            self._results.setdefault(row, []).append(result)

    def _of(self, key: str) -> list[dict[str, Any]]:
        """The results of a row: its record's labels too, unless people answered that question about the row itself."""
        rows = dict.fromkeys((key.partition("/")[0], key))
        found = {(r["kind"], r["about"]): r for row in rows for r in self._results.get(row, ())}
        return [found[question] for question in sorted(found)]

    def _file_votes(self) -> list[Vote]:
        if self.config.file is None:
            return []
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
        return list(found.votes)

    def process(self, batch: Batch) -> Output:
        """An item without votes is ok and has no results."""
        out = batch.output()
        for row, key in enumerate(batch.keys):
            results = self._of(key)
            values = {r["kind"]: r["value"] for r in results}
            flat = {name: _typed(name, values.get(name)) for name in self.flat}
            out.set(row, results=[dict(r) for r in results], **flat, **self.more(results))
        return out


class Votes(_Voted):
    """Votes about documents: which picture is the best."""

    name, version = "votes", 2
    key = "document"
    outputs = pa.schema([_RESULTS, pa.field("best_image", pa.string(), metadata={"doc": "image key or null"})])
    rows_kind = "document"
    flat = ("best_image",)


class PairVotes(_Voted):
    """Votes about pairs: how picture and text relate, and which regions the phrases of the caption name.

    ``regions`` has the box that won for each phrase (not ``none``) unless it was judged wrong, and every other box that
    was judged right.
    """

    name, version = "pair_votes", 3
    key = "pair"
    outputs = pa.schema(
        [
            _RESULTS,
            pa.field("relation", pa.string(), metadata={"doc": "explicit, implicit or irrelevant"}),
            pa.field("cmi", pa.float32(), metadata={"doc": "cross-modal mutual information: 0, .25, .5, .75, 1"}),
            pa.field("sc", pa.float32(), metadata={"doc": "semantic correlation: -1, -.5, 0, .5, 1"}),
            pa.field("regions", pa.list_(LINK), metadata={"doc": "phrases of the caption and the regions they name"}),
        ]
    )
    rows_kind = "pair"
    flat = ("relation", "cmi", "sc")

    def more(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """The links that people decided, by sentence and place."""
        decided = {r["kind"]: {} for r in results} | {"region": {}, "region_right": {}}
        for result in results:
            decided[result["kind"]][result["about"]] = result["value"]
        links = {f"{about}={box}" for about, box in decided["region"].items() if box not in (None, NONE)}
        links -= {link for link, right in decided["region_right"].items() if right == "no"}
        links |= {link for link, right in decided["region_right"].items() if right == "yes"}
        return {"regions": sorted((_link(link) for link in links), key=lambda k: (*list(k.values())[:3], k["box"]))}


def _link(text: str) -> dict[str, Any]:
    sentence, _, rest = text.partition(":")
    span, _, box = rest.partition("=")
    start, _, end = span.partition("-")
    return {"sentence": sentence, "start": int(start), "end": int(end), "box": [float(v) for v in box.split(",")]}


def _result(kind: str, about: str, counts: Counter[str], min_annotators: int) -> dict[str, Any]:
    values = [v for v in KINDS[kind].values if v in counts] or sorted(counts)
    counts_1C = np.array([[counts[v] for v in values]])
    winner, enough = int(majority(counts_1C)[0]), counts.total() >= min_annotators
    return {
        "kind": kind,
        "about": about,
        "value": values[winner] if winner >= 0 and enough else None,
        "tied": winner < 0 and enough,
        "annotators": counts.total(),
        "values": values,
        "counts": counts_1C[0].tolist(),
        "entropy": float(np.float32(item_entropy(counts_1C)[0])),
    }


def _typed(kind: str, value: str | None) -> str | float | None:
    return value if value is None or not KINDS[kind].numeric else float(value)
