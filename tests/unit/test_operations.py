"""docs/operations.md: every error with its exit code, every command and option it prints, every variable it names."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from diptych import exceptions
from diptych.cli import app
from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.steps import close
from diptych.exceptions import DiptychError

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def test_every_error_is_explained_with_its_exit_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d) \|", PAGE, re.MULTILINE))
    classes = {
        name: str(found.exit_code)
        for name, found in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(found, DiptychError) and found is not DiptychError
    }
    assert rows == classes


def test_commands_and_options_exist() -> None:
    group: Any = typer.main.get_command(app)
    lines = re.findall(r"diptych ([a-z]+[^`\n#&]*)", PAGE)
    commands = [line.split() for line in lines if line.split()[0] in group.commands]
    assert len(commands) > 15
    for words in commands:
        command = group.commands[words[0]]
        if hasattr(command, "commands") and len(words) > 1:
            assert words[1] in command.commands, words
            command = command.commands[words[1]]
        options = {name for parameter in command.params for name in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word in options, words


def test_variables_are_read_somewhere() -> None:
    code = "".join(
        f.read_text()
        for folder in ("src", "flows", "tasks")
        for f in (Path(__file__).resolve().parents[2] / folder).rglob("*.py")
    )
    for name in re.findall(r"`(DIPTYCH_[A-Z_]+)`", PAGE):
        assert name in code, name


def test_the_backup_commands_give_a_copy_that_can_be_restored(tmp_path: Path) -> None:
    (tmp_path / "texts" / "documents").mkdir(parents=True)
    (tmp_path / "texts" / "documents" / "a.json").write_text(json.dumps({"title": "A", "text": "A bridge."}))
    recipe = "name: notes\nsources: [{kind: folder, name: t, path: texts}]\nstages: {clean_text: {min_characters: 0}}\n"
    crawl_recipe(recipe, str(tmp_path / "data"), tmp_path)
    build(recipe, str(tmp_path / "data"), folder=tmp_path)
    close()
    [block] = re.findall(r"^## Back up and restore\n.*?```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    script = f'set -e\ndiptych() {{ "{sys.executable}" -m diptych "$@"; }}\n{block}'
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("notes@1: nothing wrong") == 2, done.stdout + done.stderr
    restored = {p.name for p in (tmp_path / "restored" / "notes").iterdir()}
    assert restored == {"lists", "log", "parts", "raw", "snapshots"}
