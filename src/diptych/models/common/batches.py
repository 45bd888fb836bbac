"""Moving a model's batch, a frozen dataclass of tensors, to a device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    B = TypeVar("B", bound=DataclassInstance)
else:
    B = TypeVar("B")

__all__ = ["moved"]


def moved(batch: B, device: torch.device | str, stays: Collection[str] = ()) -> B:
    """The same batch there; fields named in ``stays`` (lengths, which packing wants on the CPU) are left."""
    there: dict[str, Any] = {
        f.name: value.to(device, non_blocking=True)
        for f in fields(batch)
        if isinstance(value := getattr(batch, f.name), Tensor) and f.name not in stays
    }
    return replace(batch, **there)
