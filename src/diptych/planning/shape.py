"""What one document brings: images, pairs, sentences, bytes, requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from diptych.storage.blobs import blob_path
from diptych.storage.manifest import Manifest
from diptych.storage.snapshot import read_snapshot

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["Shape", "shape_of"]

LOOKED_AT = 200
"""Blobs whose size is asked for; the mean stands for the others."""


@dataclass(frozen=True)
class Shape:
    """Means over the documents of a version."""

    images: float
    """Distinct pictures fetched for a document, in its shard."""
    pairs: float
    sentences: float
    image_bytes: float
    document_bytes: float

    def rows(self, key: str) -> float:
        """Rows of a kind that a document brings."""
        return {"document": 1.0, "image": self.images, "pair": self.pairs, "sentence": self.sentences}[key]


def shape_of(store: Store, manifest: Manifest) -> Shape:
    """The shape of a version: rows its stages counted, sizes of some of its blobs."""
    snapshot = read_snapshot(store, manifest.snapshot)
    documents = max(1, snapshot.records)
    images, contents = [], []
    for row in snapshot.iter_rows(["content", "images.key"]):
        if row["content"]:
            contents.append(row["content"])
            images += [image["key"] for image in row["images"] if image["key"]]
    distinct = list(dict.fromkeys(images))
    rows = {s.rows: s.counts.total for s in manifest.stages if s.rows}
    return Shape(
        images=rows.get("image", len(distinct)) / documents,
        pairs=rows.get("pair", len(images)) / documents,
        sentences=rows.get("sentence", 0) / documents,
        image_bytes=_mean_size(store, distinct),
        document_bytes=_mean_size(store, list(dict.fromkeys(contents))),
    )


def _mean_size(store: Store, blobs: list[str]) -> float:
    some = blobs[:: max(1, len(blobs) // LOOKED_AT)]
    return sum(store.home.size(blob_path(b)) for b in some) / max(1, len(some))
