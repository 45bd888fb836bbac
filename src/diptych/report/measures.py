"""The distributions of a version, collected shard by shard; columns of stages nobody foresaw are found by type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from diptych.naming import split_pair_key
from diptych.report.distributions import Cloud, Distribution
from diptych.report.plots import Plot, cloud_plot, histogram
from diptych.report.shards import ShardRows
from diptych.report.tally import text_sizes
from diptych.storage.manifest import StageEntry
from diptych.version import Version

__all__ = ["Measures"]

SAMPLED = 2000
"""Rows of a tensor whose norms are computed; the rows are chosen by their keys."""
_SCORES = ("confidence", "score", "probability")


class Measures:
    """Collects; ``main`` and ``more`` give the plots that show something."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self._main: dict[str, Distribution] = {}
        self._more: dict[str, Distribution] = {}
        self._sizes = Cloud()

    def add(self, shard: ShardRows) -> None:
        """Collect one shard."""
        self._texts(shard)
        self._pictures(shard)
        for entry in self.version.manifest.stages:
            if entry.name != "sentences":
                self._stage(shard, entry)

    @property
    def main(self) -> list[Plot]:
        """The plots that every reader wants."""
        plots = [histogram(d) for d in self._main.values()]
        plots.insert(min(5, len(plots)), cloud_plot(self._sizes, "Picture size"))
        return [p for p in plots if p]

    @property
    def more(self) -> list[Plot]:
        """One plot for each other number that a stage stores."""
        return [p for p in map(histogram, self._more.values()) if p]

    @property
    def constant(self) -> list[str]:
        """What has the same value everywhere, in words."""
        every = [*self._main.values(), *self._more.values()]
        return [f"{d.title}: {next(iter(d.counts)):g}" for d in every if d.total and not d.varied]

    def _put(
        self, title: str, unit: str, values: Sequence[float | int | None] | np.ndarray, *, main: bool = True,
        whole: bool = True, note: str = "",
    ) -> None:  # fmt: skip
        place = self._main if main else self._more
        place.setdefault(title, Distribution(title, unit, whole, note)).add(values)

    def _texts(self, shard: ShardRows) -> None:
        accepted = shard.accepted
        with_sentences = "sentences" in shard.readers
        sizes = [s for record, s in text_sizes(shard).items() if record in accepted] if with_sentences else []
        if with_sentences:
            body, han = "title, text and summary", "a Chinese character is one token"
            self._put("Sentences per document", "sentences", [s.sentences for s in sizes], note=body)
            self._put("Tokens per document", "tokens", [s.tokens for s in sizes], note=han)
            self._put("Sentence length", "tokens", [n for s in sizes for n in s.sentence_tokens])
        self._put("Pictures per document", "accepted pairs", [len(u) for u in accepted.values()])
        if with_sentences:
            unit, lengths = "tokens", [n for s in sizes for n in s.captions.values()]
        else:
            captions = [c for uses in accepted.values() for u in uses for c in u.caption.split("\n")]
            unit, lengths = "characters", [len(c) for c in captions if c.strip()]
        self._put("Caption length", unit, lengths, note="of accepted pairs")

    def _pictures(self, shard: ShardRows) -> None:
        if not (shard.has("clean", "width") and shard.has("clean", "height")):
            return
        wanted = {u.image for uses in shard.accepted.values() for u in uses}
        names = [n for n in ("width", "height", "bytes") if shard.has("clean", n)]
        table = shard.table("clean", names)
        table = table.filter(pc.is_in(table["key"], value_set=pa.array(sorted(wanted), pa.string())))
        self._sizes.add(table["width"].to_pylist(), table["height"].to_pylist())
        if "bytes" in names:
            self._put("File size", "kB", table["bytes"].to_numpy() / 1000, whole=False, note="of accepted pictures")

    def _stage(self, shard: ShardRows, entry: StageEntry) -> None:
        reader = shard.readers[entry.name]
        if not reader.rows.num_rows:
            return
        cleaning = entry.name.startswith("clean")
        skip = {"width", "height", "bytes"} if entry.name == "clean" else set()
        schema = reader.schema
        names = [f.name for f in schema if f.name not in skip and (_plain(f.type) or _structs(f.type))]
        if names:
            table = shard.table(entry.name, names)
            table = table.filter(pc.equal(table["status"], "ok"))
            for name in names:
                self._column(f"{entry.name}.{name}", entry.rows or "row", table[name], main=not cleaning)
        for name in reader.tensors:
            self._tensor(shard, entry, name)

    def _column(self, title: str, kind: str, column: pa.ChunkedArray, *, main: bool) -> None:
        if _plain(column.type):
            values = column.drop_null().to_numpy()
            self._put(title, "", values, main=False, whole=pt.is_integer(column.type), note=f"one value a {kind}")
            return
        self._put(
            f"{title} per {kind}",
            title.rpartition(".")[2],
            pc.list_value_length(column).drop_null().to_numpy(),
            main=main,
        )
        flat = pc.list_flatten(column)
        for name in _SCORES:
            place = column.type.value_type.get_field_index(name)
            if place >= 0 and pt.is_floating(column.type.value_type.field(place).type):
                values = pc.struct_field(flat, [place]).drop_null().to_numpy(zero_copy_only=False)
                self._put(f"{title} {name}", name, values, main=main, whole=False)

    def _tensor(self, shard: ShardRows, entry: StageEntry, name: str) -> None:
        """Lengths of the vectors (last dimension) of some rows, and how many a ragged row has."""
        share = SAMPLED / max(1, entry.counts.ok)
        wanted = share * 2**32
        reader = shard.readers[entry.name]
        keys = reader.rows["key"].to_pylist()
        norms, counts = [], []
        for key, value in zip(keys, reader.tensor(name), strict=True):
            if value is None:
                continue
            if entry.tensors[name].shape[:1] == (None,):
                counts.append(len(value))
            if value.ndim and int((split_pair_key(key)[1] or key)[:8], 16) < wanted and value.size:
                norms.append(np.linalg.norm(value.astype(np.float32), axis=-1).ravel())
        title = f"{entry.name}.{name}"
        if counts:
            self._put(f"{title} per {entry.rows}", "rows", counts)
        if norms and not name.startswith("box"):
            note = "Euclidean length of each vector" + ("" if share >= 1 else f"; {SAMPLED:,} rows sampled")
            self._put(f"{title} norms", "Euclidean norm", np.concatenate(norms), whole=False, note=note)


def _plain(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind)


def _structs(kind: pa.DataType) -> bool:
    return (pt.is_list(kind) or pt.is_large_list(kind)) and pt.is_struct(kind.value_type)
