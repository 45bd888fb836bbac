"""NumPy and HDF5 files as older training code expects them: features of pictures by key, boxes beside them.

``npz``: ``<stage>/<split>/<image key>.npz``. Of ``regions`` as extractors of bottom-up attention write them: ``x``
(K, D) float32, ``bbox`` (K, 4) xyxy pixels, ``num_bbox``, ``image_w``, ``image_h``, ``objects`` (names) and
``objects_conf``. Of any other stage one array a tensor, under its own name (``grid``: (49, 512)).

``h5``: ``<split>.h5``. Of ``regions`` at the top level: ``image_features`` (sum K, D), ``image_bb`` (sum K, 4) and
``spatial_features`` (sum K, 6: x1/W, y1/H, x2/W, y2/H, w/W, h/H) of all pictures one after the other, and
``pos_boxes`` (N, 2): first row, and row after the last, of each picture. Of other stages ``<stage>/<tensor>`` (N,
...), or flat with ``<stage>/<tensor>_pos`` when ragged, in the type that the stage declares. Where a stage has no ok
row, ``regions_ok`` or ``<stage>/<tensor>_ok`` (N) is false, and what stands there is NaN, of other kinds of numbers 0,
or no row when ragged. ``image_ids`` (N) are image keys, ``<split>_index.json`` maps a key to its row (what a pickle
did in the original).

A picture that several records of a split show stands there once. Nothing is pickled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.exceptions import MissingExtra, UsageError
from diptych.export.rows import ExportImage, ExportRecord, StageColumn
from diptych.export.values import split_name

__all__ = ["H5", "Npz", "region_arrays", "spatial_features"]


class _Seen:
    """Which pictures of which split were written."""

    def __init__(self) -> None:
        self._keys: dict[str, set[str]] = {}

    def first(self, split: str, key: str) -> bool:
        """True once a picture and split."""
        known = self._keys.setdefault(split, set())
        if key in known:
            return False
        known.add(key)
        return True


def region_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """``x``, ``bbox`` and the rest of one picture's regions; None where the stage has no ok row."""
    features, boxes = values.get("regions_features"), values.get("regions_boxes")
    if boxes is None:
        return None
    bbox = np.asarray(boxes, np.float32).reshape(-1, 4)
    found = {"bbox": bbox, "num_bbox": np.int64(len(bbox))}
    if features is not None:
        found["x"] = np.asarray(features, np.float32)
    for name, column in (("image_w", "regions_width"), ("image_h", "regions_height")):
        if values.get(column) is not None:
            found[name] = np.int64(values[column])
    names = values.get("regions_class_names")
    if names is not None:
        found["objects"] = np.asarray([str(n) for n in names], np.str_)
    if values.get("regions_scores") is not None:
        found["objects_conf"] = np.asarray(values["regions_scores"], np.float32)
    return found  # type: ignore[return-value]


def spatial_features(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """(K, 6) in parts of the picture: x1, y1, x2, y2, width, height."""
    scaled = np.asarray(boxes, np.float32).reshape(-1, 4) / np.array([width, height, width, height], np.float32)
    return np.concatenate([scaled, scaled[:, 2:] - scaled[:, :2]], axis=1)


class Npz:
    """One file a picture and stage."""

    def __init__(self, folder: Path, columns: Sequence[StageColumn]) -> None:
        self.folder, self._columns, self._seen = folder, columns, _Seen()
        self._tensors = [c for c in columns if c.row_shape is not None and c.stage != "regions"]
        self._counts: dict[str, int] = {}
        _check(columns, self._tensors)

    def add(self, record: ExportRecord) -> bool:
        """The pictures of one record."""
        split, written = split_name(record.split), False
        for image in record.images:
            stages = self._arrays(image)
            written |= bool(stages)
            if stages and self._seen.first(split, image.key):
                self._counts[split] = self._counts.get(split, 0) + 1
                for stage, arrays in stages.items():
                    path = self.folder / stage / split / f"{image.key}.npz"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.savez_compressed(path, allow_pickle=False, **arrays)
        return written

    def _arrays(self, image: ExportImage) -> dict[str, dict[str, np.ndarray]]:
        found: dict[str, dict[str, np.ndarray]] = {}
        if (regions := region_arrays(image.stages)) is not None:
            found["regions"] = regions
        for column in self._tensors:
            value = image.stages.get(column.label)
            if value is not None:
                found.setdefault(column.stage, {})[column.name] = np.asarray(value)
        return found

    def close(self) -> dict[str, list[str]]:
        """Split to its folders, relative to the export's folder."""
        stages = sorted({c.stage for c in self._columns})
        return {
            split: [f"{stage}/{split}" for stage in stages if (self.folder / stage / split).is_dir()]
            for split in self._counts
        }


class H5:
    """One HDF5 file a split; datasets grow by whole pictures."""

    def __init__(self, folder: Path, columns: Sequence[StageColumn]) -> None:
        try:
            import h5py  # noqa: F401
        except ImportError as error:
            raise MissingExtra("h5py", "export") from error
        self.folder, self._columns, self._seen = folder, columns, _Seen()
        tensors = [c for c in columns if c.row_shape is not None and c.stage != "regions"]
        _check(columns, tensors)
        self._tensors = tensors
        self._files: dict[str, _H5Split] = {}

    def add(self, record: ExportRecord) -> bool:
        """The pictures of one record."""
        split = split_name(record.split)
        for image in record.images:
            if self._seen.first(split, image.key):
                if split not in self._files:
                    self._files[split] = _H5Split(self.folder, split, self._tensors)
                self._files[split].add(image)
        return bool(record.images)

    def close(self) -> dict[str, list[str]]:
        """Split to its files, relative to the export's folder."""
        return {split: file.close() for split, file in self._files.items()}


class _Growing(Protocol):
    """What is used of an h5py dataset."""

    shape: tuple[int, ...]

    def resize(self, size: int, axis: int) -> None: ...
    def __setitem__(self, index: slice, value: np.ndarray) -> None: ...


class _H5Split:
    def __init__(self, folder: Path, split: str, tensors: Sequence[StageColumn]) -> None:
        import h5py

        self._folder, self._split, self._tensors = folder, split, tensors
        self._file: Any = h5py.File(folder / f"{split}.h5", "w", libver="latest")
        self._ids: list[str] = []

    def add(self, image: ExportImage) -> None:
        self._ids.append(image.key)
        regions = region_arrays(image.stages)
        if any(name.startswith("regions_") for name in image.stages):
            self._regions(regions or {"bbox": np.zeros((0, 4), np.float32)})
            self._grow("regions_ok", np.array([regions is not None]))
        for column in self._tensors:
            value = image.stages.get(column.label)
            name = f"{column.stage}/{column.name}"
            start, end = self._grow(name, _rows(column, value))
            if _is_ragged(column):
                self._grow(f"{name}_pos", np.array([[start, end]], np.int64))
            self._grow(f"{name}_ok", np.array([value is not None]))

    def _regions(self, arrays: Mapping[str, np.ndarray]) -> None:
        boxes = arrays["bbox"]
        start, end = self._grow("image_bb", boxes)
        self._grow("pos_boxes", np.array([[start, end]], np.int64))
        if "x" in arrays:
            self._grow("image_features", arrays["x"])
        if "image_w" in arrays:
            self._grow("spatial_features", spatial_features(boxes, int(arrays["image_w"]), int(arrays["image_h"])))

    def _grow(self, name: str, rows: np.ndarray) -> tuple[int, int]:
        """Append rows; returns the first and the one after the last."""
        if name not in self._file:
            chunk = max(1, min(1024, (1 << 18) // max(1, rows.itemsize * math.prod(rows.shape[1:]))))
            self._file.create_dataset(
                name, shape=(0, *rows.shape[1:]), maxshape=(None, *rows.shape[1:]), dtype=rows.dtype,
                chunks=(chunk, *rows.shape[1:]) if all(rows.shape[1:]) else True, track_times=False,
            )  # fmt: skip
        dataset: _Growing = self._file[name]
        start = dataset.shape[0]
        dataset.resize(start + len(rows), axis=0)
        dataset[start : start + len(rows)] = rows
        return start, start + len(rows)

    def close(self) -> list[str]:
        self._file.create_dataset("image_ids", data=np.array([k.encode() for k in self._ids], "S64"), track_times=False)
        self._file.attrs["format"] = "diptych export 1"
        self._file.close()
        index = f"{self._split}_index.json"
        (self._folder / index).write_text(json.dumps({k: n for n, k in enumerate(self._ids)}) + "\n", encoding="utf-8")
        return [f"{self._split}.h5", index]


def _is_ragged(column: StageColumn) -> bool:
    return bool(column.row_shape) and column.row_shape[0] is None


def _rows(column: StageColumn, value: Any) -> np.ndarray:
    """A picture's rows of a tensor in the type that its stage declares; for None what stands for a missing row."""
    dtype = np.dtype(column.dtype)
    if value is not None:
        return np.asarray(value, dtype) if _is_ragged(column) else np.asarray(value, dtype)[None]
    shape = tuple(n or 0 for n in column.row_shape or ())
    if _is_ragged(column):
        return np.zeros(shape, dtype)
    return np.full((1, *shape), np.nan if dtype.kind in "fc" else 0, dtype)


def _check(columns: Sequence[StageColumn], tensors: Sequence[StageColumn]) -> None:
    if not tensors and not any(c.stage == "regions" for c in columns):
        raise UsageError(
            "npz and h5 hold features: name stages that have some, as --stages regions,grid "
            f"(named were {', '.join(dict.fromkeys(c.stage for c in columns)) or 'none'})"
        )
