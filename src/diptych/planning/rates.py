"""What a row of a stage costs: as the dataset's own builds measured it, else as a packaged table has it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from diptych.engine.graph import Graph
from diptych.planning.shape import Shape
from diptych.storage.manifest import Manifest

__all__ = ["Rate", "packaged_shape", "rates_of"]

ENOUGH = 20
"""Rows that a build must have computed for its seconds to count."""


@dataclass(frozen=True)
class Rate:
    """Seconds and stored bytes of one row, and who says so."""

    seconds: float
    bytes: float
    origin: str


@cache
def _measured() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "measured.json").read_text(encoding="utf-8"))


def packaged_shape() -> Shape:
    """The shape of the sample site's documents."""
    return Shape(**_measured()["shape"])


def rates_of(graph: Graph, versions: Iterable[Manifest]) -> dict[str, Rate | None]:
    """Each stage's rate: of the newest version that computed enough rows of it, else packaged; None: nobody knows."""
    found: dict[str, Rate | None] = {}
    newest = sorted(versions, key=lambda m: m.version, reverse=True)
    for node in graph.stages:
        assert node.stage is not None
        found[node.name] = _own(node.name, node.stage.version, newest) or _packaged(node.name)
    return found


def _own(name: str, version: int, newest: list[Manifest]) -> Rate | None:
    for manifest in newest:
        measured: Any = manifest.statistics.get("rates") or {}
        own = measured.get(name)
        entry = next((s for s in manifest.stages if s.name == name and s.version == version), None)
        if own and entry and own["rows"] >= ENOUGH:
            size = entry.bytes / max(1, entry.counts.total)
            return Rate(own["seconds"] / own["rows"], size, f"version {manifest.version}")
    return None


def _packaged(name: str) -> Rate | None:
    own = _measured()["stages"].get(name)
    return Rate(own["seconds"], own["bytes"], "packaged") if own else None
