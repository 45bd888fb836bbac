"""Moving a model's batch, a frozen dataclass of tensors, to a device."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

__all__ = ["moved"]


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


B = TypeVar("B", bound=_Dataclass)


def moved(batch: B, device: torch.device | str, stays: Collection[str] = ()) -> B:
    """The same batch there; fields named in ``stays`` (lengths, which packing wants on the CPU) are left."""
    there: dict[str, Any] = {
        f.name: value.to(device, non_blocking=True)
        for f in fields(batch)
        if isinstance(value := getattr(batch, f.name), Tensor) and f.name not in stays
    }
    return replace(batch, **there)
