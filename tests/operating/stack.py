"""docker-compose.yml's stack without containers: Postgres and Redis from Debian, an S3 service from PyPI."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

__all__ = ["Stack", "free_port"]

ERROR = re.compile(r"\bERROR\b|\bCRITICAL\b|Traceback|database is locked")
POSTGRES = Path("/usr/lib/postgresql")


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stack:
    """Processes and their logs; ends them in the other order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.port = free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DIPTYCH_", "AWS_"))}
        self.environment = kept | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "OMP_NUM_THREADS": "1",
        }
        self._scratch: list[str] = []

    def start(self, name: str, command: list[str], **environment: str) -> None:
        """One process with a log of its own."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment | environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes.append((name, process))

    def python(self, name: str, *arguments: str) -> None:
        """A Python module as a process: ``python -m``."""
        self.start(name, [sys.executable, "-m", *arguments])

    def run(self, *arguments: str) -> None:
        """A Python module to its end."""
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def postgres(self) -> str:
        """A cluster of its own, run by the user postgres; its URL."""
        tools = max(POSTGRES.glob("*/bin"), key=lambda p: int(p.parent.name))
        place = tempfile.mkdtemp(prefix="diptych-pg-")
        self._scratch.append(place)
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(place, "postgres")
        data, port = f"{place}/data", free_port()
        subprocess.run(
            [*user, str(tools / "initdb"), "-D", data, "-A", "trust", "-U", "prefect", "-N"],
            check=True, capture_output=True, cwd=place,
        )  # fmt: skip
        self.start(
            "postgres", [*user, str(tools / "postgres"), "-D", data, "-p", str(port), "-k", place, "-h", "127.0.0.1"]
        )
        create = [str(tools / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "prefect"]
        self.until(lambda: subprocess.run(create, capture_output=True).returncode == 0, 60, "postgres")
        return f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"

    def redis(self) -> int:
        """A Redis that keeps nothing; its port."""
        port = free_port()
        self.start("redis", ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"])
        return port

    def objects(self) -> None:
        """An S3 service with the bucket ``diptych``; the later processes store there."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.start("objects", [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)])
        self.until(lambda: _answers(url), 60, "objects")
        assert requests.put(f"{url}/diptych", timeout=10).ok
        self.environment |= {
            "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": secrets.token_hex(8),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(8), "AWS_DEFAULT_REGION": "us-east-1",
            "DIPTYCH_ROOT": "s3://diptych/data",
        }  # fmt: skip

    def until(self, look: Callable[[], Any], seconds: float, what: str) -> Any:
        """What ``look`` gives once that is true."""
        end = time.monotonic() + seconds
        while not (found := look()):
            dead = [name for name, process in self.processes if process.poll() is not None]
            assert not dead, f"{dead[0]} ended:\n" + (self.folder / f"{dead[0]}.log").read_text()[-3000:]
            assert time.monotonic() < end, f"{what}: not within {seconds} s\n{self.tails()}"
            time.sleep(0.5)
        return found

    def tails(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"--- {f.name}\n{f.read_text(errors='replace')[-1500:]}" for f in self.folder.glob("*.log"))

    def ready(self) -> bool:
        """Whether the Prefect server answers."""
        return _answers(f"{self.api}/ready")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the Prefect server."""
        answer = requests.request(method, f"{self.api}{path}", json=body, timeout=90)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json()

    def build(self, recipe: Path) -> str:
        """A run of the deployment ``build``; its id."""
        found = self.ask("GET", "/deployments/name/build-dataset/build")["id"]
        body = {"parameters": {"parameters": {"recipe": str(recipe)}}, "state": {"type": "SCHEDULED"}}
        return self.ask("POST", f"/deployments/{found}/create_flow_run", body)["id"]

    def ended(self, run: str) -> str:
        """The state in which a run ended; empty while it has not."""
        state = self.ask("GET", f"/flow_runs/{run}")["state_type"]
        return state if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else ""

    def errors(self, *names: str) -> list[str]:
        """Lines of these logs that say that something went wrong."""
        lines = [(n, x) for n in names for x in (self.folder / f"{n}.log").read_text(errors="replace").splitlines()]
        return [f"{name}: {line}" for name, line in lines if ERROR.search(line)]

    def close(self) -> None:
        """End everything."""
        for _, process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for place in self._scratch:
            shutil.rmtree(place, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False
