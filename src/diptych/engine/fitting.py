"""Fits: one partial table a shard, reused while its rows are as they were, and one merge over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import pyarrow as pa

from diptych.engine.graph import Node
from diptych.engine.view import FitResult, ShardView
from diptych.exceptions import StageError
from diptych.naming import Key, row_hash
from diptych.storage.lists import Lists

__all__ = ["PARTIALS_SCHEMA", "Partial", "fit_partial", "merge_partials", "read_partials", "write_partials"]

PARTIALS_SCHEMA = pa.schema(
    [("shard", pa.int32()), ("input", pa.string()), ("table", pa.string()), ("rows", pa.int64())]
)


@dataclass(frozen=True)
class Partial:
    """What one shard contributes to a fit; ``input`` is the digest of the rows it was made from."""

    shard: int
    input: str
    table: str
    rows: int


def fit_partial(
    view: ShardView, node: Node, shard: int, known: Mapping[int, Partial], splits: FitResult | None, pool: Executor
) -> tuple[Partial, bool]:
    """The shard's partial and whether it had to be computed."""
    fit = node.fit
    assert fit is not None
    rows, parts = [], []
    for row in view.rows(fit.rows, fit.fetched):
        if fit.on == "train" and not _in_train(view, fit.rows, row, fit.fetched, splits):
            continue
        reads = view.reads(node, row)
        if view.blocked(node, reads):
            continue
        rows.append(row)
        parts += [row.encode(), view.input_hash(node, row, reads), *(ref.content for _, refs in reads for ref in refs)]
    digest = row_hash(parts).hex()
    old = known.get(shard)
    if old is not None and old.input == digest and view.store.lists.exists(old.table):
        return old, False
    table = fit.partial(rows, view.columns(node, rows, pool))
    return Partial(shard, digest, view.store.lists.put(table), len(rows)), True


def _in_train(view: ShardView, key: Key, row: str, fetched: bool, splits: FitResult | None) -> bool:
    assert splits is not None
    records = view.related(key, row, "document", fetched)
    return any(splits.value(record, "split") == "train" for record in records)


def write_partials(lists: Lists, partials: list[Partial]) -> str:
    """The partials of a group of shards as one content-addressed table."""
    columns = {n: [getattr(p, n) for p in partials] for n in PARTIALS_SCHEMA.names}
    return lists.put(pa.table(columns, schema=PARTIALS_SCHEMA))


def read_partials(lists: Lists, chunk: str) -> list[Partial]:
    """The inverse of :func:`write_partials`."""
    return [Partial(**row) for row in lists.get(chunk).to_pylist()]


def merge_partials(node: Node, lists: Lists, partials: list[Partial], previous: pa.Table | None) -> str:
    """The digest of the fit's result over all shards; checked against the declared columns."""
    fit = node.fit
    assert fit is not None
    result = fit.merge([lists.get(p.table) for p in sorted(partials, key=lambda p: p.shard)], previous)
    names = ["key", *fit.outputs.names] if fit.key and "key" not in fit.outputs.names else fit.outputs.names
    if result.schema.names != list(names):
        raise StageError(f"fit {fit.name}: expected the columns {names}, found {result.schema.names}")
    if fit.key:
        keys = result["key"].to_pylist()
        if keys != sorted(set(keys)):
            raise StageError(f"fit {fit.name}: the column key must be sorted and unique")
    return lists.put(result)
