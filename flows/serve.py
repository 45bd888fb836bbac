"""``diptych serve``: a Prefect server, the deployments and two workers, in one command on one machine.

The server and the workers are processes of their own; a worker that dies is started again. Everything they know
stands in the folder PREFECT_HOME (SQLite) and in the datasets' root.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.deployments import Schedules

__all__ = ["main"]

START_S = 300
"""Seconds a server may take to answer: the first start of a new PREFECT_HOME makes its database."""
END_S = 40
"""Seconds the processes get to end: a training writes its checkpoint."""
SERVER = "server"
DEATHS, DEATHS_S = 5, 600.0
"""Workers that may die in so many seconds before all ends."""
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # version 2 of the UI asks a host outside
    # a task that waits for the accelerator asks again after so long; the default, 10, would leave it idle
    "PREFECT_SERVER_TASKS_TAG_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
}


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted, or only register; the exit code."""
    options = _options(arguments)
    root = os.environ["DIPTYCH_ROOT"] = _absolute(options.root)
    if options.register_only:
        return _register(root, options)
    address = f"http://{options.host}:{options.port}"
    os.environ.update(PREFECT_API_URL=f"{address}/api", PREFECT_UI_URL=address)
    for name, value in SERVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    if _answers(address):
        _say(f"something answers at {address} already; choose another --port", error=True)
        return 2
    children = Children()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, children.ask_to_end)
    try:
        children.start(SERVER, ["flows.server", "server", "start", "--host", options.host, "--port", str(options.port)])
        if not _wait(address, children):
            return children.code
        code = _register(root, options)
        if code or children.ended:
            return code or children.code
        children.start("cpu worker", ["prefect", "worker", "start", "--pool", "cpu", "--limit", str(options.runs)])
        children.start("gpu worker", ["prefect", "worker", "start", "--pool", "gpu", "--limit", "1"])
        _say(f"\nUI: {address}\ndatasets: {root}\nControl-C ends the server and its workers")
        while not children.ended:
            time.sleep(0.2)
        return children.code
    finally:
        children.end()


def _say(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(f"{'diptych: ' if error else ''}{text}\n")
    stream.flush()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="diptych serve", description=__doc__)
    parser.add_argument("--root", default=os.environ.get("DIPTYCH_ROOT", "data"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--recipe", action="append", default=[])
    parser.add_argument("--build-every", default="")
    parser.add_argument("--crawl-every", default="")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--accelerators", type=int, default=1)
    parser.add_argument("--register-only", action="store_true")
    return parser.parse_args(arguments)


def _absolute(root: str) -> str:
    return root if "://" in root else str(Path(root).resolve())


def _register(root: str, options: argparse.Namespace) -> int:
    """Work pools, limit, automation, deployments; prints what there is. The exit code."""
    from diptych.exceptions import DiptychError
    from flows.deployments import Schedules, check_server, register

    try:
        check_server()
        recipes = tuple(_recipe(r) for r in options.recipe)
        asked = Schedules(recipes, options.build_every, options.crawl_every)
        names = register(root, asked, options.accelerators)
    except DiptychError as error:
        _say(f"{error}", error=True)
        return error.exit_code
    _say("deployments: " + ", ".join(names))
    _say_schedules(asked)
    return 0


def _recipe(name: str) -> str:
    """The recipe's absolute path: runs start in another process, perhaps in another folder. Raises RecipeError."""
    from diptych.recipe import load_recipe

    file = load_recipe(name)
    given = Path(name) if Path(name).is_file() else Path("datasets") / f"{name}.yaml"
    return str(file.folder / given.name)


def _say_schedules(asked: Schedules) -> None:
    for what, cron in (("built", asked.build), ("crawled", asked.crawl)):
        if cron and asked.recipes:
            _say(f"{what} at {cron} (UTC): {', '.join(asked.recipes)}")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/api/health", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _wait(address: str, children: Children) -> bool:
    end = time.monotonic() + START_S
    while time.monotonic() < end and not children.ended:
        if _answers(address):
            return True
        time.sleep(0.25)
    if not children.ended:
        _say(f"no server at {address} after {START_S} s", error=True)
    return False


class Children:
    """The processes of ``serve``: a worker that dies is started again, the end of the server is the end of all."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._revived: list[float] = []
        self._asked = False
        self._said = False

    def start(self, name: str, arguments: list[str]) -> None:
        """Run a module with its arguments, in a group of its own: Control-C reaches it through us alone."""
        self._commands[name] = arguments
        command = [sys.executable, "-m", *arguments]
        out = subprocess.DEVNULL if name == SERVER else None  # its banner names settings that are made here already
        self._running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, start_new_session=True)

    def ask_to_end(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM and SIGINT."""
        self._asked = True

    @property
    def ended(self) -> bool:
        """Whether it is time to stop: somebody asked for it, the server ended, or workers die all the time."""
        for name, process in self._running.items():
            if self._asked or self._said or process.poll() is None:
                continue
            now = time.monotonic()
            self._revived = [t for t in self._revived if now - t < DEATHS_S]
            self._said = name == SERVER or len(self._revived) >= DEATHS
            again = "" if self._said else "; it is started again"
            _say(f"the {name} ended with {process.returncode}{again}", error=True)
            if not self._said:
                self._revived.append(now)
                self.start(name, self._commands[name])
        return self._asked or self._said

    @property
    def code(self) -> int:
        """The exit code: 0 when somebody asked for the end."""
        return 0 if self._asked else 1

    def end(self) -> None:
        """End the workers, then the server that they report to."""
        for name, process in reversed(self._running.items()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(END_S)
                except subprocess.TimeoutExpired:
                    _say(f"the {name} did not end within {END_S} s and is killed", error=True)
            try:
                os.killpg(process.pid, signal.SIGKILL)  # whatever it left behind
            except ProcessLookupError:
                pass
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
