"""The reader's small version, built once; each module works on a copy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "reader"), str(HERE)]

import world  # noqa: E402

from diptych.version import Version, open_version  # noqa: E402


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1: 60 documents. Version 2: some edited, some gone."""
    folder = tmp_path_factory.mktemp("built")
    world.make(folder, 60)
    world.make(folder, 60, edited=[7, 13], removed=[9, 20])
    return folder


@pytest.fixture(scope="module")
def version(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Version 1 in a folder of the module's own."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(built, root, dirs_exist_ok=True)
    return open_version(root / "world", 1)
