"""Tar shards as WebDataset reads them: ``<split>-000000.tar`` with the files of a key next to each other.

``rows: records``: ``<id>.json``, ``<id>.txt`` (the captions of a record with one picture, else its text) and
``<id>.jpg`` (several: ``<id>.0.jpg``, ``<id>.1.png``). ``rows: pairs``: ``<id>-<n>`` with one picture each. A tensor
of a stage is ``<id>.<n>.<stage>_<name>.npy``; columns stand in the JSON, bytes as hex. Member
times, owners and modes are constant: equal content gives equal bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diptych.export.picture_names import ending_of
from diptych.export.rows import ExportImage, ExportRecord
from diptych.export.values import FORMAT, image_values, plain, record_values, split_name

__all__ = ["WebDataset"]

_SHARD_BYTES = 500 << 20


class WebDataset:
    """Writes the shards of every split."""

    def __init__(self, folder: Path, rows: str, shard_bytes: int = _SHARD_BYTES) -> None:
        self.folder, self.rows, self._limit = folder, rows, shard_bytes
        self._tars: dict[str, tarfile.TarFile] = {}
        self._sizes: dict[str, int] = {}
        self._files: dict[str, list[str]] = {}

    def add(self, record: ExportRecord) -> bool:
        """One record: one key, or one a picture."""
        written = False
        for key, members in self._samples(record):
            split = split_name(record.split)
            size = sum(len(data) + 1024 for _, data in members)
            if split in self._tars and self._sizes[split] + size > self._limit:
                self._tars.pop(split).close()
            if split not in self._tars:
                names = self._files.setdefault(split, [])
                names.append(f"{split}-{len(names):06d}.tar")
                self._tars[split] = tarfile.open(self.folder / names[-1], "w", format=tarfile.USTAR_FORMAT)
                self._sizes[split] = 0
            self._sizes[split] += size
            for ending, data in members:
                self._write(self._tars[split], f"{key}.{ending}", data)
            written = True
        return written

    def close(self) -> dict[str, list[str]]:
        """Split to its files, relative to the export's folder."""
        for tar in self._tars.values():
            tar.close()
        return self._files

    def _samples(self, record: ExportRecord) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
        if self.rows == "records":
            yield record.id, _members(record, record.images)
            return
        for number, image in enumerate(record.images):
            yield f"{record.id}-{number}", _members(record, (image,))

    @staticmethod
    def _write(tar: tarfile.TarFile, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o644
        tar.addfile(member, io.BytesIO(data))
        tar.members = []  # type: ignore[attr-defined]  # nothing is read again; the list would grow


def _members(record: ExportRecord, images: Sequence[ExportImage]) -> list[tuple[str, bytes]]:
    stages, members = _split_tensors(record.stages, "")
    described = []
    pictures = []
    for number, image in enumerate(images):
        place = f"{number}." if len(images) > 1 else ""
        columns, tensors = _split_tensors(image.stages, place)
        data = image.read()
        pictures.append((f"{place}{ending_of(data)}", data))
        described.append(image_values(image) | {"file": pictures[-1][0]} | columns)
        members += tensors
    values = {"format": FORMAT, **record_values(record), **stages, "images": described}
    text = "\n".join(images[0].captions) if len(images) == 1 and images[0].captions else record.document.text
    about = json.dumps(values, ensure_ascii=False, sort_keys=True, default=_in_json).encode("utf-8", "replace")
    return [*pictures, ("json", about), ("txt", text.encode("utf-8", "replace")), *members]


def _in_json(value: object) -> str:
    """Bytes as hex, as ``diptych show --json`` prints them; days and times as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _split_tensors(values: Mapping[str, Any], place: str) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """Columns for the JSON; tensors as members with ``allow_pickle=False`` content."""
    columns: dict[str, Any] = {}
    members = []
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            sink = io.BytesIO()
            np.save(sink, np.ascontiguousarray(value), allow_pickle=False)
            members.append((f"{place}{name}.npy", sink.getvalue()))
        else:
            columns[name] = plain(value)
    return columns, members
