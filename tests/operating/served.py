"""``diptych serve`` in a process of its own, and what the tests ask its server over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from diptych.sample import Site, write

__all__ = ["RECIPE", "Served", "make_place"]

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
RECIPE = """
name: news
sources: [{kind: folder, name: sample, path: site}]
shards: 4
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
  pixels: {side: 32}
  backbone: {weights: "random:1"}
  pair_votes: {file: site/votes.csv}
fits:
  near_duplicates: {}
  splits: {}
  vocabulary: {}
  word2vec: {size: 64, min_count: 1, epochs: 1}
"""


def make_place(folder: Path, documents: int = 24, recipe: str = RECIPE) -> Path:
    """A folder with the sample's documents and a recipe that reads them."""
    write(Site(documents), folder / "site", static=False)
    (folder / "news.yaml").write_text(recipe)
    return folder


class Served:
    """A running ``diptych serve`` whose working folder is ``place`` and whose datasets are in ``place/data``."""

    def __init__(self, place: Path, *arguments: str, path: tuple[Path, ...] = (), log: str = "serve.log") -> None:
        self.place = place
        self.root = place / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = place / log
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DIPTYCH_"))}
        own = os.pathsep.join([*map(str, path), *(p for p in sys.path if p)])
        kept |= {"PREFECT_HOME": str(place / "prefect"), "PYTHONPATH": own, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "diptych.cli", "serve", "--root", "data", "--port", str(self.port)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, *arguments], cwd=place, env=kept, stdout=out, stderr=out, start_new_session=True
            )
        try:
            self._wait_until_up()
        except BaseException:
            if log == "serve.log":  # else the others of this place are not its own
                self.close()
            raise

    def _wait_until_up(self) -> None:
        for _ in range(4000):
            if "Control-C ends" in self.text():
                break
            if self.process.poll() is not None:
                raise AssertionError(f"diptych serve ended with {self.process.returncode}:\n{self.text()}")
            time.sleep(0.1)
        else:
            raise AssertionError(f"diptych serve is not up:\n{self.text()}")

    def text(self) -> str:
        """What it and its processes have said."""
        return self.log.read_text(errors="replace")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the server's API; AssertionError with the answer when it is refused."""
        answer = requests.request(method, f"{self.url}/api{path}", json=body, timeout=90)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment by ``flow/name``."""
        return self.ask("GET", f"/deployments/name/{name}")

    def start(self, name: str, parameters: dict[str, Any]) -> str:
        """A new run of a deployment, as the form starts it; its id."""
        found = self.deployment(name)["id"]
        body = {"parameters": {"parameters": parameters}, "state": {"type": "SCHEDULED", "message": "asked for"}}
        return self.ask("POST", f"/deployments/{found}/create_flow_run", body)["id"]

    def run(self, run: str) -> dict[str, Any]:
        """A flow run."""
        return self.ask("GET", f"/flow_runs/{run}")

    def wait(self, run: str, seconds: float = 240, states: tuple[str, ...] = ENDED) -> dict[str, Any]:
        """The run once it is in one of these states."""
        return self.until(lambda: (found := self.run(run))["state_type"] in states and found, seconds, run)

    def until(self, look: Callable[[], Any], seconds: float = 120, what: str = "") -> Any:
        """What ``look`` gives once that is true."""
        end = time.monotonic() + seconds
        while not (found := look()):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, f"{what}: not within {seconds} s\n{self.logs(what)}\n{self.text()[-4000:]}"
            time.sleep(0.3)
        return found

    def logs(self, run: str = "") -> str:
        """The log of a flow run and its tasks."""
        body = {"sort": "TIMESTAMP_ASC", "limit": 200}
        if run:
            body["logs"] = {"flow_run_id": {"any_": [run]}}
        return "\n".join(line["message"] for line in self.ask("POST", "/logs/filter", body))

    def says(self, run: str, text: str, seconds: float = 30) -> bool:
        """Whether the log has this text, now or soon: lines reach the server in batches, also after the run ended."""
        end = time.monotonic() + seconds
        while text not in self.logs(run):
            if time.monotonic() > end:
                return False
            time.sleep(0.5)
        return True

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The runs of a flow, oldest first."""
        body = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_ASC", "limit": 200}
        return self.ask("POST", "/flow_runs/filter", body)

    def artifacts(self, run: str) -> dict[str, Any]:
        """The artifacts of a run by key, the latest of each: a run that was tried twice has two tables."""
        body = {"artifacts": {"flow_run_id": {"any_": [run]}}, "sort": "UPDATED_DESC"}
        found = self.ask("POST", "/artifacts/filter", body)
        return {a["key"]: a for a in sorted(found, key=lambda a: a["created"])}

    def set_state(self, run: str, kind: str, name: str = "") -> dict[str, Any]:
        """Ask for another state, as the UI's buttons Cancel and Retry do."""
        state = {"type": kind, **({"name": name} if name else {})}
        return self.ask("POST", f"/flow_runs/{run}/set_state", {"state": state})

    def children(self) -> dict[str, int]:
        """Process ids of this serve's descendants by what they are: server, cpu, gpu, and run ids."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"PREFECT_HOME={self.place / 'prefect'}".encode() not in environment:
                continue
            name = next((n for n in ("server start", "--pool cpu", "--pool gpu") if n in command), "")
            if name:
                found[name.rpartition(" ")[2]] = int(folder.name)
            elif "prefect.engine" in command or "prefect.flow_engine" in command:
                for item in environment.split(b"\0"):
                    if item.startswith(b"PREFECT__FLOW_RUN_ID="):
                        found[item.partition(b"=")[2].decode()] = int(folder.name)
        return found

    def until_gone(self, seconds: float) -> None:
        """Wait until none of its processes is left."""
        end = time.monotonic() + seconds
        while left := self.children():
            assert time.monotonic() < end, f"left: {left}\n{self.text()[-3000:]}"
            time.sleep(0.5)

    def close(self) -> None:
        """End it as Control-C does; whatever is left is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in self.children().values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
