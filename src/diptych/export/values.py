"""A record as plain values: what stands in Parquet columns and in the JSON of tar shards; and how it is read back.

``sources/exported.py`` reads the same names, so that an export imports as the records it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.export.rows import ExportImage, ExportRecord
from diptych.sources.exported import FORMAT

__all__ = ["FORMAT", "image_values", "plain", "record_values", "split_name"]

_SPLITS = {"dev": "validation", "": "train"}


def split_name(split: str) -> str:
    """The name of a split in files: as the field's tools call it. Without splits everything is train."""
    return _SPLITS.get(split, split)


def record_values(record: ExportRecord) -> dict[str, Any]:
    """The record's own columns."""
    document = record.document
    return {
        "id": record.id,
        "source": record.source,
        "subset": record.subset,
        "source_id": record.source_id,
        "url": record.url,
        "split": record.split,
        "language": record.language,
        "title": document.title,
        "text": document.text,
        "summary": document.summary,
        "keyphrases": list(document.keyphrases),
        "extra": document.extra,
        "licence": record.licence,
        "fetched_at": record.fetched_at,
    }


def image_values(image: ExportImage) -> dict[str, Any]:
    """One picture's columns, without its bytes."""
    return {
        "key": image.key,
        "url": image.url,
        "captions": list(image.captions),
        "alt": image.alt,
        "extra": json.dumps(image.extra, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        if image.extra
        else "",
        "licence": image.licence,
        "fetched_at": image.fetched_at,
    }


def plain(value: Any) -> Any:
    """Arrays as nested lists, float16 as float; everything JSON and Arrow can hold."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float32).tolist() if value.dtype == np.float16 else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
