"""Canonical digests: a plain-Python twin of the documented encoding, injectivity, and independence of layout."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diptych.exceptions import StoreError
from diptych.stage import Tensor
from diptych.storage.canonical import row_digests, table_digest, type_signature

LEAVES: dict[pa.DataType, Any] = {
    pa.string(): st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
    pa.binary(): st.binary(max_size=4),
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint16(): st.integers(0, 65535),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
}


def struct_of(kinds: list[pa.DataType]) -> pa.DataType:
    return pa.struct([(f"f{i}", kind) for i, kind in enumerate(kinds)])


TYPES = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda inner: inner.map(pa.list_) | st.lists(inner, min_size=1, max_size=3).map(struct_of),
    max_leaves=4,
)  # fmt: skip


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of a type, nulls at every level."""
    if pa.types.is_list(kind):
        inner: Any = st.lists(values_of(kind.value_type), max_size=3)
    elif pa.types.is_struct(kind):
        inner = st.fixed_dictionaries({f.name: values_of(f.type) for f in kind})
    else:
        inner = LEAVES[kind]
    return st.none() | inner


COLUMNS = TYPES.flatmap(lambda t: st.tuples(st.just(t), st.lists(values_of(t), min_size=1, max_size=6)))


# --- the twin: straight from the module's docstring -----------------------------------------------------------
def is_float(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind)


def has(kind: pa.DataType, floats: bool) -> bool:
    if pa.types.is_list(kind):
        return has(kind.value_type, floats)
    if pa.types.is_struct(kind):
        return any(has(f.type, floats) for f in kind)
    return is_float(kind) == floats


def run(kind: pa.DataType, values: list[Any], floats: bool) -> bytes:
    out = b"\0" if None not in values else b"\1" + bytes(v is not None for v in values)
    present = [v for v in values if v is not None]
    if pa.types.is_list(kind):
        lengths = b"".join(struct.pack("<q", len(v or ())) for v in values)
        return out + lengths + run(kind.value_type, [x for v in present for x in v], floats)
    if pa.types.is_struct(kind):
        fields = [f for f in kind if has(f.type, floats)]
        return out + b"".join(run(f.type, [None if v is None else v[f.name] for v in values], floats) for f in fields)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        data = [v.encode() if isinstance(v, str) else v or b"" for v in values]
        return out + b"".join(struct.pack("<q", len(d)) for d in data) + b"".join(data)
    if pa.types.is_boolean(kind):
        return out + bytes(bool(v) for v in values)
    code = {"int8": "b", "int64": "q", "uint16": "H", "float": "f", "double": "d"}[str(kind)]
    if is_float(kind):
        values = [math.nan if v is not None and math.isnan(v) else (v or 0) + 0.0 for v in values]
    return out + b"".join(
        struct.pack("<" + code, v or 0) if v == v else struct.pack("<" + code, math.nan) for v in values
    )


def twin(name: str, kind: pa.DataType, value: Any) -> tuple[bytes, bytes]:
    header = b"".join(struct.pack("<q", len(t)) + t for t in (("C" + name).encode(), type_signature(kind).encode()))
    exact = hashlib.blake2b(header + (run(kind, [value], False) if has(kind, False) else b""), digest_size=16).digest()
    more = run(kind, [value], True) if has(kind, True) else b""
    return exact, hashlib.blake2b(exact + more, digest_size=16).digest()


@given(COLUMNS)
@settings(max_examples=150, deadline=None)
def test_rows_are_encoded_as_documented(column: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = column
    digests = row_digests([("x", kind, values)], len(values))
    assert list(zip(digests.exact, digests.floats, strict=True)) == [
        twin("x", kind, v) for v in pa.array(values, kind).to_pylist()
    ]


def normal(value: Any, floats: bool) -> Any:
    """What two values must share to have one digest."""
    if isinstance(value, float):
        return ("nan" if math.isnan(value) else value + 0.0) if floats else "float"
    if isinstance(value, list):
        return [normal(v, floats) for v in value]
    if isinstance(value, dict):
        return {k: normal(v, floats) for k, v in value.items()}
    return value


@given(TYPES.flatmap(lambda t: st.tuples(st.just(t), st.lists(values_of(t), min_size=2, max_size=10))))
@settings(max_examples=150, deadline=None)
def test_equal_digests_mean_equal_values(column: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = column
    stored = pa.array(values, kind).to_pylist()
    digests = row_digests([("x", kind, values)], len(values))
    for i, a in enumerate(stored):
        for j, b in enumerate(stored):
            assert (digests.floats[i] == digests.floats[j]) == (normal(a, True) == normal(b, True)), (a, b)
            if normal(a, True) == normal(b, True):
                assert digests.exact[i] == digests.exact[j]


@given(COLUMNS, COLUMNS)
@settings(max_examples=60, deadline=None)
def test_types_are_part_of_the_digest(one: tuple[pa.DataType, list[Any]], two: tuple[pa.DataType, list[Any]]) -> None:
    assume(type_signature(one[0]) != type_signature(two[0]))
    assert row_digests([("x", one[0], one[1][:1])], 1).floats != row_digests([("x", two[0], two[1][:1])], 1).floats


@given(COLUMNS, st.data())
@settings(max_examples=100, deadline=None)
def test_layout_leaves_no_trace(column: tuple[pa.DataType, list[Any]], data: st.DataObject) -> None:
    kind, values = column
    n = len(values)
    array = pa.array(values, kind)
    expected = row_digests([("x", kind, values)], n)
    padding = pa.array(data.draw(st.lists(values_of(kind), min_size=1, max_size=3)), kind)
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": array}), sink)
    cut = data.draw(st.integers(0, n))
    layouts = [
        pa.concat_arrays([padding, array, padding]).slice(len(padding), n),
        pa.chunked_array([array.slice(0, cut), array.slice(cut)]),
        pq.read_table(sink)["x"],
    ]
    if pa.types.is_string(kind):
        layouts += [array.cast(pa.large_string()), array.dictionary_encode(), array.cast(pa.string_view())]
        layouts += [pa.chunked_array([array.dictionary_encode()])]
    if pa.types.is_list(kind):
        layouts.append(array.cast(pa.large_list(kind.value_type)))
    for layout in layouts:
        found = row_digests([("x", layout.type, layout)], n)
        assert found == expected
        assert table_digest(pa.table({"x": layout})) == table_digest(pa.table({"x": array}))


def test_bytes_under_nulls_leave_no_trace() -> None:
    clean = pa.array(["a", None, "c"])
    dirty = pa.StringArray.from_buffers(
        3, pa.py_buffer(np.array([0, 1, 4, 5], np.int32)), pa.py_buffer(b"axyzc"), clean.buffers()[0]
    )
    assert dirty.equals(clean)
    assert row_digests([("x", dirty.type, dirty)], 3) == row_digests([("x", clean.type, clean)], 3)
    numbers = pa.Array.from_buffers(pa.int64(), 3, [clean.buffers()[0], pa.py_buffer(np.array([1, 77, 3]))])
    assert row_digests([("x", numbers.type, numbers)], 3) == row_digests([("x", pa.int64(), [1, None, 3])], 3)
    fixed = pa.array([[1, 2], None], pa.list_(pa.int32(), 2))
    assert row_digests([("x", fixed.type, fixed)], 2) == row_digests([("x", pa.list_(pa.int32()), [[1, 2], None])], 2)


def test_floats_stay_out_of_exact_digests() -> None:
    kind = pa.list_(pa.struct([("word", pa.string()), ("score", pa.float32())]))
    one, two, three = ([{"word": w, "score": s}] for w, s in (("a", 0.5), ("a", 0.25), ("b", 0.5)))
    digests = row_digests([("x", kind, [one, two, three])], 3)
    assert digests.exact[0] == digests.exact[1] != digests.exact[2]
    assert len(set(digests.floats)) == 3
    special = row_digests([("x", pa.float64(), [0.0, -0.0, math.nan, -math.nan, None])], 5).floats
    assert special[0] == special[1] and special[2] == special[3] and len(set(special)) == 3


def test_tensors_count_with_dtype_shape_and_bytes() -> None:
    def of(spec: Tensor, value: Any) -> tuple[bytes, bytes]:
        found = row_digests([("t", spec, [value])], 1)
        return found.exact[0], found.floats[0]

    a = np.arange(8, dtype=np.float32)
    ragged, ints = Tensor("float32", (None, 4)), Tensor("int32", (None, 4))
    assert of(ragged, a.reshape(2, 4)) == of(ragged, np.asfortranarray(a.reshape(2, 4)))
    assert of(ragged, a.reshape(2, 4))[1] != of(ragged, a[:4].reshape(1, 4))[1]
    assert of(ragged, a[:0].reshape(0, 4))[1] != of(ragged, None)[1]
    assert of(ragged, a.reshape(2, 4))[0] == of(ragged, a.reshape(2, 4) + 1)[0], "floats are not exact"
    assert of(ints, a.reshape(2, 4).astype("i4"))[0] != of(ints, a.reshape(2, 4).astype("i4") + 1)[0]
    assert of(Tensor("float32", (2, 4)), a.reshape(2, 4)) != of(Tensor("float32", (4, 2)), a.reshape(4, 2))


def test_wrong_lengths_and_types_are_refused() -> None:
    with pytest.raises(StoreError, match="expected 2 values, found 1"):
        row_digests([("x", pa.int8(), [1])], 2)
    with pytest.raises(StoreError, match="no canonical digest"):
        type_signature(pa.dense_union([pa.field("a", pa.int8())]))


def test_temporal_and_decimal_values() -> None:
    from datetime import UTC, datetime
    from decimal import Decimal

    times = [datetime(2020, 1, 1, tzinfo=UTC), None, datetime(2020, 1, 2, tzinfo=UTC)]
    assert len(set(row_digests([("x", pa.timestamp("us", "UTC"), times)], 3).exact)) == 3
    money = [Decimal("1.10"), None, Decimal("-1.10")]
    assert len(set(row_digests([("x", pa.decimal128(9, 2), money)], 3).exact)) == 3


def test_ten_thousand_rows_take_about_a_second() -> None:
    n = 10_000
    kind = pa.list_(pa.struct([("word", pa.string()), ("score", pa.float32()), ("box", pa.list_(pa.float32()))]))
    items = [[{"word": "w", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0]}] * 10] * n
    columns = [("label", pa.string(), [f"text {i}" * 20 for i in range(n)]), ("n", pa.int64(), list(range(n)))]
    arrays = [(name, t, pa.array(v, t)) for name, t, v in [*columns, ("items", kind, items)]]
    start = time.perf_counter()
    row_digests(arrays, n)
    assert time.perf_counter() - start < 3, "about 0.3 s on an idle core"
