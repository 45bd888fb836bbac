"""Will the build fit the disk? Estimated before it starts, from the parent's bytes per row."""

from __future__ import annotations

import math

from diptych.engine.context import BuildContext, graph_of
from diptych.exceptions import NoSpace
from diptych.storage.snapshot import read_snapshot
from diptych.storage.store import Store

__all__ = ["check_space", "expected_bytes"]

ROW_BYTES = 400
"""Bytes of table and row table that any row costs."""
MARGIN = 1.1


def expected_bytes(store: Store, context: BuildContext) -> int:
    """Bytes the build would write if it computed every row that the parent does not have, rounded up."""
    snapshot = read_snapshot(store, context.snapshot)
    records = snapshot.records
    images = sum(1 for _ in snapshot.image_keys())
    parent = store.log.manifest(context.parent) if context.parent is not None else None
    before = read_snapshot(store, parent.snapshot).records if parent else 0
    total = 0.0
    for node in graph_of(context.recipe, context.build).stages:
        assert node.stage is not None
        rows = {"document": records, "image": images, "pair": images, "sentence": 20 * records}[node.rows]
        fixed = sum(
            math.prod(t.row_shape) * (1 if not t.ragged else 36) * _width(t.dtype)
            for t in node.stage.tensor_schema().values()
        )
        old = next((s for s in parent.stages if s.name == node.name), None) if parent else None
        if old is None:
            total += rows * (fixed + ROW_BYTES)
        else:
            total += old.bytes * max(0.0, records / max(1, before) - 1)
    return int(total)


def _width(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize


def check_space(store: Store, context: BuildContext) -> None:
    """Raise :class:`NoSpace` when the disk under the store has less than the build is expected to write."""
    free = store.root.free_bytes()
    if free is None:
        return
    wanted = int(expected_bytes(store, context) * MARGIN)
    if wanted > free:
        helps = "free space there, or name another disk or object storage with --root"
        if context.parent is not None:  # a new dataset holds nothing that could be collected
            helps += f"; `diptych retire {context.dataset}`, then `diptych gc {context.dataset}` give up older versions"
        raise NoSpace(
            f"dataset {context.dataset}: the build would write about {wanted / 1e9:.2f} GB, "
            f"{free / 1e9:.2f} GB are free under {store.root.url}; {helps}"
        )
