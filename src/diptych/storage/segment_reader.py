"""Reading a segment: columns as Arrow, tensors as memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import Corrupt, NotFound
from diptych.naming import split_pair_key
from diptych.stage import Tensor
from diptych.storage.canonical import Column, RowDigests, row_digests
from diptych.storage.rows import ROWS_SCHEMA
from diptych.storage.segment_info import (
    STATE_COLUMNS,
    STATE_SCHEMA,
    TABLE,
    TENSORS_KEY,
    FileRef,
    SegmentInfo,
    SegmentRef,
    load_info,
    tensors_from_dict,
)

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["Segment", "check_file", "digest_columns", "read_segment", "shows"]


def check_file(store: Store, path: str, file: FileRef) -> None:
    """Raise :class:`NotFound` or :class:`Corrupt` unless a segment's file has its size and SHA-256."""
    name = f"{path}/{file.name}"
    size = store.home.size(name)
    if size != file.size:
        raise Corrupt(f"{name} in {store.home.url}: expected {file.size} bytes, found {size}; {remedy(path)}")
    with store.home.local(name).open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if found != file.sha256:
        raise Corrupt(f"{name} in {store.home.url}: expected SHA-256 {file.sha256}, found {found}; {remedy(path)}")


def remedy(path: str) -> str:
    """What to run when a segment is damaged: it computes the shard again."""
    names = path.split("/")
    stage, shard = (names[1], names[3].removeprefix("shard-")) if len(names) > 3 else ("STAGE", "N")
    return f"run diptych rebuild DATASET --shard {int(shard) if shard.isdigit() else shard} --stage {stage}"


def digest_columns(states: Mapping[str, Any], columns: Sequence[Column]) -> list[Column]:
    """The columns of a row that its digests cover: outcome first, then the stage's."""
    outcome = [(name, STATE_SCHEMA.field(name).type, states[name]) for name in ("status", "code", "value", "threshold")]
    return [*outcome, *columns]


class Segment:
    """A finished segment; files are opened when first asked for."""

    def __init__(self, store: Store, ref: SegmentRef) -> None:
        self._store = store
        self.ref = ref

    def __repr__(self) -> str:
        return f"Segment({self.ref.path!r}, {self.ref.rows} rows)"

    @cached_property
    def info(self) -> SegmentInfo:
        """What ``part.json`` says."""
        return load_info(self._store, self.ref.path).info

    @cached_property
    def _file_schema(self) -> pa.Schema:
        try:
            return pq.read_schema(self._local(TABLE))
        except MemoryError:
            raise  # Arrow's is an ArrowException, too; the file is whole
        except (pa.ArrowException, OSError) as error:
            raise self._corrupt(TABLE, error) from error

    @property
    def schema(self) -> pa.Schema:
        """The stage's own columns."""
        places = {f"{n}.{p}" for n in self.tensors for p in ("start", "count")}
        own = [f for f in self._file_schema if f.name not in STATE_COLUMNS and f.name not in places]
        return pa.schema(own)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The declared tensors."""
        return tensors_from_dict(json.loads((self._file_schema.metadata or {}).get(TENSORS_KEY, b"{}")))

    def table(self, columns: Sequence[str] | None = None, *, checksums: bool = False) -> pa.Table:
        """Columns of ``table.parquet`` (all, or those named, in that order); page checksums when asked."""
        try:
            path = self._local(TABLE)
            if columns is not None and not columns:
                return pa.table({}).select([])
            table = pq.ParquetFile(path, memory_map=True, page_checksum_verification=checksums).read(
                None if columns is None else list(dict.fromkeys(columns))
            )
            if table.num_rows != self.ref.rows:
                raise Corrupt(
                    f"{self.ref.path}/{TABLE}: expected {self.ref.rows} rows, found {table.num_rows}; "
                    f"{remedy(self.ref.path)}"
                )
            return table.replace_schema_metadata(None) if columns is None else self._select(table, columns)
        except MemoryError:
            raise  # Arrow's is an ArrowException, too; the file is whole
        except (pa.ArrowException, OSError) as error:
            raise self._corrupt(TABLE, error) from error

    def _select(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        missing = [name for name in columns if name not in table.schema.names]
        if missing:
            raise NotFound(f"segment {self.ref.path} has no column {missing}; it has {self._file_schema.names}")
        return table.select(list(columns)).replace_schema_metadata(None)

    def rows(self) -> pa.Table:
        """The row table of the segment's own rows, in which it is segment 0."""
        table = self.table(["key", "input_hash", "status", "code", "exact", "floats"])
        count = table.num_rows
        table = table.append_column("segment", pa.array(np.zeros(count, np.int32)))
        table = table.append_column("row", pa.array(np.arange(count)))
        return table.select(ROWS_SCHEMA.names).cast(ROWS_SCHEMA)

    def tensor(self, name: str) -> np.ndarray:
        """All rows of a tensor, memory-mapped, read-only: shape ``(total rows, *row_shape)``."""
        if name not in self.tensors:
            raise NotFound(f"segment {self.ref.path} has no tensor {name!r}; it has {sorted(self.tensors)}")
        file = f"{name}.npy"
        try:
            path = self._local(file)
            with path.open("rb") as handle:
                version = np.lib.format.read_magic(handle)
                shape, _, _ = np.lib.format.read_array_header_1_0(handle) if version == (1, 0) else ((-1,), 0, 0)
            empty = 0 in shape  # an empty file cannot be mapped
            array = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise self._corrupt(file, error) from error
        spec = self.tensors[name]
        if array.shape[1:] != spec.row_shape or array.dtype != np.dtype(spec.dtype):
            raise self._corrupt(file, f"expected {spec.dtype} (n, {spec.row_shape}), found {array.dtype} {array.shape}")
        array.flags.writeable = False
        return array

    def tensor_rows(self, name: str) -> list[np.ndarray | None]:
        """One array a row (None when the row has none): views of the memory-mapped file."""
        table = self.table([f"{name}.start", f"{name}.count"])
        data = self.tensor(name).view(np.ndarray)  # slicing a memmap is slow
        ragged = self.tensors[name].ragged
        rows: list[np.ndarray | None] = []
        starts, counts = (table.column(i).to_pylist() for i in (0, 1))
        for row, (start, count) in enumerate(zip(starts, counts, strict=True)):
            if start is not None and start + count > len(data):
                raise self._corrupt(f"{name}.npy", f"row {row} ends at {start + count}, the file has {len(data)}")
            rows.append(None if start is None else data[start : start + count] if ragged else data[start, ...])
        return rows

    def recompute(self) -> RowDigests:
        """Both digests of every row, computed from the stored values."""
        table = self.table(checksums=True)
        columns: list[Column] = [(f.name, f.type, table[f.name]) for f in self.schema]
        tensors: list[Column] = [(name, spec, self.tensor_rows(name)) for name, spec in self.tensors.items()]
        return row_digests(digest_columns(table, [*columns, *tensors]), table.num_rows)

    def verify(self) -> None:
        """Raise :class:`NotFound` or :class:`Corrupt` unless every file is there with its size and SHA-256."""
        for file in self.ref.files:
            check_file(self._store, self.ref.path, file)

    def _local(self, name: str) -> Path:
        file = self.ref.file(name)
        path = f"{self.ref.path}/{name}"
        try:
            return self._store.home.local(path, file.sha256)
        except NotFound:
            raise NotFound(f"{path} is missing in {self._store.home.url}; {remedy(self.ref.path)}") from None

    def _corrupt(self, name: str, error: object) -> Corrupt:
        return Corrupt(f"{self.ref.path}/{name} in {self._store.home.url} is damaged: {error}; {remedy(self.ref.path)}")


def read_segment(store: Store, ref: SegmentRef, verify: bool = False) -> Segment:
    """Open a segment; ``verify`` checks every file's size and SHA-256 first."""
    segment = Segment(store, ref)
    if verify:
        segment.verify()
    return segment


def shows(store: Store, path: str, images: Collection[str]) -> bool:
    """Whether a segment has rows of one of these pictures or of its pairs; True when it cannot be read."""
    try:
        keys = read_segment(store, load_info(store, path).ref).table(["key"])["key"].to_pylist() if images else []
    except (NotFound, Corrupt):
        return True
    return any(name in images for key in keys for name in split_pair_key(key))
