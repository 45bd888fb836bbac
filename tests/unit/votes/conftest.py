"""The votes' tests share one small version; its module stands with the report's tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "report"))


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three documents: two pictures, one picture, four pictures of which one is rejected."""
    from small_version import Record, SmallVersion, Used, picture, story

    records = [
        Record("two", story(1), [Used(picture(1), "A car."), Used(picture(2), "=A boat.")]),
        Record("one", story(2), [Used(picture(3), "A tree.")], split="test"),
        Record("four", story(3), [Used(picture(n), f"Picture {n}.") for n in (4, 5, 6)] + [
            Used(picture(7), "Buy.", rule="clean_pairs.advertisement")]),
    ]  # fmt: skip
    made = SmallVersion(tmp_path_factory.mktemp("votes"), records, ("clean", "clean_text", "clean_pairs", "sentences"))
    return made.version
