"""One ``diptych serve`` for the tests of a module; each needs a minute of processor time and is slow."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from served import Served, make_place


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with its workers over a folder with a recipe of 24 documents."""
    with Served(make_place(tmp_path_factory.mktemp("served"))) as found:
        yield found


@pytest.fixture(scope="session")
def pictures(repository: Path) -> Path:
    """Where pictures of the UI are kept: ``tests/output/ui``, which git ignores."""
    return repository / "tests" / "output" / "ui"
