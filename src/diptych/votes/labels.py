"""Published label files: a CSV (or TSV, JSONL) with a record's own id in its source and one column an annotator.

``tweet_id,annotator_1,annotator_2,annotator_3`` or ``source,id,cmi,sc``: which column answers which question, and what
its values are called there, is said in the recipe. Such a file knows no record ids and no picture hashes, so a label
is about a record, and a question about pairs is answered for each of its pairs. An empty cell is no answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from diptych.exceptions import RecipeError, SourceError, StageError
from diptych.naming import record_id
from diptych.settings import unreadable
from diptych.sources.malformed import Malformed
from diptych.sources.tables import column_names, read_rows, text_of
from diptych.votes.answers import Vote
from diptych.votes.kinds import KINDS

__all__ = ["LabelFile", "read_labels"]


class LabelFile(BaseModel):
    """Where labels stand; ``file`` is no part of a stage's key, its hash is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(exclude=True, description=".csv, .tsv, .jsonl (each also .gz) or .parquet")
    file_sha256: str | None = Field(default=None, description="of that file; filled in when the recipe is read")
    source: str = Field(default="", description="name of the source whose records are labelled; empty: column 'source'")
    id: str = Field(default="id", min_length=1, description="column with the record's own id in that source")
    columns: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="question: columns with its answers, one an annotator"
    )
    values: dict[str, str] = Field(default={}, description="what the file calls an answer: what Diptych calls it")

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        known = [name for name, kind in KINDS.items() if kind.values and not kind.about_phrases]
        for kind in columns:
            if kind not in known:
                raise ValueError(
                    f"{kind!r} is no question with fixed answers about a whole pair; there are {', '.join(known)}"
                )
        return columns

    @model_validator(mode="before")
    @classmethod
    def _file_is_content(cls, raw: object) -> object:
        """A changed file is a changed setting: its hash stands beside its path."""
        from diptych.weights import sha256_of

        if not isinstance(raw, dict) or not isinstance(raw.get("file"), str):
            return raw
        try:
            found = sha256_of(Path(raw["file"]))
        except OSError as error:
            raise unreadable("file", raw["file"], error.strerror) from error
        if raw.get("file_sha256") not in (None, found):
            raise ValueError(f"file: {raw['file']} changed since the recipe was read")
        return {**raw, "file_sha256": found}


def read_labels(labels: LabelFile, most_malformed: int = 0) -> Iterator[Vote]:
    """The votes of a file, their items record ids; :class:`StageError` names the lines that are none."""
    path = Path(labels.file)
    malformed = Malformed(labels.source or path.name, 1 << 30)
    try:
        needed = {labels.id, *(c for names in labels.columns.values() for c in names)}
        needed |= set() if labels.source else {"source"}
        columns = column_names(path, malformed)
        if missing := sorted(needed - columns):
            raise StageError(f"labels: {path} has no column {missing}; it has {sorted(columns)}")
        seen: set[str] = set()
        for number, row in read_rows(path, malformed):
            source, name = labels.source or text_of(row, "source"), text_of(row, labels.id)
            item = record_id(source, name)
            if not source or not name or item in seen:
                malformed.add(path, f"line {number}", f"a source and an {labels.id} that occurs once", row)
                continue
            seen.add(item)
            for kind, names in labels.columns.items():
                for column in names:
                    answer = text_of(row, column)
                    value = KINDS[kind].value(labels.values.get(answer, answer)) if answer else None
                    if value is not None:
                        yield Vote(kind, item, column, value)
                    elif answer:
                        malformed.add(path, f"line {number}", f"{column}: {', '.join(KINDS[kind].values)}", answer)
    except (RecipeError, SourceError) as error:
        raise StageError(f"labels: {error}") from error
    if len(malformed.lines) > most_malformed:
        shown = "\n  ".join(malformed.lines[:10])
        raise StageError(f"labels: {len(malformed.lines)} lines of {path} are no labels:\n  {shown}\nrepair them")
