"""Values of rows through a reader's index: memory-mapped columns and tensors, images and texts from their blobs."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from diptych.exceptions import Corrupt
from diptych.records import Document
from diptych.storage.reader_fields import Field
from diptych.storage.reader_spool import open_array, open_table
from diptych.storage.segment_info import SegmentRef
from diptych.storage.segment_reader import Segment, remedy
from diptych.storage.store import Store, open_store

__all__ = ["TEXTS", "Values", "producers"]

TEXTS = frozenset({"title", "text", "summary", "language", "keyphrases", "extra"})
"""Columns of ``documents`` that stand in the document's blob, not in the snapshot."""
_OPEN_TENSORS, _OPEN_DOCUMENTS = 2048, 256
Item = TypeVar("Item")


def producers(fields: tuple[Field, ...]) -> dict[str, int]:
    """A number for each producer among the fields: the prefix of its files."""
    return {name: number for number, name in enumerate(dict.fromkeys(f.producer for f in fields))}


class _Recent:
    """The values used last, at most so many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[object, Any] = OrderedDict()

    def get(self, key: object, make: Callable[[], Item]) -> Item:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        value = self._kept[key] = make()
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return value


class Values:
    """Reads fields of rows by their number in the index; pickled as names of folders, opened where it is used."""

    def __init__(self, folder: Path, root: str, dataset: str, fields: tuple[Field, ...]) -> None:
        self.folder = folder
        self.fields = fields
        self._place = (root, dataset)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "fields": self.fields, "_place": self._place}

    @cached_property
    def _store(self) -> Store:
        return open_store(*self._place)

    @cached_property
    def keys(self) -> pa.ChunkedArray:
        """The key of each row."""
        return open_table(self.folder / "rows.arrow")["key"]

    @cached_property
    def _tables(self) -> dict[int, pa.Table]:
        found = {n: self.folder / f"{n}.arrow" for n in producers(self.fields).values()}
        return {n: open_table(path) for n, path in found.items() if path.exists()}

    @cached_property
    def _tensors(self) -> _Recent:
        return _Recent(_OPEN_TENSORS)

    @cached_property
    def _documents(self) -> _Recent:
        return _Recent(_OPEN_DOCUMENTS)

    @cached_property
    def _readers(self) -> dict[str, Callable[[int], Any]]:
        """For each field what reads the value of a row."""
        numbers = producers(self.fields)
        return {f.name: self._of_row(f, numbers[f.producer]) for f in self.fields}

    def value(self, field: str, row: int) -> Any:
        """One value: Python as Arrow gives it, a read-only array for a tensor, None when the row read is not ok."""
        return self._readers[field](row)

    def _of_row(self, field: Field, number: int) -> Callable[[int], Any]:
        read = self._of_place(field, number)
        places = open_array(self.folder / f"{number}.places")
        if not field.listed:

            def single(row: int) -> Any:
                place = int(places[row])
                return None if place < 0 else read(place)

            return single
        ends = open_array(self.folder / f"{number}.ends")

        def several(row: int) -> list[Any]:
            start = int(ends[row - 1]) if row else 0
            return [read(place) for place in places[start : int(ends[row])].tolist()]

        return several

    def _of_place(self, field: Field, number: int) -> Callable[[int], Any]:
        if field.tensor is not None:
            return self._of_tensor(field, number)
        table = self._tables[number]
        if field.producer == "images" and field.column == "bytes":
            keys = table["key"]
            return lambda place: self._store.blobs.get(keys[place].as_py())
        if field.producer == "documents" and field.column in TEXTS:
            contents = table["content"]
            return lambda place: self._text(contents[place].as_py(), field.column)
        column = table[field.column]
        return lambda place: column[place].as_py()

    def _text(self, content: str, name: str) -> Any:
        blobs = self._store.blobs
        document: Document = self._documents.get(content, lambda: Document.from_bytes(blobs.get(content)))
        value = getattr(document, name)
        return list(value) if isinstance(value, tuple) else value

    def _of_tensor(self, field: Field, number: int) -> Callable[[int], np.ndarray | None]:
        places = open_array(self.folder / f"{number}.{field.column}.tensor", 3)
        segments = open_table(self.folder / f"{number}.segments.arrow")["ref"]
        column, ragged = field.column, bool(field.tensor and field.tensor.ragged)

        def load(segment: int) -> np.ndarray:
            ref = SegmentRef.from_dict(json.loads(segments[segment].as_py()))
            return Segment(self._store, ref).tensor(column).view(np.ndarray)  # slicing a memmap is slow

        def read(place: int) -> np.ndarray | None:
            segment, start, count = places[place].tolist()
            if start < 0:
                return None
            data = self._tensors.get((number, column, segment), lambda: load(segment))
            if start + count > len(data):
                path = json.loads(segments[segment].as_py())["path"]
                raise Corrupt(f"{path}/{column}.npy: a row ends at {start + count} of {len(data)}; {remedy(path)}")
            return data[start : start + count] if ragged else data[start, ...]

        return read
