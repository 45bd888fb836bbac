"""Canonical digests of values: the same on any machine, in any Arrow layout and Parquet file.

A value's encoding is fixed by its logical type and decodable given that type, so two different values never
share one. Dictionary encoding, chunking, offsets' width (``string`` / ``large_string`` / views), fixed-size
lists, unused null buffers and bytes under nulls leave no trace. Little-endian:

* a run of ``n`` values of a type: one byte 0 when none is null, else 1 and one byte a value (1 present); then
* numbers, times, booleans: their bytes, zero under nulls (a float's -0.0 is 0.0, and there is one NaN);
* text and bytes: ``n`` lengths (int64), then the bytes; lists: ``n`` lengths, then the run of all elements;
* structs: the run of each field. A row is a run of one in each column, after a header of names and types.

``exact`` digests leave the float leaves out (a list of structs keeps its length and its text); ``floats``
digests are a hash of the exact digest and of the float leaves. Tensors count whole: dtype, shape, bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from diptych.exceptions import StoreError
from diptych.naming import HASH_BYTES
from diptych.stage import Tensor

__all__ = ["Column", "RowDigests", "row_digests", "table_digest", "tensor_bytes", "type_signature"]

Values = Sequence[Any] | pa.Array | pa.ChunkedArray
Column = tuple[str, pa.DataType | Tensor, Values]
"""A column's name, its Arrow type or tensor declaration, and one value a row (None is null)."""


@dataclass(frozen=True)
class RowDigests:
    """One digest a row, 16 bytes each: without floats, and with them."""

    exact: list[bytes]
    floats: list[bytes]


def row_digests(columns: Sequence[Column], rows: int) -> RowDigests:
    """Both digests of each of ``rows`` rows; equal rows in equal columns have equal digests, others do not."""
    nodes: list[_Node] = []
    tensors: list[tuple[Tensor, Values]] = []
    header: list[bytes] = []
    for name, kind, values in columns:
        if len(values) != rows:
            raise StoreError(f"column {name!r}: expected {rows} values, found {len(values)}")
        if isinstance(kind, Tensor):
            tensors.append((kind, values))
            header.append(_frame("T" + name, f"{np.dtype(kind.dtype).name}{list(kind.shape)}"))
        else:
            nodes.append(_node(_as_array(values, kind)))
            header.append(_frame("C" + name, type_signature(kind)))
    exact_nodes = [node for node in nodes if node.exact]
    float_nodes = [node for node in nodes if node.floats]
    exact_tensors = [item for item in tensors if np.dtype(item[0].dtype).kind not in "fc"]
    float_tensors = [item for item in tensors if np.dtype(item[0].dtype).kind in "fc"]
    start = hashlib.blake2b(b"".join(header), digest_size=HASH_BYTES)
    exact: list[bytes] = []
    floats: list[bytes] = []
    for row in range(rows):
        digest = _digest_row(start.copy(), exact_nodes, exact_tensors, row, False)
        exact.append(digest)
        hasher = hashlib.blake2b(digest, digest_size=HASH_BYTES)
        floats.append(_digest_row(hasher, float_nodes, float_tensors, row, True))
    return RowDigests(exact, floats)


def _digest_row(
    hasher: hashlib.blake2b, nodes: list[_Node], tensors: list[tuple[Tensor, Values]], row: int, floats: bool
) -> bytes:
    out: list[bytes | memoryview] = []
    for node in nodes:
        node.emit(row, row + 1, out, floats)
    hasher.update(b"".join(out))
    for spec, values in tensors:
        value = values[row]
        if value is None:
            hasher.update(b"\0")
            continue
        data = tensor_bytes(value, spec)
        hasher.update(b"\1" + np.asarray(np.shape(value), "<i8").tobytes())
        hasher.update(data)
    return hasher.digest()


def table_digest(table: pa.Table, floats: bool = True) -> str:
    """64 hex digits of all values of a table in row order, its names and types; the name of a list."""
    hasher = hashlib.blake2b(digest_size=32)
    hasher.update(table.num_rows.to_bytes(8, "little"))
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        hasher.update(_frame("C" + name, type_signature(kind)))
    for column in table.columns:
        node = _node(_as_array(column, column.type))
        for part in (False, True) if floats else (False,):
            if node.floats if part else node.exact:
                out: list[bytes | memoryview] = []
                node.emit(0, table.num_rows, out, part)
                for piece in out:
                    hasher.update(piece)
    return hasher.hexdigest()


def tensor_bytes(value: Any, spec: Tensor) -> memoryview:
    """The little-endian bytes of a tensor value in C order, without a copy where it is so already."""
    array = np.ascontiguousarray(value, np.dtype(spec.dtype).newbyteorder("<"))
    return _memory(array)


def _memory(array: np.ndarray) -> memoryview:
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _frame(*texts: str) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(len(data).to_bytes(8, "little") + data for data in encoded)


def type_signature(kind: pa.DataType) -> str:
    """The logical type, without what is only layout."""
    types = pa.types
    if types.is_dictionary(kind):
        return type_signature(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return type_signature(kind.storage_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    if types.is_fixed_size_binary(kind):
        return "bytes"
    if _is_list(kind):
        return f"list<{type_signature(kind.value_type)}>"
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return "struct<" + "".join(f"{len(f.name)}:{f.name}={type_signature(f.type)};" for f in fields) + ">"
    if types.is_null(kind) or types.is_boolean(kind) or types.is_primitive(kind) or types.is_decimal(kind):
        return str(kind)
    raise StoreError(f"columns of type {kind} have no canonical digest; use text, numbers, lists and structs")


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _as_array(values: Values, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        chunked: Any = values
        if pa.types.is_dictionary(chunked.type):
            chunked = chunked.cast(chunked.type.value_type)
        if pa.types.is_string(chunked.type):
            chunked = chunked.cast(pa.large_string())  # one chunk may exceed 2 GiB of 32-bit offsets
        return chunked.combine_chunks()
    return values if isinstance(values, pa.Array) else pa.array(values, type=kind)


class _Node:
    """One level of a column: its validity, what it holds, and which kinds of leaves lie below."""

    exact = True
    floats = False

    def __init__(self, array: pa.Array) -> None:
        self.valid = _validity(array)

    def emit(self, start: int, stop: int, out: list[bytes | memoryview], floats: bool) -> None:
        if self.valid is None:
            out.append(b"\0")
            return
        present = self.valid[start:stop]
        out.append(b"\1" + present if 0 in present else b"\0")


class _Fixed(_Node):
    def __init__(self, array: pa.Array) -> None:
        super().__init__(array)
        kind = array.type
        self.floats = pa.types.is_floating(kind)
        self.exact = not self.floats
        data = _fixed_values(array, self.valid)
        self.width = data.dtype.itemsize
        self.data = _memory(data)

    def emit(self, start: int, stop: int, out: list[bytes | memoryview], floats: bool) -> None:
        super().emit(start, stop, out, floats)
        out.append(self.data[start * self.width : stop * self.width])


class _Bytes(_Node):
    def __init__(self, array: pa.Array) -> None:
        super().__init__(array)
        if pa.types.is_fixed_size_binary(array.type):
            array = array.cast(pa.binary())
        plain = array.cast(pa.large_binary()).fill_null(b"")
        offsets = np.frombuffer(plain.buffers()[1], np.int64)[plain.offset : plain.offset + len(plain) + 1]
        buffer = plain.buffers()[2]
        self.data = memoryview(buffer) if buffer is not None else memoryview(b"")
        self.lengths = _memory(np.diff(offsets).astype("<i8"))
        self.offsets = offsets.tolist() if len(plain) else [0]

    def emit(self, start: int, stop: int, out: list[bytes | memoryview], floats: bool) -> None:
        super().emit(start, stop, out, floats)
        out.append(self.lengths[8 * start : 8 * stop])
        out.append(self.data[self.offsets[start] : self.offsets[stop]])


class _List(_Node):
    def __init__(self, array: pa.Array) -> None:
        super().__init__(array)
        lengths = array.value_lengths().cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        self.child = _node(array.flatten())
        self.exact, self.floats = self.child.exact, self.child.floats
        self.lengths = _memory(lengths.astype("<i8"))
        self.offsets = [0, *np.cumsum(lengths).tolist()]

    def emit(self, start: int, stop: int, out: list[bytes | memoryview], floats: bool) -> None:
        super().emit(start, stop, out, floats)
        out.append(self.lengths[8 * start : 8 * stop])
        self.child.emit(self.offsets[start], self.offsets[stop], out, floats)


class _Struct(_Node):
    def __init__(self, array: pa.Array) -> None:
        super().__init__(array)
        self.children = [_node(child) for child in array.flatten()]
        self.floats = any(child.floats for child in self.children)
        self.exact = any(child.exact for child in self.children) or not self.floats

    def emit(self, start: int, stop: int, out: list[bytes | memoryview], floats: bool) -> None:
        super().emit(start, stop, out, floats)
        for child in self.children:
            if child.floats if floats else child.exact:
                child.emit(start, stop, out, floats)


def _node(array: pa.Array) -> _Node:
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _node(array.storage)
    if isinstance(array, pa.DictionaryArray):
        return _node(array.dictionary_decode())
    if _is_list(kind):
        return _List(array)
    if pa.types.is_struct(kind):
        return _Struct(array)
    if type_signature(kind) in ("text", "bytes"):
        return _Bytes(array)
    return _Node(array) if pa.types.is_null(kind) else _Fixed(array)


def _validity(array: pa.Array) -> bytes | None:
    if array.null_count == 0:
        return None
    return array.is_valid().to_numpy(zero_copy_only=False).astype(np.uint8).tobytes()


_TEMPORAL: Mapping[int, pa.DataType] = {32: pa.int32(), 64: pa.int64()}


def _fixed_values(array: pa.Array, valid: bytes | None) -> np.ndarray:
    kind = array.type
    if pa.types.is_boolean(kind):
        return array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8)
    if pa.types.is_decimal(kind):
        width = kind.byte_width
        buffer = array.buffers()[1]
        raw = np.frombuffer(buffer, f"V{width}")[array.offset : array.offset + len(array)] if buffer else b""
        values = np.array(raw, f"V{width}")
    else:
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            array = array.view(_TEMPORAL[kind.bit_width])
        dtype = np.dtype(array.type.to_pandas_dtype()).newbyteorder("<")
        buffer = array.buffers()[1]
        raw = np.frombuffer(buffer, dtype)[array.offset : array.offset + len(array)] if len(array) and buffer else []
        values = np.array(raw, dtype)
        if dtype.kind == "f":
            values += 0.0  # -0.0 becomes 0.0
            values[np.isnan(values)] = np.nan
    if valid is not None:
        values[np.frombuffer(valid, np.uint8) == 0] = np.zeros(1, values.dtype)[0]
    return values
