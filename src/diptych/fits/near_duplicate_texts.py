"""Groups of texts that say nearly the same, found through locality-sensitive hashing of their MinHash signatures.

A signature is cut into 25 bands of 5 values; texts that agree in a band are compared with those next to them in it and
with its first, and joined when enough of all values agree. Two texts that share 70 % of their word triples meet in a
band with a probability of .99, two that share 30 % with .06: the cost is near linear. A group is a connected component.
Nothing depends on the order of shards or rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from diptych.fit import Fit
from diptych.fits.components import Components
from diptych.stage import StageConfig
from diptych.stages.minhash import PLACES

__all__ = ["NearDuplicateTexts", "NearDuplicateTextsConfig", "alike"]

_BAND = 5
_NEIGHBOURS = 4
"""So many followers in a band are compared with each text."""
_BLOCK = 1 << 18


class NearDuplicateTextsConfig(StageConfig):
    """What counts as nearly the same text."""

    min_similarity: float = Field(0.7, gt=0, le=1, description="least estimated share of common word triples")
    min_words: int = Field(20, ge=1, description="shorter texts (captions, stubs) are compared with nothing")


class NearDuplicateTexts(Fit):
    """For every document its group and the longest text of the group when that is another."""

    name, version = "near_duplicate_texts", 1
    rows = "document"
    key = "document"
    fetched = True
    inputs = ("clean_text.minhash", "clean_text.words", "clean_text.characters")
    outputs = pa.schema(
        [
            pa.field("key", pa.string()),
            pa.field("group", pa.string(), metadata={"doc": "smallest record id of the component"}),
            pa.field("duplicate_of", pa.string(), metadata={"doc": "the group's longest text, when another; or null"}),
            pa.field("similarity", pa.float64(), metadata={"doc": "estimated to that text, or null"}),
        ]
    )
    on = "all"
    refit = "always"
    Config = NearDuplicateTextsConfig
    config: NearDuplicateTextsConfig

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        """Signatures of one shard; those of short texts are left out."""
        rows = zip(*(columns[name] for name in self.inputs), strict=True)
        signatures = [minhash if words >= self.config.min_words else None for minhash, words, _ in rows]
        return pa.table(
            {
                "key": pa.array(keys, pa.string()),
                "minhash": pa.array(signatures, pa.binary()),
                "characters": pa.array(columns["clean_text.characters"], pa.int64()),
            }
        )

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        """One row a document, sorted by key."""
        names = ("key", "minhash", "characters")
        rows = sorted(row for part in partials for row in zip(*(part[n].to_pylist() for n in names), strict=True))
        compared = [row for row in rows if row[1] is not None]
        signatures = np.frombuffer(b"".join(row[1] for row in compared), "<u4").reshape(-1, PLACES)
        components: Components[str] = Components(row[0] for row in rows)
        for first, second in alike(signatures, self.config.min_similarity):
            components.join(compared[first][0], compared[second][0])
        index = {row[0]: n for n, row in enumerate(compared)}
        length = {row[0]: row[2] for row in rows}
        found: dict[str, tuple[str, str | None, float | None]] = {}
        for group, members in components.groups().items():
            best = min(members, key=lambda key: (-length[key], key))
            for key in members:
                same = np.count_nonzero(signatures[index[key]] == signatures[index[best]]) if key != best else 0
                found[key] = (group, best, same / PLACES) if key != best else (group, None, None)
        keys = sorted(found)
        columns = {name: [found[key][n] for key in keys] for n, name in enumerate(self.outputs.names[1:])}
        return pa.table({"key": keys, **columns}, schema=self.outputs)


def alike(signatures: np.ndarray, least: float) -> Iterator[tuple[int, int]]:
    """Pairs of rows i < j, found through a common band, that agree in at least the share ``least`` of their places."""
    needed = int(np.ceil(least * PLACES - 1e-9))
    for start in range(0, PLACES, _BAND):
        for i, j in _proposed(signatures[:, start : start + _BAND]):
            for n in range(0, len(i), _BLOCK):
                a, b = i[n : n + _BLOCK], j[n : n + _BLOCK]
                near = np.count_nonzero(signatures[a] == signatures[b], axis=1) >= needed
                yield from zip(a[near].tolist(), b[near].tolist(), strict=True)


def _proposed(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that agree in the band: each with its followers there, and with the first."""
    if not len(band):
        return
    mixed = np.zeros(len(band), np.uint64)
    for column in band.T:  # equal mixtures of unequal bands cost a comparison, nothing else
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    order = np.argsort(mixed, kind="stable")
    ranked = mixed[order]
    for step in range(1, _NEIGHBOURS + 1):
        same = np.flatnonzero(ranked[:-step] == ranked[step:]) if step < len(ranked) else np.empty(0, np.int64)
        yield order[same], order[same + step]
    first = np.searchsorted(ranked, ranked)
    far = np.flatnonzero(np.arange(len(ranked)) - first > _NEIGHBOURS)
    yield order[first[far]], order[far]
