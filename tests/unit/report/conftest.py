"""The report's tests share one small version; its module stands beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_version import SmallVersion, usual


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallVersion:
    """A version with every kind of loss, boxes, edges, OCR lines and features."""
    return SmallVersion(tmp_path_factory.mktemp("small"), usual())
