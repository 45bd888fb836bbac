"""What a segment is, on disk and by reference: its folder, its files, its ``part.json``.

A segment is a folder ``parts/<stage>/<stage key>/shard-00007/<build id>-<random>/``:

``table.parquet``  one line a row: ``key, input_hash, status, code, error, value, threshold, exact, floats``, then
                   the stage's columns, then ``<tensor>.start`` and ``<tensor>.count`` for each tensor
``<tensor>.npy``   all rows' tensors, concatenated: shape ``(total rows, *row_shape)``, no pickles
``part.json``      what it is, and size and SHA-256 of the other files; written last

``start`` is null when a row has no tensor; a fixed tensor has count 1. A folder without ``part.json`` does
not exist for readers. Nobody else ever writes to the same folder: the random part makes a retry beside a
zombie of the same build a segment of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from diptych.exceptions import Corrupt, NotFound
from diptych.naming import HASH_BYTES, shard_name, shard_of
from diptych.stage import Tensor
from diptych.storage.manifest import Schema
from diptych.storage.rows import Counts

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = [
    "STATE_COLUMNS",
    "STATE_SCHEMA",
    "FileRef",
    "FoundSegment",
    "SegmentInfo",
    "SegmentRef",
    "WrittenSegment",
    "covers",
    "find_segments",
    "load_info",
    "segment_folder",
    "segment_ref",
    "tensors_from_dict",
    "tensors_to_dict",
]

_HASH = pa.binary(HASH_BYTES)
STATE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("input_hash", _HASH),
        ("status", pa.string()),
        ("code", pa.string()),
        ("error", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("exact", _HASH),
        ("floats", _HASH),
    ]
)
STATE_COLUMNS = tuple(STATE_SCHEMA.names)
"""Columns every segment has; no stage may declare one of these names."""

TABLE, INFO, TENSORS_KEY = "table.parquet", "part.json", b"diptych.tensors"


@dataclass(frozen=True)
class FileRef:
    """One file of a segment."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SegmentRef:
    """A finished segment: its folder relative to the dataset, its rows, its files (``part.json`` too)."""

    path: str
    rows: int
    files: tuple[FileRef, ...]

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(f.size for f in self.files)

    def file(self, name: str) -> FileRef:
        """One file; :class:`Corrupt` when the segment has none of that name."""
        for file in self.files:
            if file.name == name:
                return file
        raise Corrupt(f"segment {self.path} has no file {name}; it has {[f.name for f in self.files]}")

    def as_dict(self) -> dict[str, object]:
        """As plain values, for JSON and Arrow structs."""
        files = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in self.files]
        return {"path": self.path, "rows": self.rows, "files": files}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> SegmentRef:
        """The inverse of :meth:`as_dict`."""
        return cls(value["path"], value["rows"], tuple(FileRef(**f) for f in value["files"]))


@dataclass(frozen=True)
class SegmentInfo:
    """What ``part.json`` says; ``meta`` is the writer's (packages, weights, host, code)."""

    stage: str
    stage_key: str
    shard: int
    shards: int
    build: str
    rows: int
    counts: Counts
    columns: Schema
    tensors: Mapping[str, Tensor]
    files: tuple[FileRef, ...]
    meta: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """Content of ``part.json``."""
        value = {
            "format": 1,
            "stage": self.stage,
            "stage_key": self.stage_key,
            "shard": self.shard,
            "shards": self.shards,
            "build": self.build,
            "rows": self.rows,
            "counts": self.counts.as_dict(),
            "columns": self.columns.model_dump(),
            "tensors": tensors_to_dict(self.tensors),
            "files": [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in self.files],
            "meta": dict(self.meta),
        }
        return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> SegmentInfo:
        """Parse ``part.json``; :class:`Corrupt` naming ``where`` when it is not one."""
        try:
            value = json.loads(data)
            if value.pop("format") != 1:
                raise Corrupt(f"{where} was written by a newer diptych; update to read it")
            value["counts"] = Counts(**value["counts"])
            value["columns"] = Schema(**value["columns"])
            value["tensors"] = tensors_from_dict(value["tensors"])
            value["files"] = tuple(FileRef(**f) for f in value["files"])
            return cls(**value)
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{where} is not a segment's part.json: {error}") from error


@dataclass(frozen=True)
class WrittenSegment:
    """A segment just closed, and its rows as a row table in which it is segment 0."""

    ref: SegmentRef
    rows: pa.Table


@dataclass(frozen=True)
class FoundSegment:
    """A finished segment found by its address."""

    ref: SegmentRef
    info: SegmentInfo


def tensors_to_dict(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Tensor declarations in JSON form."""
    return {name: {"dtype": t.dtype, "shape": list(t.shape)} for name, t in tensors.items()}


def tensors_from_dict(value: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensor declarations from their JSON form."""
    return {name: Tensor(t["dtype"], tuple(t["shape"])) for name, t in value.items()}


def segment_folder(stage: str, stage_key: str, shard: int) -> str:
    """Where the segments of a shard are, relative to the dataset."""
    return f"parts/{stage}/{stage_key}/{shard_name(shard)}"


def segment_ref(path: str, info: SegmentInfo, data: bytes) -> SegmentRef:
    """The reference to a segment whose ``part.json`` is ``data``."""
    own = FileRef(INFO, len(data), hashlib.sha256(data).hexdigest())
    return SegmentRef(path, info.rows, (*info.files, own))


def load_info(store: Store, path: str) -> FoundSegment:
    """The finished segment in a folder; :class:`NotFound` when it has no ``part.json``."""
    data = store.home.read(f"{path}/{INFO}")
    info = SegmentInfo.from_bytes(data, f"{path}/{INFO} in {store.home.url}")
    return FoundSegment(segment_ref(path, info, data), info)


def covers(store: Store, path: str, records: Iterable[str]) -> bool:
    """Whether a segment's range of record ids holds one of these; True when its ``part.json`` cannot be read."""
    try:
        info = load_info(store, path).info
    except (NotFound, Corrupt):
        return True
    return any(shard_of(record, info.shards) == info.shard for record in records)


def find_segments(
    store: Store, stage: str, stage_key: str, shard: int, shards: int, retired: Collection[str] = ()
) -> list[FoundSegment]:
    """Finished segments of one shard of one stage, the newest first, without those that the log has retired.

    ``retired`` is ``store.log.retired().segments``. A damaged ``part.json`` counts as absent: what cannot be
    read is not reused.
    """
    folder = segment_folder(stage, stage_key, shard)
    found = []
    for name in store.home.list(folder):
        path = f"{folder}/{name}"
        if path in retired:
            continue
        try:
            segment = load_info(store, path)
        except (NotFound, Corrupt):
            continue
        info = segment.info
        if (info.stage, info.stage_key, info.shard, info.shards) == (stage, stage_key, shard, shards):
            found.append((store.home.modified(f"{path}/{INFO}"), path, segment))
    return [segment for _, _, segment in sorted(found, key=lambda item: item[:2], reverse=True)]
