"""Files of predictions, checked line by line: an error names file, line, what was expected and what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from diptych.exceptions import UsageError

__all__ = [
    "CaptionLine",
    "ClassLine",
    "KeyphrasesLine",
    "Line",
    "SummaryLine",
    "read_lines",
    "read_pairs",
    "read_similarity",
]

Name = str | int


class Line(BaseModel):
    """One object a line; further keys (a split, a score) are allowed and not read."""

    model_config = ConfigDict(strict=True, frozen=True)
    id: Name


class KeyphrasesLine(Line):
    """A post's phrases, best first; words stand between spaces. ``source`` is where present phrases are looked for."""

    predicted: list[str] | None = None
    gold: list[str] | None = None
    source: str | None = None


class SummaryLine(Line):
    """A document's summary."""

    predicted: str | None = None
    gold: str | None = None


class ClassLine(Line):
    """A row's class."""

    predicted: Name | None = None
    gold: Name | None = None


class CaptionLine(Line):
    """The text of one column of a similarity matrix."""

    caption: str


AnyLine = TypeVar("AnyLine", bound=Line)
AnyPair = TypeVar("AnyPair", KeyphrasesLine, SummaryLine, ClassLine)


def read_lines(kind: type[AnyLine], path: Path) -> list[AnyLine]:
    """The objects of a JSONL file, in order; blank lines are passed over, an id may stand only once."""
    lines: list[AnyLine] = []
    seen: dict[Name, int] = {}
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                line = kind.model_validate_json(text)
            except ValidationError as error:
                raise UsageError(f"{path}:{number}: {_said(error)}") from None
            if line.id in seen:
                raise UsageError(
                    f"{path}:{number}: expected every id once, found {line.id!r} also on line {seen[line.id]}"
                )
            seen[line.id] = number
            lines.append(line)
    if not lines:
        raise UsageError(f"{path}: expected one JSON object a line, found no line")
    return lines


def read_pairs(kind: type[AnyPair], predictions: Path, gold: Path | None) -> list[tuple[AnyPair, AnyPair]]:
    """Each prediction with its gold: of the same line, or by id of a second file, all of whose ids are predicted."""
    ours = read_lines(kind, predictions)
    theirs = {line.id: line for line in (read_lines(kind, gold) if gold else ours)}
    for line in ours:
        if line.predicted is None:
            raise UsageError(f"{predictions}: id {line.id!r}: expected the key 'predicted', found none")
        if line.id not in theirs:
            raise UsageError(f"{predictions}: id {line.id!r}: expected it in {gold} too, found it only here")
    for line in theirs.values():
        if line.gold is None:
            where = gold or f"{predictions} (or give a second file with --gold)"
            raise UsageError(f"{where}: id {line.id!r}: expected the key 'gold', found none")
    predicted = {line.id for line in ours}
    missing = [name for name in theirs if name not in predicted]
    if missing:
        raise UsageError(
            f"{predictions}: expected a prediction for each of the {len(theirs)} ids of {gold}, found none for "
            f"{len(missing)}, the first of them {missing[0]!r}"
        )
    return [(line, theirs[line.id]) for line in ours]


def read_similarity(path: Path) -> np.ndarray:
    """Float matrix (images, captions), memory-mapped; the captions are a multiple of the images, nothing is nan."""
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path}: expected an .npy file of numbers, found: {error}") from None
    if not isinstance(scores, np.ndarray):
        scores.close()
        raise UsageError(f"{path}: expected an .npy file of numbers, found an archive of several arrays")
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        found = f"{scores.dtype} {scores.shape}"
        raise UsageError(f"{path}: expected a matrix of numbers (images x captions), found {found}")
    images, captions = scores.shape
    if not images or not captions or captions % images:
        raise UsageError(
            f"{path}: expected images x captions with the same number of captions for each image, found {scores.shape}"
        )
    if scores.dtype.kind == "f" and np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise UsageError(f"{path}: expected numbers, found nan at row {row}, column {column}")
    return scores


def _said(error: ValidationError) -> str:
    """The first problem of a line in our words."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"expected one JSON object, found: {first['msg'].removeprefix('Invalid JSON: ')}"
    where = ".".join(str(part) for part in first["loc"] if str(part) not in ("str", "int"))
    if first["type"] == "missing":
        return f"expected the key {where!r}, found none"
    found = repr(first["input"])
    return f"{where + ': ' if where else ''}expected {_EXPECTED.get(first['type'], first['msg'])}, found {found[:80]}"


_EXPECTED = {
    "list_type": "a list of texts",
    "string_type": "a text",
    "int_type": "a text or a whole number",
    "model_type": "a JSON object",
    "model_attributes_type": "a JSON object",
}
