"""The storage tests share one toy dataset; its module stands beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_dataset import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """An empty toy dataset."""
    return Toy(tmp_path / "root")
