"""The reader's tests share one small version; its module stands beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import world as small_world

from diptych.version import Version

Made = tuple[Version, dict[tuple[str, str], dict[str, Any]]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The small version, and what the engine handed its collecting stages."""
    small_world.HANDED.clear()
    version = small_world.make(tmp_path_factory.mktemp("world"))
    return version, dict(small_world.HANDED)


@pytest.fixture(scope="session")
def version(made: Made) -> Version:
    """The small version."""
    return made[0]
