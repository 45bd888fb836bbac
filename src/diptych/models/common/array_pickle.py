"""Reading pickled dictionaries of arrays (detectron2's model-zoo .pkl files) without executing what they name.

A pickle may call anything importable. Here only the few names that NumPy itself writes are resolved, to classes
and functions of ours that make arrays and numbers; everything else, and every array of objects, is refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from diptych.exceptions import WeightsError

__all__ = ["load_arrays"]

_CORES = ("numpy.core", "numpy._core")  # before and since NumPy 2


class _Dtype:
    """Stands for numpy.dtype: a number's kind and, by its state, the order of its bytes."""

    def __init__(self, name: Any, *flags: Any) -> None:
        self.made = np.dtype(name if isinstance(name, str) else "O")
        if self.made.kind not in "biuf":
            raise WeightsError(f"an array of {name!r}; only numbers and booleans are read")

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise WeightsError(f"an array with bytes in order {order!r}")
        self.made = self.made.newbyteorder(order)


class _Array:
    """Stands for numpy.ndarray; its state becomes ``made``, an array with its own copy of the values."""

    made: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data  # text where Python 2 wrote it
        self.made = _values(raw, kind, shape, "F" if fortran else "C")


def _values(raw: Any, kind: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    """An array with its own copy of these bytes."""
    if not isinstance(kind, _Dtype) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise WeightsError("an array of an unknown kind")
    if not isinstance(raw, bytes | bytearray):
        raise WeightsError("an array of objects")
    return np.frombuffer(bytearray(raw), kind.made).reshape(shape, order=order)


class _Function:
    """A function that no pickle can change: with BUILD it may set the attributes of all that it is given."""

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *arguments: Any) -> Any:
        return self._run(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise WeightsError("it changes a function")


@_Function
def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _Array:
        raise WeightsError("an array of an unknown kind")
    return _Array()


@_Function
def _frombuffer(raw: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    """An array as protocol 5 writes it; in order K its axes are turned, as ``axes`` says."""
    if order not in ("C", "F", "K") or (order == "K") != isinstance(axes, tuple):
        raise WeightsError(f"an array in order {order!r} with axes {axes!r}")
    found = _Array()
    found.made = _values(raw, kind, shape, "F" if order == "F" else "C")
    if order == "K":
        found.made = found.made.transpose(axes)
    return found


@_Function
def _scalar(kind: Any, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(kind, _Dtype) or not isinstance(raw, bytes):
        raise WeightsError("a scalar that is no number")
    return np.frombuffer(raw, kind.made)[0]


@_Function
def _encode(text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec != "latin1":
        raise WeightsError("bytes in an unknown coding")
    return text.encode("latin1")


@_Function
def _no_bytes() -> bytes:
    """Empty bytes, as the oldest protocols write them: a call of ``bytes`` without arguments."""
    return b""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What stands here for a name NumPy writes; nothing is imported."""
        allowed: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            ("_codecs", "encode"): _encode,
            ("__builtin__", "bytes"): _no_bytes,
        }
        for core in _CORES:
            place = f"{core}.multiarray"
            allowed |= {(place, "_reconstruct"): _reconstruct, (place, "scalar"): _scalar}
            allowed[f"{core}.numeric", "_frombuffer"] = _frombuffer
        if (module_name, global_name) not in allowed:
            raise WeightsError(f"it names {module_name}.{global_name}, which is never executed")
        return allowed[module_name, global_name]


def load_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a .pkl by name, from the top level or from under "model"; :class:`WeightsError` for all else."""
    try:
        with open(file, "rb") as handle:
            raw = _read(handle)
    except WeightsError as error:
        raise WeightsError(f"{file} is refused: {error}") from error
    except Exception as error:  # a broken pickle raises whatever its instructions stumble on, MemoryError too
        raise WeightsError(f"{file} is no pickle of arrays: {type(error).__name__}: {error}") from error
    inner = raw.get("model", raw) if isinstance(raw, dict) else None
    if not isinstance(inner, Mapping):
        raise WeightsError(f"{file} holds {type(raw).__name__}, expected a dictionary of arrays")
    found = {k: v.made for k, v in inner.items() if isinstance(k, str) and isinstance(v, _Array) and v.made is not None}
    if not found:
        raise WeightsError(f"{file} holds no arrays of numbers")
    return found


def _read(handle: IO[bytes]) -> Any:
    return _Unpickler(handle, encoding="latin1").load()
