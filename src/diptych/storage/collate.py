"""Samples to a batch: ragged values are padded with zeros, and a mask says what is real.

===========================  =================================  ===========================================
field                        batch[field]                       batch[field + ".mask"] (bool, True is real)
===========================  =================================  ===========================================
fixed tensor                 (B, *shape)                        (B,) only when the value may be missing
ragged tensor                (B, L, *row)                       (B, L)
list of fixed tensors        (B, M, *shape)                     (B, M)
list of ragged tensors       (B, M, L, *row)                    (B, M, L), and ``.items`` (B, M)
number                       (B,)                               (B,) False where the value is null
list of numbers              (B, L), deeper (B, L, K)           the same shape; deeper also ``.items`` (B, L)
text, bytes, structs         list of values (or of lists)       -
===========================  =================================  ===========================================

L, M, K are the largest in the batch (0 when all are empty: then the mask is all False, with that shape).
``batch["key"]`` is the list of row keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.storage.reader_fields import Spec

if TYPE_CHECKING:
    import torch

__all__ = ["Collate", "collate", "pad"]

Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Collate:
    """The collate function of a reader; picklable, so that workers can have it."""

    specs: Mapping[str, Spec]
    float_dtype: str | None = None
    """What floating tensors and numbers are cast to (``float32``); None leaves each as it is stored."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor | list[Any]]:
        """One batch of these samples."""
        return collate(samples, self.specs, self.float_dtype)


def collate(
    samples: Sequence[Sample], specs: Mapping[str, Spec], float_dtype: str | None = None
) -> dict[str, torch.Tensor | list[Any]]:
    """Tensors with masks, and lists of what is no number; no sample at all gives tensors of zero rows."""
    import torch

    batch: dict[str, Any] = {"key": [sample["key"] for sample in samples]}
    for name, spec in specs.items():
        values = [sample[name] for sample in samples]
        if spec.dtype is None:
            batch[name] = values
            continue
        dtype = np.dtype(spec.dtype)
        if float_dtype is not None and dtype.kind == "f":
            dtype = np.dtype(float_dtype)
        padded, mask, items = pad(values, spec.depth, spec.shape, dtype)
        batch[name] = torch.from_numpy(padded)
        if spec.depth or spec.optional:
            batch[f"{name}.mask"] = torch.from_numpy(mask)
        if items is not None:
            batch[f"{name}.items"] = torch.from_numpy(items)
    return batch


def pad(
    values: Sequence[Any], depth: int, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Values nested ``depth`` levels deep as one array, its mask, and which outer items exist."""
    sizes = [0] * depth
    for value in values:
        _measure(value, 0, sizes)
    padded = np.zeros((len(values), *sizes, *shape), dtype)
    mask = np.zeros((len(values), *sizes), bool)
    for row, value in enumerate(values):
        _fill(value, depth, padded, mask, row)
    items = None
    if depth > 1:
        lengths = np.array([0 if value is None else len(value) for value in values], np.int64)
        items = np.arange(sizes[0]) < lengths[:, None]
    return padded, mask, items


def _measure(value: Any, level: int, sizes: list[int]) -> None:
    if value is None or level == len(sizes):
        return
    sizes[level] = max(sizes[level], len(value))
    if level + 1 < len(sizes):
        for item in value:
            _measure(item, level + 1, sizes)


def _fill(value: Any, depth: int, padded: np.ndarray, mask: np.ndarray, row: int) -> None:
    if value is None:
        return
    if depth == 0:
        padded[row] = value
        mask[row] = True
    elif depth == 1 and (isinstance(value, np.ndarray) or (padded.ndim == 2 and None not in value)):
        padded[row, : len(value)] = value
        mask[row, : len(value)] = True
    else:
        for place, item in enumerate(value):
            _fill(item, depth - 1, padded[row], mask[row], place)
