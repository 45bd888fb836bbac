"""An OCR process whose answer nobody took is ended: no picture gets another one's text. PaddleOCR is a stand-in."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.stages.ocr_engine import OcrDied, OcrProcess, _write

STAND_IN = """
import time
from pathlib import Path

class PaddleOCR:
    def __init__(self, place, start_s):
        self.place = Path(place)
        (self.place / "begun").touch()
        time.sleep(start_s)

    def predict(self, bgr):
        blue, _, red = map(int, bgr[0, 0])
        (self.place / f"picture-{red}").touch()
        time.sleep(blue / 100)
        return [{"rec_texts": [f"red {red}"], "rec_scores": [1.0], "rec_polys": [[[0, 0], [9, 0], [9, 9], [0, 9]]]}]
"""


class Limit(BaseException):
    """As a task's limit comes: raised in its thread by another one."""


def picture(red: int, seconds: float = 0.0) -> np.ndarray:
    """One that is read as ``red <level>`` after so long."""
    return np.full((20, 20, 3), (red, 0, round(100 * seconds)), np.uint8)


def text(process: OcrProcess, red: int) -> str:
    [(said, _, _)] = process.read(picture(red))
    return said


def when(file: Path, then: Callable[[], object]) -> threading.Thread:
    """Do that once the process has made the file."""

    def wait() -> None:
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.01)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OcrProcess]]:
    (tmp_path / "paddleocr.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    all_of_them: list[OcrProcess] = []

    def make(start_s: float = 0.0) -> OcrProcess:
        all_of_them.append(OcrProcess({"place": str(tmp_path), "start_s": start_s}, timeout=60))
        return all_of_them[-1]

    yield make
    for process in all_of_them:
        process.close()


def control_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_control_c_while_a_picture_is_read(made: Any, tmp_path: Path) -> None:
    process = made()
    assert text(process, 1) == "red 1"
    before = process._child
    when(tmp_path / "picture-10", control_c)
    with pytest.raises(KeyboardInterrupt):
        process.read(picture(10, 1.0))
    assert before.poll() is not None and process.pid is None, "it ended, with its answer"
    assert [text(process, red) for red in (20, 30, 40)] == ["red 20", "red 30", "red 40"]
    assert process.started == 2


def test_control_c_while_the_process_starts(made: Any, tmp_path: Path) -> None:
    process = made(1.0)
    when(tmp_path / "begun", control_c)
    with pytest.raises(KeyboardInterrupt):
        process.read(picture(10))
    assert process.pid is None
    assert [text(process, red) for red in (20, 30)] == ["red 20", "red 30"]


def test_a_limit_of_the_thread_that_waits(made: Any, tmp_path: Path) -> None:
    """It is met when the answer comes: half of that was taken then."""
    process, met = made(), threading.Event()
    assert text(process, 1) == "red 1"

    def limited() -> None:
        try:
            process.read(picture(10, 1.0))
        except Limit:
            met.set()

    thread = threading.Thread(target=limited, daemon=True)
    thread.start()
    ident, error = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Limit)
    when(tmp_path / "picture-10", lambda: ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, error)).join()
    thread.join(60)
    assert met.is_set()
    assert [text(process, red) for red in (20, 30, 40)] == ["red 20", "red 30", "red 40"]


def test_an_answer_to_another_picture_is_not_taken(made: Any) -> None:
    process = made()
    assert text(process, 1) == "red 1"
    rgb = picture(66)
    _write(process._child.stdin, [process._asked, rgb.shape[:2]], rgb.tobytes())
    with pytest.raises(OcrDied, match="another picture"):
        process.read(picture(20))
    assert text(process, 30) == "red 30"
