"""What every test may rely on: quiet tools, markers that skip with a reason, and a summary of what did not run."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("slow", "gpu", "data", "system", "ocr")
DESELECTED: Counter[str] = Counter()

# Before any test module imports them: no telemetry, no downloads, no windows.
for name, value in {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # tiny tensors, and the tests run in as many processes as there are cores
    "MPLBACKEND": "Agg",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(name, value)


def _missing(item: pytest.Item) -> str:
    """Why this machine cannot run the item; empty when it can."""
    if data := item.get_closest_marker("data"):
        variable = data.args[0]
        path = os.environ.get(variable)
        if not path:
            return f"no data: {variable} is not set"
        if not Path(path).exists():
            return f"no data: {variable} points at nothing"
    if system := item.get_closest_marker("system"):
        lacking = [program for program in system.args if not shutil.which(program)]
        if lacking:
            return f"not installed: {', '.join(lacking)}"
    if item.get_closest_marker("ocr"):
        if importlib.util.find_spec("paddleocr") is None:
            return "not installed: the extra [ocr]"
        if lacking := _lacks_opencv():
            return lacking
    if item.get_closest_marker("gpu") and not _has_gpu():
        return "no CUDA device"
    return ""


@cache
def _lacks_opencv() -> str:
    """Why OpenCV, which the OCR packages load, cannot be loaded: it or a library of the system is not there."""
    from diptych.exceptions import MissingExtra
    from diptych.releases import load

    try:
        load("cv2", "opencv-contrib-python", "ocr")
    except MissingExtra as error:
        return str(error)
    return ""


def _has_gpu() -> bool:
    """Whether torch sees a CUDA device; imports torch, so asked only for tests that need one."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, saying what it lacks; the flows run last.

    Once Prefect's services have run in a process, its threads' exit callbacks make every child that is forked from it
    end with exit code 1 (an assertion in ``prefect/_internal/concurrency/services.py``, 3.8.8).
    """
    flows = ROOT / "tests" / "flows"
    items.sort(key=lambda item: flows in item.path.parents)
    for item in items:
        if any(item.get_closest_marker(name) for name in HEAVY) and (reason := _missing(item)):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Remember why the marker expression left tests out."""
    for item in items:
        names = [name for name in HEAVY if item.get_closest_marker(name)]
        DESELECTED[" and ".join(names) or "by name or option"] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of several: hand what was left out to the one that prints."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["deselected"] = dict(DESELECTED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Every process leaves out the same tests: one process's count is the count."""
    output: dict[str, dict[str, int]] = getattr(node, "workeroutput", {})
    DESELECTED.update(Counter(output.get("deselected", {})) - DESELECTED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a few lines what was skipped or left out, and why."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[text.removeprefix("Skipped: ")] += 1
    if not reasons and not DESELECTED:
        return
    terminalreporter.section("not run")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:5d} skipped: {reason}")
    for marker, count in sorted(DESELECTED.items()):
        terminalreporter.write_line(f"{count:5d} left out of this run: {marker}")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def opencv() -> None:
    """Skips where OpenCV cannot be loaded."""
    if lacking := _lacks_opencv():
        pytest.skip(lacking)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A monkeypatch without any DIPTYCH_ variable of the person who runs the tests."""
    for variable in [name for name in os.environ if name.startswith("DIPTYCH_")]:
        monkeypatch.delenv(variable)
    yield monkeypatch
