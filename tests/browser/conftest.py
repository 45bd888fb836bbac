"""One page in headless Chromium for the tests that look at it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from small_version import SmallVersion, usual

from diptych.report import write_report


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with pictures, boxes, edges and every kind of loss."""
    folder = tmp_path_factory.mktemp("report")
    return write_report(SmallVersion(folder, usual(), random_weights=True).version, folder / "report.html")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a version without records."""
    folder = tmp_path_factory.mktemp("empty")
    return write_report(SmallVersion(folder, [], ()).version, folder / "report.html")
