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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    sizes: np.ndarray
    """int64, (images, 2): pixels, then bytes of the file."""
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
        group = self._groups(images)
        keys = sorted({key for part in partials for key in part["key"].to_pylist()})
        index = {key: row for row, key in enumerate(images.keys)}
        image = np.array([index[split_pair_key(key)[1]] for key in keys], np.int64)
        record = np.unique(np.array([split_pair_key(key)[0] for key in keys]), return_inverse=True)[1]
        place = group[image] * (1 + record.max(initial=0)) + record  # one number a group and record
        order = np.lexsort((image, *(-images.sizes[image].T[::-1]), place))  # the best picture of each place first
        first = np.flatnonzero(np.diff(place[order], prepend=-1))
        best = np.empty(len(keys), np.int64)
        best[order] = np.repeat(image[order][first], np.diff(np.append(first, len(keys))))
        records = np.bincount(group[image][order[first]], minlength=len(images.keys))
        distance = np.bitwise_count(images.hashes[image] ^ images.hashes[best]).astype(np.int32)
        names = pa.array(images.keys, pa.string())
        same = pa.array(best == image, pa.bool_())
        columns = {
            "key": pa.array(keys, pa.string()),
            "group": names.take(pa.array(group[image])),
            "duplicate_of": pc.if_else(same, None, names.take(pa.array(best))),
            "distance": pc.if_else(same, None, pa.array(distance)),
            "recurring": pa.array(records[group[image]] > self.config.recurring_after, pa.bool_()),
        }
        return pa.table(columns, schema=self.outputs)

    def _groups(self, images: _Images) -> np.ndarray:
        """The smallest row, hence the smallest image key, of each image's component."""
        count = len(images.keys)
        windows = images.windows if self.config.crops else images.windows[:, :0]
        distinct, number = np.unique(np.concatenate([images.hashes, windows.ravel()]), return_inverse=True)
        components = Components(range(count))
        order = np.argsort(number[:count], kind="stable")  # rows by hash, by key within
        starts = np.flatnonzero(np.diff(number[:count][order], prepend=-1))
        sizes = np.diff(np.append(starts, count))
        leaders = [order[starts[sizes == 1]]]
        for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
            leaders.append(self._within(images, order[start : start + size], components))
        whole_rows = np.concatenate(leaders)
        whole = _Lists.of(number[:count][whole_rows], whole_rows, len(distinct))
        window = _Lists.of(number[count:], np.repeat(np.arange(count), windows.shape[1]), len(distinct))
        first, second, _ = near_pairs(distinct, self.config.max_distance)
        self._join(images, *whole.cross(first, whole, second), components)
        alone = np.arange(len(distinct))
        for a, b in ((first, second), (second, first), (alone, alone)):
            part, uncut = whole.cross(a, window, b)
            self._join_crops(images, uncut, part, components)
        return np.array([components.find(row) for row in range(count)], np.int64)

    def _join_crops(self, images: _Images, whole: np.ndarray, part: np.ndarray, components: Components[int]) -> None:
        """Join rows of ``part`` that show a window of ``whole``; each pair is looked at once."""
        codes = np.unique(whole * len(images.keys) + part)
        for code in codes[codes // max(1, len(images.keys)) != codes % max(1, len(images.keys))].tolist():
            a, b = divmod(code, len(images.keys))
            if components.find(a) == components.find(b):
                continue
            pair = images.thumbnails[a : a + 1], images.thumbnails[b : b + 1]
            if crop_of(*pair, self.config.min_crop_correlation, self.config.max_chroma)[0]:
                components.join(a, b)

    def _within(self, images: _Images, rows: np.ndarray, components: Components[int]) -> np.ndarray:
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

    def _join(self, images: _Images, first: np.ndarray, second: np.ndarray, components: Components[int]) -> bool:
        config, thumbnails, any_same = self.config, images.thumbnails, False
        for start in range(0, len(first), 1 << 16):
            i, j = first[start : start + (1 << 16)], second[start : start + (1 << 16)]
            same = same_picture(thumbnails[i], thumbnails[j], config.min_correlation, config.max_chroma)
            for a, b in zip(i[same].tolist(), j[same].tolist(), strict=True):
                components.join(a, b)
            any_same |= bool(same.any())
        return any_same


def _images(partials: Sequence[pa.Table]) -> _Images:
    """The distinct images of all shards, sorted by key; arrays throughout, for there may be millions."""
    own = [part.filter(pc.is_valid(part["thumbnail"])) for part in partials]
    keys = np.array([split_pair_key(key)[1] for part in own for key in part["key"].to_pylist()], np.bytes_)
    names, order = np.unique(keys, return_index=True)
    place = np.full(len(keys), -1)
    place[order] = np.arange(len(order))
    thumbnails = np.empty((len(order), THUMBNAIL_BYTES), np.uint8)
    start = 0
    for part in own:
        mine = place[start : start + part.num_rows]
        found = np.frombuffer(b"".join(part["thumbnail"].to_pylist()), np.uint8).reshape(-1, THUMBNAIL_BYTES)
        thumbnails[mine[mine >= 0]] = found[mine >= 0]
        start += part.num_rows

    def column(name: str) -> np.ndarray:
        arrays = [part[name].combine_chunks() for part in own]
        return np.concatenate([(a.flatten() if name == "windows" else a).to_numpy() for a in arrays] or [np.empty(0)])

    windows = column("windows").astype(np.uint64)
    return _Images(
        names.astype(str).tolist(),
        column("phash").astype(np.uint64)[order],
        windows.reshape(len(keys), -1 if len(windows) else 0)[order],
        np.stack([column("area")[order], column("bytes")[order]], axis=1).astype(np.int64),
        thumbnails,
    )
