"""Reading a part: its segments as one table in row order, its tensors one array a row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from diptych.exceptions import NotFound
from diptych.stage import Tensor
from diptych.storage.rows import index_rows
from diptych.storage.segment_info import STATE_COLUMNS, STATE_SCHEMA
from diptych.storage.segment_reader import Segment

if TYPE_CHECKING:
    from diptych.storage.parts import Part
    from diptych.storage.store import Store

__all__ = ["PartReader"]

_OUTCOME = tuple(name for name in STATE_COLUMNS if name != "key")


class PartReader:
    """One shard of one stage; nothing is read before it is asked for."""

    def __init__(self, store: Store, part: Part, schema: pa.Schema | None = None) -> None:
        """``schema`` is the stage's (``StageEntry.arrow_schema()``); it types the columns of a part without rows."""
        self._store = store
        self._schema = schema
        self.part = part
        self.segments = tuple(Segment(store, ref) for ref in part.segments)

    @cached_property
    def rows(self) -> pa.Table:
        """The row table."""
        return self._store.lists.get(self.part.rows)

    @cached_property
    def index(self) -> dict[str, int]:
        """Row key to position."""
        return index_rows(self.rows)

    @cached_property
    def schema(self) -> pa.Schema:
        """The stage's own columns (empty when the part has no segment and no schema was given)."""
        if self._schema is not None:
            return self._schema
        return self.segments[0].schema if self.segments else pa.schema([])

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The declared tensors (empty when the part has no segment)."""
        return self.segments[0].tensors if self.segments else {}

    @cached_property
    def _positions(self) -> np.ndarray:
        """Position of each row in the concatenation of all segments."""
        starts = np.cumsum([0, *(s.ref.rows for s in self.segments)])
        return starts[self.rows["segment"].to_numpy()] + self.rows["row"].to_numpy()

    def table(self, columns: Sequence[str] | None = None, with_state: bool = False) -> pa.Table:
        """``key`` and the stage's columns (all, or those named) in row order; status, code, ... ``with_state``.

        A part without segments gives a table without rows, typed as far as the schema is known.
        """
        own = list(self.schema.names if columns is None else (c for c in columns if c != "key"))
        names = ["key", *(n for n in _OUTCOME if with_state and n not in own), *own]
        if not self.segments:
            known = {f.name: f.type for f in (*STATE_SCHEMA, *self.schema)}
            return pa.table({name: pa.array([], known.get(name, pa.null())) for name in names})
        table = pa.concat_tables([segment.table(names) for segment in self.segments])
        positions = self._positions
        if len(positions) == table.num_rows and (positions == np.arange(table.num_rows)).all():
            return table
        return table.take(pa.array(positions))

    def tensor(self, name: str) -> list[np.ndarray | None]:
        """One memory-mapped array a row, in row order; None when the row has none."""
        flat = [row for segment in self.segments for row in segment.tensor_rows(name)]
        return [flat[i] for i in self._positions]

    def row(self, key: str) -> dict[str, object]:
        """Everything about one row: outcome, columns, tensors, and ``segment``, the folder it lies in."""
        if key not in self.index:
            raise NotFound(f"shard {self.part.shard} has no row {key!r} (it has {self.rows.num_rows} rows)")
        place = self.rows.slice(self.index[key], 1).to_pylist()[0]
        segment = self.segments[place["segment"]]
        values: dict[str, object] = segment.table().slice(place["row"], 1).to_pylist()[0]
        for name in self.tensors:
            values[name] = segment.tensor_rows(name)[place["row"]]
            del values[f"{name}.start"], values[f"{name}.count"]
        return values | {"segment": segment.ref.path}
