"""Parts and lists: reuse by reference, names by content, one table for the reader."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_dataset import SCHEMA, Toy

from diptych.exceptions import Corrupt, NotFound, StoreError
from diptych.storage.log import RetireEntry
from diptych.storage.parts import PartReader, assemble, groups, make_part, read_chunk, stage_totals, write_chunk
from diptych.storage.rows import Counts, empty_rows, index_rows


def test_a_part_reads_as_one_table_over_its_segments(toy: Toy) -> None:
    old = toy.write(2, {f"k{i}": f"old {i}" for i in range(10)}, "b1")
    new = toy.write(2, {"k3": "new and longer", "k11": "bad", "k12": "err"}, "b2")
    keys = ["k11", "k3", "k1", "k9", "k12"]
    part = make_part(toy.store, 2, *assemble(keys, [(old.rows, [old.ref]), (new.rows, [new.ref])]))
    assert part.counts == Counts(ok=3, rejected=1, failed_permanent=1) and part.dead == 8
    assert part.bytes == old.ref.bytes + new.ref.bytes
    reader = PartReader(toy.store, part)
    table = reader.table(with_state=True)
    assert table["key"].to_pylist() == keys
    assert table["label"].to_pylist() == [None, "new and longer", "old 1", "old 9", None]
    assert table["status"].to_pylist() == ["rejected", "ok", "ok", "ok", "failed_permanent"]
    assert reader.table(["length"]).schema.names == ["key", "length"]
    assert [None if b is None else b.shape for b in reader.tensor("boxes")] == [None, (3, 4), (2, 4), (2, 4), None]
    row = reader.row("k3")
    assert row["label"] == "new and longer" and row["segment"] == new.ref.path
    assert np.asarray(row["grid"]).tolist() == np.full((2, 3), len("new and longer")).tolist()
    assert reader.row("k11")["value"] == 3.0 and reader.row("k11")["threshold"] == 64.0
    with pytest.raises(NotFound, match="has no row 'k2'"):
        reader.row("k2")


def test_digests_do_not_depend_on_where_rows_lie(toy: Toy) -> None:
    rows = {f"k{i}": f"content {i}" for i in range(9)}
    whole = toy.write(0, rows, "a")
    pieces = [toy.write(0, {k: rows[k] for k in list(rows)[i::3]}, f"b{i}") for i in range(3)]
    one = make_part(toy.store, 0, whole.rows, [whole.ref])
    two = make_part(toy.store, 0, *assemble(list(rows), [(w.rows, [w.ref]) for w in pieces]))
    assert (one.input, one.exact, one.floats) == (two.input, two.exact, two.floats) and one.rows != two.rows
    other = make_part(toy.store, 0, *assemble([*list(rows)[1:], "k0"], [(whole.rows, [whole.ref])]))
    assert other.exact != one.exact, "row order counts"


def test_unused_segments_are_dropped_and_equal_ones_merged(toy: Toy) -> None:
    a, b, c = (toy.write(0, {f"k{i}": f"x{i}"}, "b") for i in range(3))
    sources = [(a.rows, [a.ref]), (b.rows, [b.ref]), (c.rows, [c.ref]), (a.rows, [a.ref])]
    part = make_part(toy.store, 0, *assemble(["k2", "k0"], sources))
    assert {s.path for s in part.segments} == {a.ref.path, c.ref.path}
    assert PartReader(toy.store, part).table(["label"])["label"].to_pylist() == ["x2", "x0"]


def test_wrong_row_tables_are_refused(toy: Toy) -> None:
    a = toy.write(0, {"k": "x"}, "b")
    with pytest.raises(StoreError, match="1 of 2 rows were neither computed nor reused, the first is z"):
        assemble(["k", "z"], [(a.rows, [a.ref])])
    with pytest.raises(StoreError, match="occurs twice"):
        make_part(toy.store, 0, pa.concat_tables([a.rows, a.rows]), [a.ref])
    with pytest.raises(StoreError, match="given are 0"):
        make_part(toy.store, 0, a.rows, [])
    behind = a.rows.set_column(2, a.rows.schema.field("row"), pa.array([5], pa.int64()))
    with pytest.raises(StoreError, match="row k: it points behind the end"):
        make_part(toy.store, 0, behind, [a.ref])


def test_empty_parts(toy: Toy) -> None:
    part = make_part(toy.store, 0, empty_rows(), [])
    reader = PartReader(toy.store, part)
    assert part.counts.total == 0 and part.segments == () and reader.rows.num_rows == 0
    assert reader.table(["label"]).num_rows == 0 and reader.tensor("grid") == []
    typed = PartReader(toy.store, part, SCHEMA).table(with_state=True)
    assert typed.schema.field("length").type == pa.int32() and typed.schema.field("value").type == pa.float64()
    zero = toy.write(0, {}, "b")
    assert zero.ref.rows == 0 and make_part(toy.store, 0, zero.rows, [zero.ref]) == part


def test_chunks(toy: Toy) -> None:
    parts = []
    for shard in range(4):
        written = toy.write(shard, {f"k{shard}-{i}": f"x {i}" for i in range(shard)}, "b")
        parts.append(make_part(toy.store, shard, written.rows, [written.ref]))
    name = write_chunk(toy.store, parts)
    assert read_chunk(toy.store, name) == tuple(parts) and write_chunk(toy.store, parts) == name
    assert stage_totals(parts).counts.ok == 6
    halves = [
        *read_chunk(toy.store, write_chunk(toy.store, parts[:2])),
        *read_chunk(toy.store, write_chunk(toy.store, parts[2:])),
    ]
    assert stage_totals(halves) == stage_totals(parts)
    assert read_chunk(toy.store, write_chunk(toy.store, parts[::2])) == tuple(parts[::2]), "of a build of some shards"
    with pytest.raises(StoreError, match="in order"):
        write_chunk(toy.store, parts[::-1])
    with pytest.raises(Corrupt, match="not a part list"):
        read_chunk(toy.store, toy.store.lists.put(pa.table({"a": [1]})))


@given(st.integers(0, 17))
def test_groups(power: int) -> None:
    shards = 1 << power
    ranges = groups(shards)
    assert len(ranges) == min(shards, 32) and len({len(r) for r in ranges}) == 1
    assert [n for r in (ranges[0], ranges[-1]) for n in (r.start, r.stop)][::3] == [0, shards]
    assert all(a.stop == b.start for a, b in zip(ranges, ranges[1:], strict=False))


@given(
    st.lists(
        st.tuples(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), st.none() | st.integers(-5, 5)),
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_lists_round_trip_under_their_content_name(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int | None]]
) -> None:
    toy = Toy(tmp_path_factory.mktemp("s"))
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    table = pa.Table.from_pylist([dict(zip("ab", r, strict=True)) for r in rows], schema)
    name = toy.store.lists.put(table)
    assert toy.store.lists.get(name).equals(table) and toy.store.lists.exists(name)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)]) if rows else table
    assert toy.store.lists.put(chunked) == name
    assert list(toy.store.home.list("lists")) == [f"{name}.parquet"]


def test_damaged_and_missing_lists_are_named(toy: Toy) -> None:
    name = toy.store.lists.put(pa.table({"a": list(range(1000))}))
    file = toy.store.home.local(f"lists/{name}.parquet")
    other = toy.store.home.local(f"lists/{toy.store.lists.put(pa.table({'a': [1]}))}.parquet")
    file.write_bytes(other.read_bytes())
    with pytest.raises(Corrupt, match=rf"lists/{name}.parquet.*expected digest {name}"):
        toy.store.lists.get(name)
    file.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(Corrupt, match="is damaged"):
        toy.store.lists.get(name)
    file.unlink()
    with pytest.raises(NotFound, match="diptych verify"):
        toy.store.lists.get(name)


def test_a_list_stays_when_memory_runs_out_while_it_is_read(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    name = toy.store.lists.put(pa.table({"a": [1]}))

    def full(*given: object, **named: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pq, "read_table", full)
    with pytest.raises(MemoryError, match="malloc"), toy.store.lists.or_damaged(name):
        toy.store.lists.get(name)
    assert toy.store.lists.exists(name)


def test_a_retired_list_comes_back_under_another_name(toy: Toy) -> None:
    table = pa.table({"a": [1, 2]})
    first = toy.store.lists.put(table)
    toy.store.log.append(RetireEntry(lists=(first,)), after=0)
    second = toy.store.lists.put(table)
    assert second == f"{first}~1" and toy.store.lists.get(second).equals(table)
    toy.store.log.append(RetireEntry(lists=(second,)), after=1)
    assert toy.store.lists.put(table) == f"{first}~2"


def test_blobs(toy: Toy) -> None:
    sha256 = toy.store.blobs.put(b"picture")
    assert toy.store.blobs.put(b"picture") == sha256
    assert (
        toy.store.blobs.get(sha256) == b"picture" and toy.store.blobs.has(sha256) and toy.store.blobs.size(sha256) == 7
    )
    file = toy.store.home.local(f"raw/blobs/{sha256[:2]}/{sha256}")
    file.write_bytes(b"")
    with pytest.raises(Corrupt, match="crawl --refresh"):
        toy.store.blobs.get(sha256)
    toy.store.blobs.put(b"picture")
    assert toy.store.blobs.get(sha256) == b"picture", "a truncated blob is written again"
    file.unlink()
    with pytest.raises(NotFound, match="crawl --refresh"):
        toy.store.blobs.get(sha256)
    with pytest.raises(StoreError, match="not a blob's name"):
        toy.store.blobs.has("../../x")
    assert index_rows(empty_rows()) == {}
