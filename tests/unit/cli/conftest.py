"""The command line in this process, in the folder that a module's fixture ``place`` made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych.cli import main
from diptych.engine.steps import close


@pytest.fixture
def diptych(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """``diptych(*arguments)`` -> exit code, stdout, stderr."""
    monkeypatch.chdir(place)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["diptych", *arguments])
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return int(code), out, err

    yield run
    close()
