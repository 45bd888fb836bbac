"""Groups of pictures that show the same thing: recompressed, resized, slightly cropped.

Pairs are proposed by the perceptual hash (:mod:`diptych.fits.hash_index`), of the whole picture and of inner
windows (a copy that lost up to 10 % a side resembles a window), and confirmed on aligned thumbnails
(:mod:`diptych.fits.alignment`); a group is a connected component of confirmed pairs. Nothing depends on the
order of shards or rows.

When more than :data:`ALL_PAIRS` distinct pictures share one hash (flat drawings, test cards), each is compared
with the first that resembled none before, at most that many: the cost stays linear, and such a crowd may stay
apart in several groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych.fit import Fit
from diptych.fits.alignment import crop_of, same_picture
from diptych.fits.components import Components
from diptych.fits.hash_index import near_pairs
from diptych.naming import split_pair_key
from diptych.stage import StageConfig
from diptych.stages.perceptual import THUMBNAIL_BYTES

__all__ = ["ALL_PAIRS", "NearDuplicates", "NearDuplicatesConfig"]

ALL_PAIRS = 64
"""So many distinct pictures of one hash are compared each with each."""


class NearDuplicatesConfig(StageConfig):
    """What counts as the same picture, and as a recurring one."""

    max_distance: int = Field(8, ge=0, le=8, description="bits in which two hashes may differ to be compared")
    min_correlation: float = Field(0.8, gt=0, le=1, description="least correlation of aligned grey thumbnails")
    max_chroma: float = Field(8.0, ge=0, description="largest mean difference of colour, in levels of 255")
    crops: bool = Field(True, description="look also for copies that lost up to 10 % a side")
    min_crop_correlation: float = Field(0.9, gt=0, le=1, description="least correlation with the best window")
    recurring_after: int = Field(5, ge=1, description="a picture in more records than this recurs")


@dataclass(frozen=True)
class _Lists:
    """Rows of images by number of the hash they have."""

    starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, rows: np.ndarray, count: int) -> _Lists:
        """The rows by number, in the order given, at most :data:`ALL_PAIRS` each."""
        order = np.argsort(numbers, kind="stable")
        ranked = numbers[order]
        place = np.arange(len(order)) - np.searchsorted(ranked, ranked)
        order = order[place < ALL_PAIRS]
        return cls(np.searchsorted(numbers[order], np.arange(count + 1)), rows[order])

    def cross(self, first: np.ndarray, other: _Lists, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every row of each ``first`` number here with every row of the ``second`` number there."""
        wide = other.starts[second + 1] - other.starts[second]
        counts = (self.starts[first + 1] - self.starts[first]) * wide
        pair = np.repeat(np.arange(len(first)), counts)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
        left = self.starts[first][pair] + within // np.maximum(wide[pair], 1)
        right = other.starts[second][pair] + within % np.maximum(wide[pair], 1)
        return self.rows[left], other.rows[right]


@dataclass(frozen=True)
class _Images:
    """Distinct images sorted by key."""

    keys: list[str]
    hashes: np.ndarray
    windows: np.ndarray
    """uint64, (images, windows)."""
    sizes: list[tuple[int, int]]
    """Pixels, then bytes of the file."""
    thumbnails: np.ndarray


class NearDuplicates(Fit):
    """For every pair its image's group, the better picture of the same document, and whether it recurs."""

    name, version = "near_duplicates", 2
    rows = "pair"
    key = "pair"
    fetched = True
    inputs = (
        "clean.phash",
        "clean.window_hashes",
        "clean.width",
        "clean.height",
        "clean.bytes",
        "clean.thumbnail",
    )
    outputs = pa.schema(
        [
            pa.field("key", pa.string()),
            pa.field("group", pa.string(), metadata={"doc": "smallest image key of the component"}),
            pa.field(
                "duplicate_of",
                pa.string(),
                metadata={"doc": "image of the same document with more pixels, else bytes; or null"},
            ),
            pa.field("distance", pa.int32(), metadata={"doc": "Hamming distance to that image, or null"}),
            pa.field("recurring", pa.bool_(), metadata={"doc": "the component stands in too many records"}),
        ]
    )
    on = "all"
    refit = "always"
    Config = NearDuplicatesConfig
    config: NearDuplicatesConfig

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """The pairs of one shard; a picture's thumbnail stands in its first row only."""
        seen: set[str] = set()
        thumbnails: list[bytes | None] = []
        for key, thumbnail in zip(keys, columns["clean.thumbnail"], strict=True):
            image = split_pair_key(key)[1]
            thumbnails.append(None if image in seen else thumbnail)
            seen.add(image)
        sides = zip(columns["clean.width"], columns["clean.height"], strict=True)
        return pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "phash": pa.array([int(h, 16) for h in columns["clean.phash"]], pa.uint64()),
                "windows": pa.array(
                    [[int(h, 16) for h in hashes or ()] for hashes in columns["clean.window_hashes"]],
                    pa.list_(pa.uint64()),
                ),
                "bytes": pa.array(columns["clean.bytes"], pa.int64()),
                "area": pa.array([int(w) * int(h) for w, h in sides], pa.int64()),
                "thumbnail": pa.array(thumbnails, pa.binary()),
            }
        )

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """One row a pair, sorted by key."""
        images = _images(partials)
        index = {key: row for row, key in enumerate(images.keys)}
        group = self._groups(images)
        keys = sorted({key for part in partials for key in part["key"].to_pylist()})
        records: dict[str, set[str]] = defaultdict(set)
        in_record: dict[tuple[str, str], set[str]] = defaultdict(set)
        for key in keys:
            record, image = split_pair_key(key)
            records[group[image]].add(record)
            in_record[record, group[image]].add(image)
        best = {
            place: min(members, key=lambda i: (*(-n for n in images.sizes[index[i]]), i))
            for place, members in in_record.items()
        }
        columns: dict[str, list[Any]] = {name: [] for name in self.outputs.names}
        for key in keys:
            record, image = split_pair_key(key)
            better = best[record, group[image]]
            differing = images.hashes[index[image]] ^ images.hashes[index[better]]
            columns["key"].append(key)
            columns["group"].append(group[image])
            columns["duplicate_of"].append(None if better == image else better)
            columns["distance"].append(None if better == image else int(np.bitwise_count(differing)))
            columns["recurring"].append(len(records[group[image]]) > self.config.recurring_after)
        return pa.table(columns, schema=self.outputs)

    def _groups(self, images: _Images) -> dict[str, str]:
        """The smallest image key of each image's component."""
        count = len(images.keys)
        windows = images.windows if self.config.crops else images.windows[:, :0]
        distinct, number = np.unique(np.concatenate([images.hashes, windows.ravel()]), return_inverse=True)
        components = Components(images.keys)
        leaders = []
        order = np.argsort(number[:count], kind="stable")  # rows by hash, by key within
        starts = np.flatnonzero(np.diff(number[:count][order], prepend=-1))
        for rows in np.split(order, starts[1:]):
            leaders.append(self._within(images, rows, components) if len(rows) > 1 else rows)
        whole_rows = np.concatenate(leaders) if leaders else np.empty(0, np.int64)
        whole = _Lists.of(number[:count][whole_rows], whole_rows, len(distinct))
        window = _Lists.of(number[count:], np.repeat(np.arange(count), windows.shape[1]), len(distinct))
        first, second, _ = near_pairs(distinct, self.config.max_distance)
        self._join(images, *whole.cross(first, whole, second), components)
        alone = np.arange(len(distinct))
        for a, b in ((first, second), (second, first), (alone, alone)):
            part, uncut = whole.cross(a, window, b)
            self._join_crops(images, uncut, part, components)
        return {key: components.find(key) for key in images.keys}

    def _join_crops(self, images: _Images, whole: np.ndarray, part: np.ndarray, components: Components[str]) -> None:
        """Join rows of ``part`` that show a window of ``whole``; each pair is looked at once."""
        codes = np.unique(whole * len(images.keys) + part)
        for code in codes[codes // max(1, len(images.keys)) != codes % max(1, len(images.keys))].tolist():
            a, b = divmod(code, len(images.keys))
            if components.find(images.keys[a]) == components.find(images.keys[b]):
                continue
            pair = images.thumbnails[a : a + 1], images.thumbnails[b : b + 1]
            if crop_of(*pair, self.config.min_crop_correlation, self.config.max_chroma)[0]:
                components.join(images.keys[a], images.keys[b])

    def _within(self, images: _Images, rows: np.ndarray, components: Components[str]) -> np.ndarray:
        """Join pictures of one hash; returns those that stand for them against other hashes."""
        if len(rows) <= ALL_PAIRS:
            i, j = np.triu_indices(len(rows), 1)
            self._join(images, rows[i], rows[j], components)
            return rows
        leaders = rows[:1]
        for row in rows[1:]:
            if not self._join(images, np.full(len(leaders), row), leaders, components) and len(leaders) < ALL_PAIRS:
                leaders = np.append(leaders, row)
        return leaders

    def _join(self, images: _Images, first: np.ndarray, second: np.ndarray, components: Components[str]) -> bool:
        config, thumbnails, any_same = self.config, images.thumbnails, False
        for start in range(0, len(first), 1 << 16):
            i, j = first[start : start + (1 << 16)], second[start : start + (1 << 16)]
            same = same_picture(thumbnails[i], thumbnails[j], config.min_correlation, config.max_chroma)
            for a, b in zip(i[same].tolist(), j[same].tolist(), strict=True):
                components.join(images.keys[a], images.keys[b])
            any_same |= bool(same.any())
        return any_same


def _images(partials: Sequence[pa.Table]) -> _Images:
    """The distinct images of all shards, sorted by key; thumbnails as one array."""
    found: dict[str, tuple[int, list[int], tuple[int, int], bytes]] = {}
    for part in partials:
        names = ("key", "phash", "windows", "area", "bytes", "thumbnail")
        for key, phash, windows, area, size, thumbnail in zip(*(part[n].to_pylist() for n in names), strict=True):
            if thumbnail is not None:
                found.setdefault(split_pair_key(key)[1], (phash, windows, (area, size), thumbnail))
    keys = sorted(found)
    return _Images(
        keys,
        np.array([found[k][0] for k in keys], np.uint64),
        np.array([found[k][1] for k in keys], np.uint64).reshape(len(keys), -1 if keys else 0),
        [found[k][2] for k in keys],
        np.frombuffer(b"".join(found[k][3] for k in keys), np.uint8).reshape(-1, THUMBNAIL_BYTES),
    )
