"""Parquet folders that ``datasets.load_dataset(folder)`` reads without a script or a network.

``records/<split>-00000-of-00002.parquet``: one row a record, ``images`` a list of Image features (bytes and path),
every other picture column a list of the same length. ``pairs/...`` (``rows: pairs``): one row a picture, ``image``
and its ``captions``. The schema's metadata name the features, so that pictures decode. Row groups are small: a
streaming reader holds a few pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diptych.export.picture_names import ending_of
from diptych.export.rows import ExportImage, ExportRecord, StageColumn
from diptych.export.values import FORMAT, image_values, plain, record_values, split_name

__all__ = ["HuggingFace", "schema_of"]

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXTS = ("id", "source", "subset", "source_id", "url", "split", "language", "title", "text", "summary")
_MORE = ("extra", "licence", "fetched_at")
_GROUP_ROWS, _GROUP_BYTES, _FILE_BYTES = 100, 32 << 20, 400 << 20


class HuggingFace:
    """Writes one configuration; files are numbered when all are written."""

    def __init__(self, folder: Path, rows: str, columns: Sequence[StageColumn], types: dict[str, pa.DataType]) -> None:
        self.folder = folder / rows
        self.rows = rows
        self._listed = tuple(c.label for c in columns if c.rows != "document")
        self.schema = schema_of(rows, columns, types)
        self._files: dict[str, _Split] = {}

    def add(self, record: ExportRecord) -> bool:
        """One record: a row, or one a picture; a split is there from its first row on."""
        name, written = split_name(record.split), False
        for row, tensors in self._rows_of(record):
            if name not in self._files:
                self.folder.mkdir(exist_ok=True)
                self._files[name] = _Split(self.folder, name, self.schema)
            self._files[name].add(row, tensors)
            written = True
        return written

    def close(self) -> dict[str, list[str]]:
        """Split to its files, relative to the export's folder."""
        found = {}
        for name, split in self._files.items():
            found[name] = [f"{self.rows}/{file}" for file in split.close()]
        return found

    def _rows_of(self, record: ExportRecord) -> Iterator[tuple[dict[str, Any], int]]:
        """Rows, each with the bytes of its tensors."""
        own = record_values(record)
        stages = {name: plain(value) for name, value in record.stages.items()}
        if self.rows == "records":
            row = own | stages | {"images": [_image(i) for i in record.images]}
            for name in ("key", "url", "captions", "alt", "extra", "licence", "fetched_at"):
                row[f"image_{name}"] = [image_values(i)[name] for i in record.images]
            for name in self._listed:
                row[name] = [plain(image.stages.get(name)) for image in record.images]
            yield row, _tensor_bytes(record.stages, *(image.stages for image in record.images))
            return
        for image in record.images:
            values = {f"image_{name}": value for name, value in image_values(image).items()}
            more = {name: plain(value) for name, value in image.stages.items()}
            row = own | values | stages | more | {"image": _image(image), "caption": " ".join(image.captions)}
            yield row, _tensor_bytes(record.stages, image.stages)


def _tensor_bytes(*stages: Mapping[str, Any]) -> int:
    return sum(max(4, v.itemsize) * v.size for own in stages for v in own.values() if isinstance(v, np.ndarray))


def _image(image: ExportImage) -> dict[str, Any]:
    data = image.read()
    return {"bytes": data, "path": f"{image.key}.{ending_of(data)}"}


class _Split:
    """The files of one split: row groups of bounded size, files of bounded size."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self._folder, self._name, self._schema = folder, name, schema
        self._waiting: list[dict[str, Any]] = []
        self._bytes = self._written = 0
        self._files: list[Path] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, row: dict[str, Any], tensors: int) -> None:
        self._waiting.append(row)
        pictures = row["images"] if "images" in row else [row["image"]]
        self._bytes += sum(len(p["bytes"]) for p in pictures) + len(row["text"]) + tensors
        if len(self._waiting) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            path = self._folder / f".{self._name}-{len(self._files):05d}"
            self._files.append(path)
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", write_page_index=True)
            self._written = 0
        rows = [{name: row.get(name) for name in self._schema.names} for row in self._waiting]
        self._writer.write_table(pa.Table.from_pylist(rows, self._schema))
        self._written += self._bytes
        self._waiting, self._bytes = [], 0
        if self._written >= _FILE_BYTES:
            self._end_file()

    def _end_file(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> list[str]:
        self._flush()
        self._end_file()
        names = [f"{self._name}-{n:05d}-of-{len(self._files):05d}.parquet" for n in range(len(self._files))]
        for path, name in zip(self._files, names, strict=True):
            path.rename(self._folder / name)
        return names


def schema_of(rows: str, columns: Sequence[StageColumn], types: dict[str, pa.DataType]) -> pa.Schema:
    """The Arrow schema with the features' description that Hugging Face reads; ``types`` are those of stage columns."""
    fields = [(name, pa.string()) for name in _TEXTS] + [("keyphrases", pa.list_(pa.string()))]
    fields += [(name, pa.string()) for name in _MORE]
    per_image = [(f"image_{n}", pa.string()) for n in ("key", "url", "alt", "extra", "licence", "fetched_at")]
    per_image.append(("image_captions", pa.list_(pa.string())))
    per_image += [(c.label, types[c.label]) for c in columns if c.rows != "document"]
    if rows == "records":
        fields += [("images", pa.list_(_IMAGE)), *((name, pa.list_(kind)) for name, kind in per_image)]
    else:
        fields += [("image", _IMAGE), ("caption", pa.string()), *per_image]
    fields += [(c.label, types[c.label]) for c in columns if c.rows == "document"]
    schema = pa.schema(fields)
    features = {f.name: _feature(f.type) for f in schema}
    about = {"info": {"features": features}}
    return schema.with_metadata({"huggingface": json.dumps(about), "diptych": FORMAT})


def _feature(kind: pa.DataType) -> Any:
    """A type as ``datasets`` describes it in a file's metadata; a list is written in the form all releases read."""
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
