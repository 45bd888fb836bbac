"""Real photographs with a COCO captions file: init writes the recipe, build commits, the report shows the boxes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.data("DIPTYCH_COCO")
def test_init_build_and_report_of_coco_photographs(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "diptych.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init", "photos", "--from", os.environ["DIPTYCH_COCO"])
    assert "version 1" in run("build", "photos.yaml")
    run("report", "photos", "--to", "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "annotated" in page and page.count("data:image/jpeg") > 50
    assert "nothing changed" in run("build", "photos.yaml")
