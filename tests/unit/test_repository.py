"""What must hold for the repository as a whole: layout, dependencies, and nothing of one machine in it."""

from __future__ import annotations

import ast
import importlib.util
import io
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("src", "flows", "tasks", "benchmarks", "tests", ".ci")
MAX_LINES = 600
FORBIDDEN_NAMES = ("utils", "helpers", "manager", "processor", "handler")
# Written in two parts, so that this file does not contain what it forbids.
HOSTS = [a + b for a, b in [("pypi", ".org"), ("pythonhosted", ".org"), ("npmjs", ".org"), ("npmjs", ".com")]] + [
    a + b for a, b in [("deb.debian", ".org"), ("download.pytorch", ".org/whl"), ("anaconda", ".org")]
]
MACHINE_PATH = re.compile(r"(?<![\w./~}<-])/(?:root|home|Users|work|opt/(?:pypi|wheels)|tmp/w)/\w")
CONTAINER_FILES = re.compile(r"^(?:Dockerfile.*|docker-compose.*\.ya?ml)$")  # paths inside an image are not a machine's
TEXT = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".html", ".css", ".js", ".cfg", ".sh", ".ini", ""}


@lru_cache
def committed() -> tuple[Path, ...]:
    """Files that git knows or would add, as paths below the root."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout, or no git: {error}")
    return tuple(Path(name) for name in sorted(set(names.split("\0")) - {""}) if (ROOT / name).is_file())


def python_files(*folders: str) -> Iterator[Path]:
    """Committed Python files below these folders."""
    yield from (path for path in committed() if path.suffix == ".py" and path.parts[0] in folders)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, wherever in the file it does, relative imports left out."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@lru_cache
def declared() -> frozenset[str]:
    """Distributions that pyproject.toml names, in the dependencies or in any extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    names = {normal(re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0]) for text in requirements}
    return frozenset(names - {"diptych"})


def pins() -> dict[str, str]:
    """Name -> version of constraints.txt; fails on any line that is something else."""
    result = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        assert (match := re.fullmatch(r"([a-z0-9-]+)==(\d[\w.!]*)", line)), (
            f"constraints.txt: not name==version: {line}"
        )
        result[match[1]] = match[2]
    return result


def test_constraints_holds_versions_only_and_pins_every_declared_dependency() -> None:
    assert declared() - pins().keys() == set(), "run `make constraints`"


def test_exactly_one_distribution_owns_cv2() -> None:
    owners = metadata.packages_distributions().get("cv2", [])
    if not owners:
        pytest.skip("no distribution owns cv2: the extra [ocr] is not installed")
    assert len(set(owners)) == 1, "two distributions write into cv2; the last one written wins"


@pytest.mark.parametrize("name", ["diptych", "flows", "tasks"])
def test_our_top_level_packages_are_nobody_elses(name: str) -> None:
    assert set(metadata.packages_distributions().get(name, [])) <= {"diptych"}


@pytest.mark.parametrize(
    "name", ["cv2", "onnxruntime", "py3langid", "selectolax", "sentencex", "skimage", "trafilatura"]
)
def test_what_an_extra_brought_also_imports(name: str, request: pytest.FixtureRequest) -> None:
    # An extra of a dependency that the installer dropped shows only here (lxml[html_clean] under pip 23).
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"not installed: {name}")
    if name == "cv2":
        request.getfixturevalue("opencv")
    importlib.import_module(name)


def test_folder_datasets_holds_no_python() -> None:
    found = [path for path in committed() if path.parts[0] == "datasets" and path.suffix in {".py", ".pyi"}]
    assert found == [], "an __init__.py there would shadow the package `datasets` of Hugging Face"


def test_no_flow_is_named_like_a_package() -> None:
    # Prefect puts flows/ first on sys.path, so flows/build.py would be `import build` for everyone.
    taken = set(sys.stdlib_module_names) | set(metadata.packages_distributions()) | {"build", "datasets", "wheel"}
    names = {path.stem for path in python_files("flows")} - {"__init__"}
    assert names & taken == set()


def test_library_imports_no_orchestrator() -> None:
    wrong = [
        f"{path}:{line} imports {name}"
        for path in python_files("src")
        for line, name in imported(path)
        if name.split(".")[0] in {"prefect", "flows", "tasks"}
    ]
    assert wrong == []


def test_every_import_is_declared() -> None:
    owners = metadata.packages_distributions()
    own = {"diptych", "flows", "tasks", "detectron2"} | set(sys.stdlib_module_names)  # detectron2 is on no index
    wrong = []
    for path in python_files("src", "flows", "tasks"):
        for line, name in imported(path):
            top = name.split(".")[0]
            if top not in own and not {normal(owner) for owner in owners.get(top, [top])} & declared():
                wrong.append(f"{path}:{line} imports {name}, which no dependency or extra in pyproject.toml brings")
    assert wrong == []


def test_import_of_the_package_is_light() -> None:
    heavy = ("torch", "prefect", "paddleocr", "transformers", "sklearn", "matplotlib", "skimage")
    code = f"import sys, diptych; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_no_file_is_named_for_nothing() -> None:
    words = {path: set(re.split(r"[_.]", path.name.lower())) for path in python_files(*CODE)}
    assert [str(path) for path, parts in words.items() if parts & set(FORBIDDEN_NAMES)] == []


def test_no_file_is_too_long() -> None:
    code = [path for path in committed() if path.suffix in {".py", ".js", ".css", ".html"} and path.parts[0] in CODE]
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in code}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_nothing_of_one_machine_is_committed() -> None:
    wrong = []
    for path in committed():
        if path.suffix not in TEXT:
            continue
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            hosts = [host for host in HOSTS if host in line]
            paths = [] if CONTAINER_FILES.match(path.name) else MACHINE_PATH.findall(line)
            if hosts or paths:
                wrong.append(f"{path}:{number}: {line.strip()[:100]}")
    assert wrong == [], "package-index hosts or absolute paths of one machine"


def test_the_stage_of_the_contributing_guide_works() -> None:
    from diptych.stage import Batch

    image = pytest.importorskip("PIL.Image")
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    assert code
    module: dict[str, Any] = {"__name__": "brightness"}
    exec(compile(code[1], "CONTRIBUTING.md", "exec"), module)
    files = []
    for colour in ("black", "white"):
        buffer = io.BytesIO()
        image.new("RGB", (8, 8), colour).save(buffer, "PNG")
        files.append(buffer.getvalue())
    stage = module["Brightness"](module["Brightness"].Config(least=0.5))
    output = stage.process(Batch(("a", "b"), {"images.bytes": files}, stage))
    output.check("brightness")
    assert [state.code for state in output.states] == ["too_dark", ""]
    assert output.values["mean"] == [None, 1.0]


def test_only_the_command_line_reads_the_environment() -> None:
    passed_on = {"stages/ocr_engine.py", "report/chromium.py"}  # whole, to a process of their own
    passed_on |= {"engine/crew.py"}  # a worker sets its own, before it loads torch
    found = {
        str(path.relative_to(ROOT / "src" / "diptych"))
        for path in (ROOT / "src" / "diptych").rglob("*.py")
        if re.search(r"os\.environ|os\.getenv", path.read_text(encoding="utf-8"))
    }
    assert found - passed_on == {"cli.py"}
