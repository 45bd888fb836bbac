"""Segments: rows of one stage and one shard, written once, never changed.

The layout stands in ``segment_info``; this module writes it and names the reader's functions beside the writer.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import Conflict, StageError, StoreError
from diptych.stage import Output, RowState, Tensor
from diptych.storage.canonical import Column, row_digests, tensor_bytes, type_signature
from diptych.storage.manifest import Schema
from diptych.storage.rows import Counts, make_rows
from diptych.storage.segment_info import (
    INFO,
    STATE_COLUMNS,
    STATE_SCHEMA,
    TABLE,
    TENSORS_KEY,
    FileRef,
    FoundSegment,
    SegmentInfo,
    SegmentRef,
    WrittenSegment,
    find_segments,
    segment_folder,
    segment_ref,
    tensors_to_dict,
)
from diptych.storage.segment_reader import Segment, digest_columns, read_segment

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = [
    "STATE_COLUMNS",
    "FileRef",
    "FoundSegment",
    "Segment",
    "SegmentInfo",
    "SegmentRef",
    "SegmentWriter",
    "WrittenSegment",
    "find_segments",
    "read_segment",
    "segment_folder",
]

_FLUSH_ROWS, _FLUSH_BYTES = 8192, 32 << 20


class SegmentWriter:
    """Streams rows into one new segment; memory is bounded by the batches given, not by the segment."""

    def __init__(
        self,
        store: Store,
        *,
        stage: str,
        stage_key: str,
        shard: int,
        shards: int,
        build: str,
        schema: pa.Schema,
        tensors: Mapping[str, Tensor],
        meta: Mapping[str, object],
    ) -> None:
        _check_names(stage, schema, tensors)
        self._home = store.home
        self._label = f"stage {stage}, shard {shard}"
        self._address = (stage, stage_key, shard, shards, build)
        self._schema = schema.remove_metadata()
        self._tensors = dict(tensors)
        self._meta = {"host": platform.node(), **meta}
        self.path = f"{segment_folder(stage, stage_key, shard)}/{build}-{secrets.token_hex(6)}"
        self._folder = self._home.scratch(self.path)
        places = [(f"{n}.{p}", t) for n in tensors for p, t in (("start", pa.int64()), ("count", pa.int32()))]
        spec = json.dumps(tensors_to_dict(tensors))
        self._file_schema = pa.schema([*STATE_SCHEMA, *self._schema, *(pa.field(*p) for p in places)])
        self._file_schema = self._file_schema.with_metadata({TENSORS_KEY: spec.encode()})
        with self._not_collected():
            self._table = pq.ParquetWriter(
                self._folder / TABLE, self._file_schema, compression="zstd", write_page_checksum=True
            )
            self._files = {n: _TensorFile(self._folder / f"{n}.npy", t) for n, t in self._tensors.items()}
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._done: list[pa.Table] = []
        self._open = True

    @contextmanager
    def _not_collected(self) -> Iterator[None]:
        """A gc that knew of no running build of this name may have taken the files: that is a lost race."""
        try:
            yield
        except FileNotFoundError as error:
            raise Conflict(
                f"{self._label}: {self.path} was deleted while it was written (a gc that saw no sign of life of this "
                "build); the build has to be planned again"
            ) from error

    def append(self, output: Output, input_hashes: Sequence[bytes]) -> None:
        """Add a batch's rows; :class:`StageError` when it breaks the declaration."""
        if not self._open:
            raise StoreError(f"{self._label}: the segment {self.path} is closed")
        output.check(self._address[0])
        if output.schema.names != self._schema.names or list(output.tensors) != list(self._tensors):
            raise StageError(f"{self._label}: expected columns {self._schema.names} and tensors {list(self._tensors)}, "
                             f"found {output.schema.names} and {list(output.tensors)}")  # fmt: skip
        if len(input_hashes) != len(output.keys):
            raise StageError(f"{self._label}: {len(input_hashes)} input hashes for {len(output.keys)} rows")
        arrays = [self._array(output, field) for field in self._schema]
        state = _state_columns(output.states)
        tensors: list[Column] = [(n, t, output.values[n]) for n, t in self._tensors.items()]
        columns: list[Column] = [(f.name, f.type, a) for f, a in zip(self._schema, arrays, strict=True)]
        digests = row_digests(digest_columns(state, [*columns, *tensors]), len(output.keys))
        head = {"key": output.keys, "input_hash": input_hashes, **state}
        head |= {"exact": digests.exact, "floats": digests.floats}
        first = [pa.array(head[f.name], f.type) for f in STATE_SCHEMA]
        last = [column for name, file in self._files.items() for column in file.append(output.values[name])]
        batch = pa.table([*first, *arrays, *last], schema=self._file_schema)
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= _FLUSH_ROWS or self._waiting_bytes >= _FLUSH_BYTES:
            self._flush()

    def _array(self, output: Output, field: pa.Field) -> pa.Array:
        values = output.values[field.name]
        try:
            array = pa.array(values, field.type)
        except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError) as error:
            row = next((i for i, v in enumerate(values) if not _fits(v, field.type)), 0)
            raise StageError(
                f"{self._label}, row {output.keys[row]}, column {field.name}: expected {field.type}, "
                f"found {values[row]!r:.200}: {error}"
            ) from error
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        return array

    def _flush(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting).combine_chunks()
            self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
            self._table.write_table(table)
            self._done.append(table.select(["key", "input_hash", "status", "code", "exact", "floats"]))

    def close(self) -> WrittenSegment:
        """Make the segment exist: files, folder, then ``part.json``, each durable before the next.

        When that fails nothing is left; :class:`Conflict` when a gc took the files meanwhile.
        """
        if not self._open:
            raise StoreError(f"{self._label}: the segment {self.path} is closed")
        try:
            with self._not_collected():
                return self._finish()
        except BaseException:
            self.abort()
            raise

    def _finish(self) -> WrittenSegment:
        self._flush()
        self._table.close()
        self._open = False
        for file in self._files.values():
            file.close()
        rows = self._row_table()
        names = [TABLE, *(f"{n}.npy" for n in self._files)]
        files = []
        for name in names:
            local = self._folder / name
            with local.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            files.append(FileRef(name, local.stat().st_size, digest))
            self._home.put_file(f"{self.path}/{name}", local)
        stage, stage_key, shard, shards, build = self._address
        info = SegmentInfo(
            stage, stage_key, shard, shards, build, rows.num_rows, Counts.of(rows["status"]),
            Schema.of(self._schema), self._tensors, tuple(files), self._meta,
        )  # fmt: skip
        data = info.to_bytes()
        self._home.put(f"{self.path}/{INFO}", data)
        return WrittenSegment(segment_ref(self.path, info, data), rows)

    def _row_table(self) -> pa.Table:
        done = pa.concat_tables(self._done).to_pydict() if self._done else {}
        keys: list[str] = done.get("key", [])
        get = lambda name: done.get(name, [])  # noqa: E731
        return make_rows(
            keys=keys, segment=[0] * len(keys), row=range(len(keys)), input_hash=get("input_hash"),
            status=get("status"), code=get("code"), exact=get("exact"), floats=get("floats"),
        )  # fmt: skip

    def abort(self) -> None:
        """Remove what was written; nothing is left that a reader could see."""
        self._open = False
        try:
            self._table.close()
        finally:
            for file in self._files.values():
                file.discard()
            for name in [INFO, TABLE, *(f"{n}.npy" for n in self._files)]:
                self._home.delete(f"{self.path}/{name}")
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self.abort()


class _TensorFile:
    """Appends tensors to a ``.npy`` file whose header is completed at the end."""

    def __init__(self, path: Path, spec: Tensor) -> None:
        self._spec = spec
        self._rows = 0
        self._file: BinaryIO = path.open("wb")
        self._header()

    def _header(self) -> None:
        dtype = np.dtype(self._spec.dtype).newbyteorder("<")
        shape = (self._rows, *self._spec.row_shape)
        descr = np.lib.format.dtype_to_descr(dtype)
        # numpy pads the first dimension to 21 digits, so the header's length does not depend on the rows
        np.lib.format.write_array_header_1_0(self._file, {"descr": descr, "fortran_order": False, "shape": shape})

    def append(self, values: Sequence[Any]) -> tuple[pa.Array, pa.Array]:
        """Write the arrays; returns the start and the count of each row."""
        starts: list[int | None] = []
        counts: list[int] = []
        for value in values:
            count = 0 if value is None else len(value) if self._spec.ragged else 1
            starts.append(None if value is None else self._rows)
            counts.append(count)
            if value is not None:
                self._file.write(tensor_bytes(value, self._spec))
            self._rows += count
        return pa.array(starts, pa.int64()), pa.array(counts, pa.int32())

    def close(self) -> None:
        """Complete the header."""
        self._file.seek(0)
        self._header()
        self._file.close()

    def discard(self) -> None:
        """Close without completing."""
        self._file.close()


def _check_names(stage: str, schema: pa.Schema, tensors: Mapping[str, Tensor]) -> None:
    names = [*schema.names, *tensors]
    taken = sorted({n for n in names if n in STATE_COLUMNS or names.count(n) > 1})
    if taken:
        raise StageError(
            f"stage {stage}: outputs may not be named {', '.join(taken)}: every row has {', '.join(STATE_COLUMNS)} "
            "already, and a name occurs once"
        )
    for field in schema:
        try:
            type_signature(field.type)
        except StoreError as error:
            raise StageError(f"stage {stage}, column {field.name}: {error}") from error
    bad = sorted(n for n in names if not n or "." in n or "/" in n or n.startswith("-"))
    if bad:
        raise StageError(f"stage {stage}: outputs may not be named {', '.join(map(repr, bad))}: no '.' and no '/'")


def _state_columns(states: Sequence[RowState]) -> dict[str, Any]:
    return {
        "status": [str(s.status) for s in states],
        "code": [s.code for s in states],
        "error": [s.text.encode("utf-8", "replace").decode() for s in states],
        "value": [s.value for s in states],
        "threshold": [s.threshold for s in states],
    }


def _fits(value: object, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except Exception:  # only finds the row to name in an error that is already there
        return False
    return True
