"""docs/walkthrough.md is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diptych.engine.steps import close

PAGE = Path(__file__).parents[2] / "docs" / "walkthrough.md"


def test_the_walkthrough_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(blocks) > 6
    names: dict[str, object] = {}
    try:
        for block in blocks:
            line = text[: block.start(1)].count("\n")
            exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)
    finally:
        close()


def test_every_file_the_walkthrough_names_exists() -> None:
    source = PAGE.parents[1] / "src" / "diptych"
    named = set(re.findall(r"`([a-z_]+/?[a-z_]*\.py)", PAGE.read_text(encoding="utf-8")))
    assert named and all((source / name).is_file() for name in named), sorted(named)
