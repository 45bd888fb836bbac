"""Segments: what goes in comes out, what breaks the declaration is refused, what is damaged is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_dataset import KEY, SCHEMA, STAGE, TENSORS, Toy, fill, hash_of

from diptych.exceptions import Corrupt, NotFound, StageError, StoreError
from diptych.stage import Output, RowState, Status, Tensor
from diptych.storage.segments import SegmentRef, SegmentWriter, find_segments, read_segment
from diptych.storage.store import open_store

WIDE = pa.schema(
    [
        ("words", pa.list_(pa.string())),
        ("flag", pa.bool_()),
        ("tree", pa.struct([("a", pa.int64()), ("b", pa.list_(pa.float64()))])),
    ]
)
WIDE_TENSORS = {"z": Tensor("float16", (2, 2)), "ragged": Tensor("int32", (None, 3)), "one": Tensor("float32", ())}
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
TREE = {"a": st.none() | st.integers(-9, 9), "b": st.lists(st.floats(width=32), max_size=2)}
ROW = st.fixed_dictionaries(
    {
        "words": st.none() | st.lists(st.none() | TEXT, max_size=3),
        "flag": st.none() | st.booleans(),
        "tree": st.none() | st.fixed_dictionaries(TREE),
        "z": st.none() | st.integers(0, 9).map(lambda n: np.full((2, 2), n, np.float16)),
        "ragged": st.none() | st.integers(0, 4).map(lambda n: np.arange(3 * n, dtype=np.int32).reshape(n, 3)),
        "one": st.none() | st.floats(-9, 9, width=32).map(np.float32),
    }
)  # fmt: skip
STATE = st.sampled_from(
    [RowState()] * 3
    + [RowState(Status.REJECTED, "small", "", 1.5, 2.0), RowState(Status.FAILED_TRANSIENT, "t", "x\ud800")]
)


@given(st.lists(st.lists(st.tuples(ROW, STATE), max_size=5), max_size=4))
@settings(max_examples=40, deadline=None)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[dict[str, Any], RowState]]]
) -> None:
    store = open_store(tmp_path_factory.mktemp("s"), "d")
    writer = SegmentWriter(
        store, stage="s", stage_key="k", shard=0, shards=1, build="b", schema=WIDE, tensors=WIDE_TENSORS, meta={}
    )
    rows = []
    for n, batch in enumerate(batches):
        output = Output(tuple(f"{n}-{i}-\u4e2d" for i in range(len(batch))), WIDE, WIDE_TENSORS)
        for i, (values, state) in enumerate(batch):
            output.set(i, **values)
            output.states[i] = state
            rows.append((output.keys[i], values, state))
        writer.append(output, [hash_of(k) for k in output.keys])
    written = writer.close()
    segment = read_segment(store, written.ref, verify=True)
    table = segment.table()
    assert table["key"].to_pylist() == [k for k, _, _ in rows] == written.rows["key"].to_pylist()
    assert table.select(WIDE.names).equals(pa.Table.from_pylist([v for _, v, _ in rows], WIDE)) or "nan" in str(rows)
    assert table["status"].to_pylist() == [str(s.status) for _, _, s in rows]
    assert table["value"].to_pylist() == [s.value for _, _, s in rows]
    for name, spec in WIDE_TENSORS.items():
        found = segment.tensor_rows(name)
        for (_, values, _), array in zip(rows, found, strict=True):
            assert (array is None) == (values[name] is None)
            if array is not None:
                assert array.shape == np.shape(values[name]) and array.dtype == np.dtype(spec.dtype)
                assert (array == values[name]).all()
                assert not array.flags.writeable
        data = segment.tensor(name)
        assert (
            data.shape[1:] == spec.row_shape
            and np.load(store.home.local(f"{written.ref.path}/{name}.npy")).shape == data.shape
        )
    digests = segment.recompute()
    assert digests.exact == written.rows["exact"].to_pylist() and digests.floats == written.rows["floats"].to_pylist()
    assert segment.rows().equals(written.rows)
    assert segment.schema.equals(WIDE) and segment.tensors == WIDE_TENSORS
    [found_again] = find_segments(store, "s", "k", 0, 1)
    assert found_again.ref == written.ref == SegmentRef.from_dict(json.loads(json.dumps(written.ref.as_dict())))
    assert found_again.info.rows == len(rows) and found_again.info.columns.to_arrow().equals(WIDE)


def test_digests_depend_on_values_not_on_batches_or_files(toy: Toy) -> None:
    rows = {f"k{i}": f"some words {i}" for i in range(20)} | {"r": "bad", "f": "err"}
    one, two = toy.write(0, rows, "a", batch=3), toy.write(0, rows, "b", batch=100)
    assert one.rows.equals(two.rows)
    assert one.ref.path != two.ref.path
    again = toy.write(0, rows, "a", batch=3)
    assert again.ref.path != one.ref.path, "a retry of the same build writes beside, never over"
    assert [f for f in again.ref.files if f.name != "part.json"] == [f for f in one.ref.files if f.name != "part.json"]


def test_what_breaks_the_declaration_is_refused(toy: Toy) -> None:
    def output(schema: pa.Schema = SCHEMA, tensors: Any = TENSORS) -> Output:
        made = Output(("k",), schema, tensors)
        if "label" in made.values:
            fill(made, 0, "two words")
        return made

    writer = toy.writer(1, "b")
    wrong = output()
    wrong.values["length"][0] = "many"
    with pytest.raises(StageError, match=r"stage toy, shard 1, row k, column length: expected int32, found 'many'"):
        writer.append(wrong, [hash_of("x")])
    surrogate = output()
    surrogate.values["label"][0] = "\ud800"
    with pytest.raises(StageError, match="row k, column label"):
        writer.append(surrogate, [hash_of("x")])
    shape = output()
    shape.values["grid"][0] = np.zeros((3, 2), np.float16)
    with pytest.raises(StageError, match="tensor grid: expected float16"):
        writer.append(shape, [hash_of("x")])
    unset = Output(("k",), SCHEMA, TENSORS)
    with pytest.raises(StageError, match="not set"):
        writer.append(unset, [hash_of("x")])
    with pytest.raises(StageError, match="2 input hashes for 1 rows"):
        writer.append(output(), [hash_of("x")] * 2)
    with pytest.raises(StageError, match="expected columns"):
        writer.append(Output((), pa.schema([("n", pa.int8())]), TENSORS), [])
    writer.append(output(), [hash_of("x")])
    writer.append(output(), [hash_of("x")])
    with pytest.raises(StoreError, match="'k' occurs twice"):
        writer.close()
    assert list(toy.store.home.walk("")) == []
    for schema in (
        pa.schema([("error", pa.string())]),
        pa.schema([("a.b", pa.string())]),
        pa.schema([("a", pa.int8()), ("a", pa.int8())]),
    ):
        with pytest.raises(StageError, match="may not be named"):
            SegmentWriter(
                toy.store, stage="s", stage_key="k", shard=0, shards=1, build="b", schema=schema, tensors={}, meta={}
            )


def test_types_without_a_canonical_digest_are_refused_at_once(toy: Toy) -> None:
    schema = pa.schema([("m", pa.map_(pa.string(), pa.int8()))])
    with pytest.raises(StageError, match="stage s, column m: .* no canonical digest"):
        SegmentWriter(
            toy.store, stage="s", stage_key="k", shard=0, shards=1, build="b", schema=schema, tensors={}, meta={}
        )


def test_unfinished_and_aborted_segments_do_not_exist(toy: Toy) -> None:
    writer = toy.writer(0, "b")
    assert find_segments(toy.store, STAGE, KEY, 0, toy.shards) == []
    writer.abort()
    assert list(toy.store.home.walk("")) == []
    with pytest.raises(RuntimeError, match="on purpose"), toy.writer(0, "b"):
        raise RuntimeError("on purpose")
    assert list(toy.store.home.walk("")) == []
    done = toy.write(0, {"a": "x"}, "b")
    with pytest.raises(StoreError, match="is closed"):
        closed = toy.writer(0, "c")
        closed.close()
        closed.close()
    assert find_segments(toy.store, STAGE, KEY, 0, toy.shards, retired={done.ref.path})[0].ref.path != done.ref.path
    assert find_segments(toy.store, STAGE, KEY, 0, 8) == [], "written for another number of shards"


@pytest.mark.parametrize("name", ["table.parquet", "grid.npy", "boxes.npy", "part.json"])
def test_flipped_and_missing_bytes_are_noticed(toy: Toy, name: str) -> None:
    ref = toy.write(0, {f"k{i}": "some words" for i in range(30)}, "b").ref
    file = Path(toy.store.home.local(f"{ref.path}/{name}"))
    good = file.read_bytes()
    file.write_bytes(good[:-20] + bytes([good[-20] ^ 1]) + good[-19:])
    with pytest.raises(Corrupt, match=rf"{name}.*expected SHA-256.*diptych rebuild DATASET --shard 0 --stage toy"):
        read_segment(toy.store, ref, verify=True)
    file.write_bytes(good[:-1])
    with pytest.raises(Corrupt, match="bytes, found"):
        read_segment(toy.store, ref, verify=True)
    file.unlink()
    with pytest.raises(NotFound, match=name):
        read_segment(toy.store, ref, verify=True)


def test_unknown_names_say_what_there_is(toy: Toy) -> None:
    segment = read_segment(toy.store, toy.write(0, {"a": "x"}, "b").ref)
    with pytest.raises(NotFound, match="has no column .*label"):
        segment.table(["nothing"])
    with pytest.raises(NotFound, match=r"has no tensor 'x'; it has \['boxes', 'grid'\]"):
        segment.tensor("x")
    assert segment.table(["length", "key"]).schema.names == ["length", "key"]


def test_memory_is_bounded_by_the_batch(toy: Toy) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    spec = {"grid": Tensor("float32", (64, 64))}
    schema = pa.schema([("n", pa.int64())])
    writer = SegmentWriter(
        toy.store, stage="s", stage_key="k", shard=0, shards=1, build="b", schema=schema, tensors=spec, meta={}
    )
    tracemalloc.start()
    for n in range(100):
        output = Output(tuple(f"{n}-{i}" for i in range(20)), schema, spec)
        for i in range(20):
            output.set(i, n=i, grid=np.full((64, 64), n, np.float32))
        writer.append(output, [hash_of("x")] * 20)
    ref = writer.close().ref
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ref.bytes > 30 << 20 > peak * 4
