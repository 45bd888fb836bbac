"""Pickles of arrays are read, and nothing that a pickle names is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy._core import numeric

from diptych.exceptions import WeightsError
from diptych.models.common import array_pickle
from diptych.models.common.array_pickle import load_arrays

ARRAYS = {
    "backbone.res2.0.conv1.weight": np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "count": np.array(7, np.int64),
    "flags": np.array([True, False]),
    "big endian": np.arange(3, dtype=">f4"),
    "empty": np.zeros((0, 4), np.float16),
    "turned": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(10)[::3],
}


def written(folder: Path, value: Any, protocol: int = 2) -> Path:
    file = folder / "weights.pkl"
    file.write_bytes(pickle.dumps(value, protocol))
    return file


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("zoo", [True, False])
def test_arrays_come_back(tmp_path: Path, protocol: int, zoo: bool) -> None:
    value = {"model": ARRAYS, "__author__": "Model Zoo", "matching_heuristics": True} if zoo else ARRAYS
    found = load_arrays(written(tmp_path, value, protocol))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert type(found[name]) is np.ndarray and found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_file_written_by_python_2_and_an_old_numpy(tmp_path: Path) -> None:
    data = (
        b"\x80\x02}q\x01U\x01wq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x80?\x00\x00\x00@tbs."
    )
    file = tmp_path / "old.pkl"
    file.write_bytes(data)
    assert load_arrays(file)["w"].tolist() == [1.0, 2.0]


class _Runs:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.made = call, arguments

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize(
    "value",
    [
        _Runs(os.system, "touch ran"),
        _Runs(eval, "open('ran', 'w')"),
        _Runs(np.load, "ran.npy"),
        _Runs(getattr, np, "x"),
        _Runs(np.memmap, "ran", np.uint8, "w+"),
    ],
    ids=lambda v: getattr(v.made[0], "__name__", "call"),
)
def test_nothing_is_executed(tmp_path: Path, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if value.made[0] is getattr:
        value = _Runs(getattr, "text", "upper")
    with pytest.raises(WeightsError, match="never executed"):
        load_arrays(written(tmp_path, {"model": {"a": value}}))
    assert not list(tmp_path.glob("ran*"))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("_codecs", "encode"), ("__builtin__", "bytes"), ("numpy", "ndarray"), ("numpy", "dtype"),
        *((m, n) for m in ("numpy.core.multiarray", "numpy._core.multiarray") for n in ("_reconstruct", "scalar")),
        *((m, "_frombuffer") for m in ("numpy.core.numeric", "numpy._core.numeric")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attribute", ["__defaults__", "__doc__", "made", "_run"])
@pytest.mark.parametrize("by_setattr", [True, False])
def test_nothing_that_a_name_stands_for_is_changed(
    tmp_path: Path, module: str, name: str, attribute: str, by_setattr: bool
) -> None:
    """BUILD sets attributes of whatever stands before it: a pair's second half by setattr, else in ``__dict__``."""
    file = tmp_path / "changes.pkl"
    changes = f"}}S'{attribute}'\n)s".encode()  # {attribute: ()}
    state = b"N" + changes + b"\x86" if by_setattr else changes
    file.write_bytes(f"\x80\x02c{module}\n{name}\n".encode("latin1") + state + b"b.")
    before = {key: getattr(one, attribute, None) for key, one in vars(array_pickle).items()}
    with pytest.raises(WeightsError):
        load_arrays(file)
    assert {key: getattr(one, attribute, None) for key, one in vars(array_pickle).items()} == before


class _FromBuffer:
    """A call as protocol 5 writes it, with arguments of one's own."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return numeric._frombuffer, self.arguments


F4 = np.dtype("<f4")


@pytest.mark.parametrize(
    "arguments",
    [
        (b"12345678", np.dtype(object), (1,), "C"),
        (b"12345678", np.dtype("S8"), (1,), "C"),
        (b"12345678", np.dtype([("x", "f4"), ("y", "O")]), (1,), "C"),
        (b"12345678", "f4", (2,), "C"),
        (b"12345678", float, (1,), "C"),
        (b"12345678", None, (1,), "C"),
        ("12345678", F4, (2,), "C"),
        (12345678, F4, (2,), "C"),
        ([1.0, 2.0], F4, (2,), "C"),
        (np.zeros(2, np.float32), F4, (2,), "C"),
        (b"12345678", F4, (-1,), "C"),
        (b"12345678", F4, (3,), "C"),
        (b"12345678", F4, (1 << 62, 4), "C"),
        (b"12345678", F4, (1 << 80,), "C"),
        (b"12345678", F4, 2, "C"),
        (b"12345678", F4, "2", "C"),
        (b"12345678", F4, (2.0,), "C"),
        (b"1234567", F4, (1,), "C"),
        (b"12345678", F4, (2,), "X"),
        (b"12345678", F4, (2,), "A"),
        (b"12345678", F4, (2,), "K"),
        (b"12345678", F4, (2,), None),
        (b"12345678", F4, (2, 1), "K", (0, 0)),
        (b"12345678", F4, (2, 1), "K", (0, 2)),
        (b"12345678", F4, (2, 1), "K", (0,)),
        (b"12345678", F4, (2, 1), "K", "01"),
        (b"12345678", F4, (2, 1), "C", (1, 0)),
        (b"12345678", F4),
        (b"12345678", F4, (2,), "C", None, None),
    ],
    ids=str,
)
def test_what_is_no_array_of_numbers_in_protocol_5(tmp_path: Path, arguments: tuple[Any, ...]) -> None:
    value = {"good": np.zeros(3), "bad": _FromBuffer(*arguments)}
    with pytest.raises(WeightsError, match=r"weights.pkl (is refused: |is no pickle of arrays: )"):
        load_arrays(written(tmp_path, value, 5))


def test_buffers_kept_outside_of_a_file_are_not_read(tmp_path: Path) -> None:
    """In two files by NumPy: what stands in the other is not there; a buffer made read-only is no bytes."""
    file = tmp_path / "outside.pkl"
    file.write_bytes(pickle.dumps({"w": np.zeros(3)}, 5, buffer_callback=lambda _: False))
    with pytest.raises(WeightsError, match="is no pickle of arrays"):
        load_arrays(file)
    readonly = pickle.dumps({"w": _FromBuffer(bytearray(b"12345678"), F4, (2,), "C")}, 5)
    start = readonly.index(b"12345678") + 8
    file.write_bytes(readonly[:2] + (readonly[:start] + b"\x98" + readonly[start:])[11:])  # without the frame's length
    with pytest.raises(WeightsError, match="is refused: an array of objects"):
        load_arrays(file)


def test_arrays_of_protocol_5_are_their_own(tmp_path: Path) -> None:
    """Two arrays of one buffer: a change of one is none of the other."""
    shared = bytearray(b"12345678")
    value = {name: _FromBuffer(shared, F4, (2,), "C") for name in "ab"}
    found = load_arrays(written(tmp_path, value, 5))
    found["a"][:] = 0
    assert found["b"].tobytes() == b"12345678" and found["b"].flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        {"a": np.array([object, None], dtype=object)},
        {"a": np.array(["text"])},
        {"a": np.zeros(2, [("x", "f4")])},
        {"a": np.float32(1)},
        {"a": 1},
        [1, 2],
        {"model": 3},
        {},
    ],
    ids=str,
)
def test_other_content_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(WeightsError):
        load_arrays(written(tmp_path, value))


def test_broken_files(tmp_path: Path) -> None:
    file = written(tmp_path, ARRAYS)
    for data in (b"", b"\x80\x02", file.read_bytes()[:200], b"PK\x03\x04zip", b"<html>"):
        file.write_bytes(data)
        with pytest.raises(WeightsError, match="no pickle of arrays"):
            load_arrays(file)


def test_what_no_memory_holds_and_a_folder(tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.pkl"
    greedy.write_bytes(b"\x80\x04\x8e" + (1 << 60).to_bytes(8, "little"))
    (tmp_path / "folder.pkl").mkdir()
    for file in (greedy, tmp_path / "folder.pkl"):
        with pytest.raises(WeightsError, match=f"{file.name} is no pickle of arrays"):
            load_arrays(file)
