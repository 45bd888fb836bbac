"""The accepted records of a version one after the other, with texts, pictures, licences and where they come from.

A record is exported when its document passed every gate; of its pictures those that are accepted pairs. A record
that had pictures and lost all of them is exported with its text alone. Order: shard by shard, by record id. Memory is
bounded by the largest shard's tables; a picture's bytes are read when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from diptych.exceptions import UsageError
from diptych.export.licences import licence_of, licences_of_sources
from diptych.records import Document, json_object
from diptych.report.shards import ShardRows, Use, iter_shards
from diptych.storage.fetch_log import FetchLog, LogIndex
from diptych.storage.manifest import StageEntry
from diptych.version import Version

__all__ = ["ExportImage", "ExportRecord", "StageColumn", "iter_records", "stage_columns"]


@dataclass(frozen=True)
class StageColumn:
    """A column or tensor of a stage that an export carries; ``row_shape`` is that of a tensor (None: ragged)."""

    stage: str
    name: str
    rows: str
    """document, image or pair."""
    row_shape: tuple[int | None, ...] | None = None
    dtype: str = ""
    """NumPy's name of a tensor's numbers; empty for a column."""

    @property
    def label(self) -> str:
        """What the column is called in files: ``regions_boxes``."""
        return f"{self.stage}_{self.name}"


@dataclass(frozen=True)
class ExportImage:
    """One accepted picture of a record."""

    key: str
    """SHA-256 of the bytes that are exported."""
    original: str
    """The image key in the version."""
    read: Callable[[], bytes] = field(repr=False, compare=False)
    url: str
    captions: tuple[str, ...]
    alt: str
    extra: Mapping[str, Any]
    licence: str
    fetched_at: str
    stages: Mapping[str, Any] = field(default_factory=dict)
    """Values by :attr:`StageColumn.label`; None where the row is not ok."""


@dataclass(frozen=True)
class ExportRecord:
    """One accepted record."""

    id: str
    original: str
    """The record id in the version."""
    source: str
    subset: str
    source_id: str
    url: str
    split: str
    """train, dev, test, or empty when the version has no splits."""
    language: str
    document: Document
    licence: str
    fetched_at: str
    """When the page was last fetched, UTC, to the day; empty when no fetch is known."""
    images: tuple[ExportImage, ...]
    stages: Mapping[str, Any] = field(default_factory=dict)


def stage_columns(version: Version, stages: Sequence[str]) -> tuple[StageColumn, ...]:
    """Every column and tensor of these stages, in the order given; of one named twice once.

    Raises :class:`UsageError` for a stage that the version has not, or whose rows are sentences.
    """
    found: list[StageColumn] = []
    for name in dict.fromkeys(stages):
        entry = next((s for s in version.manifest.stages if s.name == name), None)
        if entry is None:
            raise UsageError(
                f"--stages {name}: version {version.number} has {', '.join(version.stages) or 'no stages'}"
            )
        if entry.rows not in ("document", "image", "pair"):
            raise UsageError(f"--stages {name}: its rows are of kind {entry.rows}; documents, images and pairs export")
        found += _columns_of(entry)
    return tuple(found)


def _columns_of(entry: StageEntry) -> Iterator[StageColumn]:
    kind = entry.rows or "document"
    for name in entry.arrow_schema().names:
        yield StageColumn(entry.name, name, kind)
    for name, tensor in entry.tensors.items():
        yield StageColumn(entry.name, name, kind, tensor.shape, tensor.dtype)


def iter_records(
    version: Version, *, split: str | None = None, columns: Sequence[StageColumn] = ()
) -> Iterator[ExportRecord]:
    """The accepted records (of one split), with the values of these stage columns."""
    splits = splits_of(version)
    licences = licences_of_sources(version.manifest.recipe)
    index = FetchLog(version.store.home).index(unfinished=True)
    try:
        for shard in iter_shards(version):
            values = _Values(shard, columns)
            for row in shard.records:
                uses = shard.accepted.get(row["record"])
                own = splits.get(row["record"], "")
                if uses is not None and (split is None or own == split):
                    yield _record(version, shard, row, uses, own, licences, index, values)
    finally:
        index.close()


def splits_of(version: Version) -> dict[str, str]:
    """Record id to split; empty without a ledger."""
    entry = next((f for f in version.manifest.fits if f.ledger), None)
    if entry is None:
        return {}
    ledger = version.store.lists.get(entry.result)
    return dict(zip(ledger["key"].to_pylist(), ledger["split"].to_pylist(), strict=True))


def _record(
    version: Version,
    shard: ShardRows,
    row: Mapping[str, Any],
    uses: Sequence[Use],
    split: str,
    licences: Mapping[str, str],
    index: LogIndex,
    values: _Values,
) -> ExportRecord:
    document = shard.document(dict(row))
    source, record = row["source"], row["record"]
    default = licences.get(source, "")
    licence = licence_of(json_object(document.extra)) or default
    images = []
    for use in uses:
        extra = json_object(use.extra)
        images.append(
            ExportImage(
                key=use.image,
                original=use.image,
                read=_reader(version, use.image),
                url=use.url,
                captions=tuple(line for line in use.caption.split("\n") if line),
                alt=use.alt,
                extra=extra,
                licence=licence_of(extra) or licence,
                fetched_at=_fetched(index, source, use.url),
                stages=values.of("image", use.image) | values.of("pair", use.key),
            )
        )
    return ExportRecord(
        id=record,
        original=record,
        source=source,
        subset=row["subset"] or source,
        source_id=row["source_id"] or "",
        url=row["url"] or "",
        split=split,
        language=shard.languages.get(record, "") or document.language,
        document=document,
        licence=licence,
        fetched_at=_fetched(index, source, row["url"] or ""),
        images=tuple(images),
        stages=values.of("document", record),
    )


def _reader(version: Version, key: str) -> Callable[[], bytes]:
    return lambda: version.blob(key)


def _fetched(index: LogIndex, source: str, url: str) -> str:
    state = index.url(source, url)
    if state is None or not state.good_at:
        return ""
    return datetime.fromtimestamp(int(state.good_at), UTC).date().isoformat()


class _Values:
    """Stage values of one shard by row key; each stage's table is read once."""

    def __init__(self, shard: ShardRows, columns: Sequence[StageColumn]) -> None:
        self._by_kind: dict[str, list[StageColumn]] = {}
        self._tables: dict[str, dict[str, list[Any]]] = {}
        self._tensors: dict[str, list[np.ndarray | None]] = {}
        self._shard = shard
        for column in columns:
            self._by_kind.setdefault(column.rows, []).append(column)

    def of(self, kind: str, key: str) -> dict[str, Any]:
        """Label to value of one row; None where there is no ok row."""
        return {column.label: self._value(column, key) for column in self._by_kind.get(kind, ())}

    def _value(self, column: StageColumn, key: str) -> Any:
        reader = self._shard.readers[column.stage]
        row = reader.index.get(key)
        if row is None or self._shard.states(column.stage)[key][0] != "ok":
            return None
        if column.row_shape is not None:
            if column.label not in self._tensors:
                self._tensors[column.label] = reader.tensor(column.name)
            return self._tensors[column.label][row]
        if column.stage not in self._tables:
            self._tables[column.stage] = reader.table().to_pydict()
        return self._tables[column.stage][column.name][row]
