"""The exports' tests share one small version; its modules stand beside them and beside the report's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from export_world import records
from small_version import SmallVersion


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallVersion:
    """The version; tests export it and never change it."""
    return SmallVersion(tmp_path_factory.mktemp("exports"), records(), random_weights=True, accepted_failures=0.0123)
