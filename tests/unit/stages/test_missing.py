"""Packages that are installed and cannot be loaded, as OpenCV where the system has no libGL."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from diptych.exceptions import MissingExtra
from diptych.stage import Stage
from diptych.stages.ocr import Ocr
from diptych.stages.ocr_engine import OcrProcess
from diptych.stages.proposals import Proposals

LACKING = "libGL.so.1: cannot open shared object file: No such file or directory"


def broken(folder: Path, name: str, line: str) -> None:
    (folder / f"{name}.py").write_text(line)


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules are imported in place of what is installed."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("cv2", "paddleocr"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("cv2", "paddleocr", "onnxruntime"):
        broken(tmp_path, name, "")
    return tmp_path


@pytest.mark.parametrize(("stage", "extra"), [(Ocr, "ocr"), (Proposals, "proposals")])
def test_a_library_that_is_missing_is_named_before_any_row(stage: type[Stage], extra: str, shadow: Path) -> None:
    broken(shadow, "cv2", f"raise ImportError({LACKING!r})")
    with pytest.raises(MissingExtra) as caught:
        stage().check()
    text = str(caught.value)
    assert LACKING in text and "apt-get install libgl1 libglib2.0-0" in text and "pip install" not in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text  # noqa: S301 - from a worker process
    broken(shadow, "cv2", "import no_such_package")
    with pytest.raises(
        MissingExtra, match=rf"'no_such_package' is not installed; run: pip install 'diptych\[{extra}\]'"
    ):
        stage().check()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"raise ImportError({LACKING!r})", "'paddleocr' is installed and cannot be loaded: libGL.so.1: .* libgl1"),
        ("import no_such_package", "'no_such_package' is not installed; run: pip install"),
    ],
)
def test_the_process_that_reads_says_what_it_could_not_load(shadow: Path, line: str, said: str) -> None:
    broken(shadow, "paddleocr", line)
    process = OcrProcess({})
    with pytest.raises(MissingExtra, match=said):
        process.read(np.zeros((4, 4, 3), np.uint8))
    process.close()
