"""What a build of any size would take, estimated from measured rates: ``diptych plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> dict[str, Any]:
    """A dataclass as plain values."""
    return asdict(value)
