"""Compaction: parts with many segments or many dead rows get one new segment with the same rows.

Values are copied, never computed: row order, input hashes, outcomes and digests stay, so the version's digests
stay, too. Nothing is committed here; the caller puts the new chunks into a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diptych.exceptions import Corrupt
from diptych.stage import Output, RowState, Status
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.part_reader import PartReader
from diptych.storage.parts import Part, make_part, read_chunk, stage_totals, write_chunk
from diptych.storage.segments import SegmentWriter

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["MAX_DEAD", "MAX_SEGMENTS", "CompactReport", "compact", "compact_part", "needs_compaction"]

MAX_SEGMENTS = 8
MAX_DEAD = 1 / 3
_ROWS = 1024
_OUTCOME = ["status", "code", "error", "value", "threshold"]


@dataclass(frozen=True)
class CompactReport:
    """New entries for a manifest, and what was merged: (stage, shard, segments before, dead rows before)."""

    stages: tuple[StageEntry, ...]
    merged: tuple[tuple[str, int, int, int], ...]
    bytes_before: int
    bytes_after: int


def needs_compaction(part: Part, max_segments: int = MAX_SEGMENTS, max_dead: float = MAX_DEAD) -> bool:
    """Whether a part has more segments, or a larger share of dead rows, than it should."""
    return len(part.segments) > max_segments or part.dead > max_dead * (part.dead + part.counts.total)


def compact(
    store: Store,
    manifest: Manifest,
    build: str,
    *,
    stages: Sequence[str] | None = None,
    max_segments: int = MAX_SEGMENTS,
    max_dead: float = MAX_DEAD,
) -> CompactReport:
    """Merge the segments of every part of a version that needs it; chunks without such a part stay as they are."""
    entries: list[StageEntry] = []
    merged: list[tuple[str, int, int, int]] = []
    before = after = 0
    for stage in manifest.stages:
        chunks, parts = [], []
        for chunk in stage.chunks:
            old = read_chunk(store, chunk)
            new = []
            for part in old:
                before += part.bytes
                if (stages is None or stage.name in stages) and needs_compaction(part, max_segments, max_dead):
                    merged.append((stage.name, part.shard, len(part.segments), part.dead))
                    part = compact_part(store, stage, part, manifest.shards, build)
                new.append(part)
                after += part.bytes
            chunks.append(write_chunk(store, new) if tuple(new) != old else chunk)
            parts.extend(new)
        entries.append(stage.model_copy(update={"chunks": tuple(chunks), "bytes": stage_totals(parts).bytes}))
    return CompactReport(tuple(entries), tuple(merged), before, after)


def compact_part(store: Store, stage: StageEntry, part: Part, shards: int, build: str) -> Part:
    """The same rows in one new segment; :class:`Corrupt` when a row's values have not the digests they should."""
    reader = PartReader(store, part)
    schema, tensors = stage.arrow_schema(), stage.tensor_specs()
    table = reader.table(schema.names, with_state=True)
    arrays = {name: reader.tensor(name) for name in tensors}
    writer = SegmentWriter(
        store, stage=stage.name, stage_key=stage.key, shard=part.shard, shards=shards, build=build,
        schema=schema, tensors=tensors, meta=_meta(reader),
    )  # fmt: skip
    with writer:
        for start in range(0, part.counts.total, _ROWS):
            rows = table.slice(start, _ROWS)
            output = Output(tuple(rows["key"].to_pylist()), schema, tensors)
            output.states = [_state(row) for row in rows.select(_OUTCOME).to_pylist()]
            for name in schema.names:
                output.set_column(name, rows[name].to_pylist())
            for name, values in arrays.items():
                output.set_column(name, values[start : start + _ROWS])
            writer.append(output, rows["input_hash"].to_pylist())
        written = writer.close()
    for name in ("key", "input_hash", "status", "code", "exact", "floats"):
        if written.rows[name].to_pylist() != reader.rows[name].to_pylist():
            raise Corrupt(
                f"stage {stage.name}, shard {part.shard}: copied rows differ from their row table in {name}; "
                "run diptych verify to see which segment is damaged"
            )
    return make_part(store, part.shard, written.rows, [written.ref])


def _state(row: Mapping[str, Any]) -> RowState:
    return RowState(Status(row["status"]), row["code"], row["error"], row["value"], row["threshold"])


def _meta(reader: PartReader) -> dict[str, object]:
    """What all merged segments say alike, and what each said."""
    metas = {segment.ref.path: segment.info.meta for segment in reader.segments}
    first = next(iter(metas.values()), {})
    common = {k: v for k, v in first.items() if all(m.get(k) == v for m in metas.values())}
    return {"host": "", **common, "compacted": [{"path": path, "meta": dict(m)} for path, m in metas.items()]}
