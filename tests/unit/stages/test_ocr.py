"""Reading banners in two languages, the order of lines, and the life of the process."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from diptych.sample import Site
from diptych.stage import Batch, Output
from diptych.stages import ocr_processes
from diptych.stages.ocr import Ocr, OcrConfig, reading_order
from diptych.stages.ocr_engine import OcrProcess

pytestmark = pytest.mark.ocr


def banner(lines: list[str], font: Path | None = None, seed: int = 0) -> bytes:
    small = np.random.default_rng(seed).integers(170, 255, (12, 16, 3), np.uint8)
    image = Image.fromarray(small).resize((480, 300), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    face = ImageFont.truetype(str(font), 32) if font else ImageFont.load_default(32)
    for n, line in enumerate(lines):
        draw.text((40, 50 + 90 * n), line, font=face, fill=(15, 15, 50))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def ocr(sample_weights: None) -> Any:
    stage = Ocr()
    stage.setup("cpu")
    yield stage
    stage.close()


def run(stage: Ocr, *pictures: bytes | None) -> Output:
    keys = tuple(str(n) for n in range(len(pictures)))
    out = stage.process(Batch(keys, {"images.bytes": list(pictures)}, stage))
    out.check("ocr")
    return out


def test_blank_pictures_never_start_the_process(ocr: Ocr) -> None:
    out = run(ocr, png(np.full((200, 300, 3), 240, np.uint8)), png(np.zeros((1, 1, 3), np.uint8)))
    assert out.values["lines"] == [[], []] and out.values["text"] == ["", ""] and ocr._processes.each[0].started == 0


def test_english_is_read_and_polygons_are_in_pixels(ocr: Ocr) -> None:
    out = run(ocr, banner(["Harvest festival", "opens on Monday 14:30"]))
    assert out.values["text"][0] == "Harvest festival\nopens on Monday 14:30"
    for n, line in enumerate(out.values["lines"][0]):
        xs, ys = line["polygon"][0::2], line["polygon"][1::2]
        assert line["confidence"] > 0.9 and 25 < min(xs) < 55 and max(xs) < 480
        assert 50 + 90 * n - 15 < min(ys) < max(ys) < 50 + 90 * n + 55


def test_chinese_is_read(ocr: Ocr) -> None:
    fonts = pytest.importorskip("pylopdf_fonts_zh_cn")
    font = next(Path(fonts.__file__).parent.glob("NotoSans*.otf"))
    assert (
        run(ocr, banner(["市长为新桥剪彩", "二〇二四年春天"], font)).values["text"][0]
        == "市长为新桥剪彩\n二〇二四年春天"
    )


def test_pictures_without_text_have_no_lines(ocr: Ocr) -> None:
    assert [run(ocr, banner([], seed=n)).values["lines"] for n in range(4)] == [[[]]] * 4


def test_a_handful_of_the_sample_sites_pictures(ocr: Ocr) -> None:
    """Two banners a language are read without a mistake; nothing is read where nothing stands."""
    site = Site(9, seed=11, dirt=False)
    shown: dict[str, list[tuple[bytes, list[str]]]] = {"en": [], "zh": [], "": []}
    for index in range(9):
        for picture, truth in zip(site.document(index).images, site.truth(index).images, strict=True):
            language = truth.texts[0].language if truth.texts else ""
            if truth.photograph is None and len(shown[language]) < 2:
                shown[language].append((site.image_bytes(picture), [text.text for text in truth.texts]))
    for language, items in shown.items():
        found = run(ocr, *(data for data, _ in items)).values["lines"]
        assert [[line["text"] for line in lines] for lines in found] == [lines for _, lines in items], language
        assert len(items) == 2


def test_bad_rows_fail_alone_and_order_is_kept(ocr: Ocr) -> None:
    out = run(ocr, b"<html>", banner(["Second"]), None, banner(["Fourth"]))
    assert out.values["text"] == [None, "Second", None, "Fourth"]
    assert [s.code for s in out.states] == ["not_an_image", "", "not_an_image", ""]


def test_a_killed_process_is_replaced(ocr: Ocr) -> None:
    run(ocr, banner(["Once"]))
    before = ocr._processes.each[0].pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    out = run(ocr, banner(["Again"]))
    assert out.values["text"] == ["Again"] and ocr._processes.each[0].pid != before


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_process_is_recycled_and_ends_with_close(sample_weights: None) -> None:
    class Tired(Ocr):
        recycle_after = 1

    stage = Tired()
    stage.setup("cpu")
    pids = []
    for word in ("One", "Two"):
        assert run(stage, banner([word])).values["text"] == [word]
        pids.append(stage._processes.each[0].pid)
    assert len(set(pids)) == 2 and stage._processes.each[0].started == 2 and not alive(pids[0])
    stage.close()
    assert not any(map(alive, pids))
    stage.close()


def test_several_processes_read_what_one_does_once_it_pays(
    sample_weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr_processes, "ENOUGH", 2)
    monkeypatch.setattr(ocr_processes, "threads", lambda: 2)
    pictures = [banner([f"Number {n}"], seed=n) for n in range(4)]
    stage = Ocr()
    stage.setup("cpu")
    try:
        one = run(stage, b"<html>", *pictures, None)
        assert len(stage._processes.each) == 1
        two = run(stage, b"<html>", *pictures, None)
        pids = [process.pid for process in stage._processes.each]
        assert len(set(pids)) == 2 and None not in pids and all(p.pictures for p in stage._processes.each)
    finally:
        stage.close()
    assert one.values == two.values and one.states == two.states, "to the last bit: each has one thread"
    assert not any(alive(pid) for pid in pids if pid)


def test_memory_bounds_the_processes_and_an_error_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr_processes, "ENOUGH", 0)
    monkeypatch.setattr(ocr_processes, "threads", lambda: 16)
    asked: list[int] = []

    def fails(process: OcrProcess, item: int) -> int:
        asked.append(item)
        if item == 3:
            raise IndexError("three")
        time.sleep(0.01)
        return -item

    for free, count in ((1 << 30, 1), (7 << 30, 3), (1 << 40, 16)):
        monkeypatch.setattr(ocr_processes, "memory", lambda free=free: (free, 1 << 40))
        several = ocr_processes.OcrProcesses(lambda: OcrProcess({}))
        assert several.map(lambda process, item: -item, range(40)) == [-n for n in range(40)]
        assert len(several.each) == count
        asked.clear()
        with pytest.raises(IndexError, match="three"):
            several.map(fails, range(400))
        assert len(asked) < 40


def test_a_silent_process_is_given_up() -> None:
    process = OcrProcess({"engine": "nonsense"}, timeout=1)
    with pytest.raises(Exception, match="ended|answer"):
        process.read(np.zeros((10, 10, 3), np.uint8))
    assert process.pid is None


def test_no_orphan_when_the_parent_is_killed(sample_weights: None) -> None:
    code = (
        "import numpy as np, sys, time\nfrom diptych.stages.ocr import Ocr\n"
        "s = Ocr(); s.setup('cpu'); s._processes.each[0].read(np.zeros((40, 40, 3), np.uint8))\n"
        "print(s._processes.each[0].pid, flush=True); time.sleep(60)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(child)


def test_reading_order() -> None:
    def line(text: str, x: float, y: float) -> tuple[str, float, list[float]]:
        return text, 1.0, [x, y, x + 50, y, x + 50, y + 20, x, y + 20]

    lines = [line("d", 10, 60), line("b", 100, 14), line("a", 10, 18), line("c", 200, 11)]
    assert [t for t, _, _ in reading_order(lines)] == ["a", "b", "c", "d"] and reading_order([]) == []


def test_model_folders_are_content(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="inference.yml"):
        OcrConfig(detection_dir=str(tmp_path))
    for text in ("Global: [", "[1]", "Global: 1", ""):
        (tmp_path / "inference.yml").write_text(text)
        with pytest.raises(ValidationError, match="no YAML of PaddleOCR"):
            OcrConfig(detection_dir=str(tmp_path))
    (tmp_path / "inference.yml").write_text("Global: {model_name: x}\n")
    config = OcrConfig(detection_dir=str(tmp_path))
    assert config.models_sha256 and OcrConfig(**config.model_dump()) == config
    assert Ocr(config).weight_names() == ("ppocr_rec",)
    (tmp_path / "inference.onnx").write_bytes(b"x")
    with pytest.raises(ValidationError, match="changed"):
        OcrConfig(**config.model_dump())
    assert OcrConfig(detection_dir=str(tmp_path)) != config
