"""A batch as one block of memory, on its way from a worker process to the one that trains.

Torch hands each tensor of a batch over by a shared-memory file of its own, and pins only what says how. Here the worker
lays all of them into one shared block, each at a multiple of 64 bytes; what is left of the batch is pickled around
them. The parent maps one file, pins one block, and its tensors are views of it: nothing is copied that need not be.
Blocks of batches that are pinned are used again (``blocks``).

Any object goes that can be pickled. A tensor that stands in two places is one tensor again; strides are kept where
they leave no gaps. A view keeps the whole block alive, and may be written into.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from diptych.storage.blocks import Blocks, Lent, open_blocks, shared

__all__ = ["Packed", "Packing", "pack"]

_ALIGN = 64
_LEAST = 1024
"""Bytes from which an array is laid into the block; a smaller one is pickled."""


@dataclass(frozen=True)
class _Place:
    """Where a tensor (or array, when ``array``) lies in the block."""

    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    array: bool

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize

    def view(self, block: Tensor) -> Tensor | np.ndarray:
        """It, as a view of the block."""
        flat = block[self.start : self.end].view(self.dtype)
        found = flat.as_strided(self.shape, self.strides, flat.storage_offset()) if len(flat) else flat.view(self.shape)
        return found.numpy() if self.array else found


@dataclass(frozen=True)
class Packed:
    """One batch: ``block`` (uint8) holds its tensors, ``rest`` is the pickle of all else."""

    block: Tensor | None
    """None: ``lent``, and here before"""
    places: tuple[_Place, ...]
    rest: bytes
    lent: Lent | None = None

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return self.places[-1].end if self.places else 0

    def pin_memory(self) -> Packed:
        """The same in page-locked memory; torch's DataLoader calls it where batches go to an accelerator."""
        if self.lent is not None:
            return Packed(open_blocks(self.lent.owner).pinned(self.lent, self.block), self.places, self.rest)
        assert self.block is not None
        return Packed(self.block.pin_memory(), self.places, self.rest)

    def unpack(self) -> Any:
        """The batch; its tensors are views of the block."""
        assert self.block is not None
        views = [place.view(self.block) for place in self.places]
        return _Unpickler(self.rest, views).load()


@dataclass(frozen=True)
class Packing:
    """A collate function that packs what another one makes; with ``blocks``, into those of its worker."""

    collate: Callable[[Any], Any]
    blocks: Blocks | None = None

    def __call__(self, samples: Any) -> Packed:
        """One packed batch."""
        return pack(self.collate(samples), self.blocks)


def pack(batch: Any, blocks: Blocks | None = None) -> Packed:
    """Lay a batch's tensors and large arrays into one block: of ``blocks``, else a new one."""
    text = io.BytesIO()
    pickler = _Pickler(text)
    pickler.dump(batch)
    lent, new = None, True
    if blocks is not None:
        block, new, lent = blocks.take(pickler.size)
    elif get_worker_info() is not None:
        block = shared(pickler.size)  # it would be copied there otherwise
    else:
        block = torch.empty(pickler.size, dtype=torch.uint8)
    for place, source in zip(pickler.places, pickler.sources, strict=True):
        view = place.view(block)
        if isinstance(view, Tensor):
            view.copy_(source)  # type: ignore[arg-type]
        else:
            view[...] = source  # type: ignore[assignment]
    return Packed(block if new else None, tuple(pickler.places), text.getvalue(), lent)


class _Pickler(pickle.Pickler):
    """Leaves tensors and large arrays out, and says where they will lie."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.size = 0
        self.places: list[_Place] = []
        self.sources: list[Tensor | np.ndarray] = []
        """kept alive, so that an id stays one object's"""
        self._numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        """The number of what is left out."""
        if not (_is_plain(obj) if isinstance(obj, Tensor) else isinstance(obj, np.ndarray) and _is_large(obj)):
            return None
        if id(obj) not in self._numbers:
            self._numbers[id(obj)] = len(self.places)
            array = not isinstance(obj, Tensor)
            tensor = torch.empty(obj.shape, dtype=_DTYPES[obj.dtype], device="meta") if array else obj
            strides = tensor.stride() if array else torch.empty_like(tensor, device="meta").stride()
            self.places.append(_Place(self.size, tuple(obj.shape), tuple(strides), tensor.dtype, array))
            self.sources.append(obj)
            self.size += -(-tensor.numel() * tensor.itemsize // _ALIGN) * _ALIGN
        return self._numbers[id(obj)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, text: bytes, views: list[Tensor | np.ndarray]) -> None:
        super().__init__(io.BytesIO(text))
        self._views = views

    def persistent_load(self, pid: int) -> Tensor | np.ndarray:
        return self._views[pid]


_DTYPES = {torch.empty(0, dtype=t).numpy().dtype: t for t in (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128,
)}  # fmt: skip


def _is_plain(tensor: Tensor) -> bool:
    """Whether its numbers are all there is to a tensor; others are pickled."""
    return (
        type(tensor) is Tensor
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.requires_grad or tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
    )


def _is_large(array: np.ndarray) -> bool:
    return type(array) is np.ndarray and array.flags.c_contiguous and array.nbytes >= _LEAST and array.dtype in _DTYPES
