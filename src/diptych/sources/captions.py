"""Lines of a captions file: a picture's file, its captions, its official split and what else stands beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diptych.exceptions import SourceError
from diptych.sources.fields import Wrong, shown, text_in, texts_in
from diptych.sources.malformed import Malformed
from diptych.sources.official import check_split
from diptych.sources.tables import Row, column_names, read_rows, table_format

__all__ = ["FILE_KEYS", "Captioned", "check_columns", "read_captions"]

FILE_KEYS = ("file", "image", "file_name", "filename", "path")
_CAPTION_KEYS = ("caption", "captions", "text", "title", "description")
_FORMAT = "csv"
"""Of a file whose name tells none."""


@dataclass(frozen=True)
class Captioned:
    """What one line says about its picture."""

    captions: list[str]
    split: str
    extra: dict[str, Any]

    def to_json(self) -> str:
        """For the spool."""
        return json.dumps(asdict(self), ensure_ascii=False, default=str)

    @classmethod
    def from_json(cls, text: str) -> Captioned:
        """Back from the spool."""
        return cls(**json.loads(text))


def check_columns(path: Path, malformed: Malformed) -> None:
    """:class:`SourceError` when a file with columns has none that names files; an object may lack it, a line each."""
    if table_format(path, _FORMAT) == "jsonl":
        return
    columns = column_names(path, malformed, _FORMAT)
    if not columns & set(FILE_KEYS):
        raise SourceError(
            f"source {malformed.source!r}, {path}, line 1: expected a column {' or '.join(FILE_KEYS)}, "
            f"found {sorted(columns)}; name the column of the picture files so"
        )


def read_captions(path: Path, malformed: Malformed) -> Iterator[tuple[str, Captioned | None]]:
    """(picture's file, what its line says) in the order of the file; None where that cannot be read.

    Lines that name no file go to ``malformed`` alone. Raises :class:`SourceError` when no line can be read.
    """
    some = False
    for number, row in read_rows(path, malformed, _FORMAT):
        try:
            key = _file_key(row)
        except Wrong as wrong:
            malformed.add_wrong(path, f"line {number}", wrong)
            continue
        try:
            line = _captioned(row, key)
        except Wrong as wrong:
            malformed.add_wrong(path, f"line {number}", wrong)
            line = None
        some = some or line is not None
        yield row[key], line
    malformed.check_some(path, some)


def _file_key(row: Row) -> str:
    """The column that names the picture's file."""
    key = next((key for key in FILE_KEYS if row.get(key)), None)
    if key is None:
        empty = next((key for key in FILE_KEYS if key in row), None)
        found = "an empty value" if empty else f"only {sorted(row)}"
        raise Wrong(empty or " or ".join(FILE_KEYS), "the name of a picture's file", found)
    if not isinstance(row[key], str) or not row[key].strip():
        raise Wrong(key, "the name of a picture's file", shown(row[key]))
    return key


def _captioned(row: Row, file_key: str) -> Captioned:
    key = next((key for key in _CAPTION_KEYS if key in row), "")
    if key == "caption" and not row[key] and row.get("captions"):
        key = "captions"
    split = check_split(text_in(row, "split"))
    extra = {k: v for k, v in row.items() if k not in (file_key, key, "split") and v not in (None, "")}
    return Captioned(texts_in(row, key), split, extra)
