"""``diptych serve``: a Prefect server, the deployments and two workers, in one command on one machine.

The server and the workers are processes of their own; a worker that dies is started again. Everything they know
stands in the folder PREFECT_HOME (SQLite), which one ``serve`` uses at a time, and in the datasets' root. They end with
this process, however it ends; runs that were under way are then Crashed, and Retry goes on with them.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from flows.deployments import Schedules

__all__ = ["main"]

START_S = 300
"""Seconds a server may take to answer: the first start of a new PREFECT_HOME makes its database."""
END_S = 40
"""Seconds the processes get to end: a training writes its checkpoint."""
SERVER = "server"
LOCK = "diptych-serve.lock"
OURS = "DIPTYCH_SERVE_HOME"
"""Variable of all processes below a ``serve``: its PREFECT_HOME."""
DEATHS, DEATHS_S = 5, 600.0
"""Workers that may die in so many seconds before all ends."""
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # version 2 of the UI asks a host outside
    "PREFECT_UI_API_URL": "/api",  # on the host that the page came from, whatever it is called from there
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
    from prefect.settings import get_current_settings

    home = get_current_settings().home.resolve()
    os.environ[OURS] = str(home)
    lock = _lock(home, f"{address}, datasets in {root}, process {os.getpid()}")
    if lock is None:
        return 2
    children = Children()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, children.ask_to_end)
    with contextlib.closing(lock):
        return _serve(children, root, address, options)


def _lock(home: Path, about: str) -> BinaryIO | None:
    """Take PREFECT_HOME for this process: two servers on one database give each other's runs to their workers."""
    home.mkdir(parents=True, exist_ok=True)
    file = (home / LOCK).open("ab+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        other = file.read(1000).decode("utf-8", "replace").strip() or "it does not say which"
        file.close()
        _say(f"another diptych serve uses {home}: {other}; end it, or set PREFECT_HOME to another folder", error=True)
        return None
    file.truncate(0)
    file.write(about.encode())
    file.flush()
    return file


def _serve(children: Children, root: str, address: str, options: argparse.Namespace) -> int:
    from flows.left import worker_name

    try:
        children.start(SERVER, ["flows.server", "server", "start", "--host", options.host, "--port", str(options.port)])
        if not _wait(address, children):
            return children.code
        code = _register(root, options)
        if code or children.ended:
            return code or children.code
        _end_runs_left()
        _clear("diptych serve did not end in order")
        for pool, limit in (("cpu", options.runs), ("gpu", 1)):
            named = ["--name", worker_name(pool), "--pool", pool, "--limit", str(limit)]
            children.start(f"{pool} worker", ["prefect", "worker", "start", *named])
        shown = address.replace("0.0.0.0", socket.gethostname())
        _say(f"\nUI: {shown}\ndatasets: {root}\nControl-C ends the server and its workers")
        while not children.ended:
            time.sleep(0.2)
        return children.code
    finally:
        children.end()


def _clear(why: str) -> None:
    """End what the server takes for under way although nothing computes it: no worker of this machine lives now."""
    from prefect.client.orchestration import get_client

    from flows.left import end_runs, free_accelerators

    with get_client(sync_client=True) as client:
        names = end_runs(client, why)
        free_accelerators(client)
    if names:
        _say(f"runs that were under way are Crashed, Retry in the UI goes on with them: {', '.join(names)}")


def _end_runs_left() -> None:
    """End runs whose worker is gone and could not end them: each is in a session of its own and lives on (Linux)."""
    end = time.monotonic() + END_S
    asked: set[int] = set()
    while (groups := _run_groups()) and time.monotonic() < end + 10:
        late = time.monotonic() > end
        for group in groups if late else groups - asked:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL if late else signal.SIGTERM)
        asked |= groups
        time.sleep(0.2)


def _run_groups() -> set[int]:
    """The process groups of all runs that a ``serve`` on this PREFECT_HOME began."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or just gone
            variables = (folder / "environ").read_bytes().split(b"\0")
            if f"{OURS}={os.environ[OURS]}".encode() in variables and any(
                v.startswith(b"PREFECT__FLOW_RUN_ID=") for v in variables
            ):
                found.add(os.getpgid(int(folder.name)))
    return found


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
    parser.add_argument("--accelerators", type=int)
    parser.add_argument("--register-only", action="store_true")
    return parser.parse_args(arguments)


def _absolute(root: str) -> str:
    return root if "://" in root else str(Path(root).resolve())


def _register(root: str, options: argparse.Namespace) -> int:
    """Work pools, limit, automation, deployments; prints what there is. The exit code."""
    from prefect.deployments.runner import DeploymentApplyError
    from prefect.exceptions import PrefectHTTPStatusError

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
    except (DeploymentApplyError, PrefectHTTPStatusError) as error:
        _say(f"the server refused to register the deployments: {error}", error=True)
        return 1
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
        self._running[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, start_new_session=True, preexec_fn=_end_with_parent
        )

    def ask_to_end(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM, SIGINT and SIGHUP."""
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
            if name == SERVER:
                _end_runs_left()
            if name == SERVER and process.poll() is None:
                try:
                    _clear("diptych serve was ended")
                except Exception as error:  # the next start does it
                    _say(f"the runs that were under way could not be marked: {error}", error=True)
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


def _end_with_parent() -> None:
    """In a new process, on Linux: it is asked to end when its parent is gone, also by kill -9."""
    if _PRCTL is not None:
        _PRCTL(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


_PRCTL = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None

if __name__ == "__main__":
    sys.exit(main())
