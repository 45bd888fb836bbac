"""A page in headless Chromium over its debugging pipe (no driver, no port), for pictures and browser tests."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from diptych.exceptions import DiptychError

__all__ = ["BrowserError", "Page", "find_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--mute-audio",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class BrowserError(DiptychError):
    """Chromium is absent, does not answer, or a script in the page failed."""


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome on this machine, None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page of one browser; everything it logs and every request it makes is kept.

    ``requests`` are URLs other than ``file:``, ``data:`` and ``blob:``; ``errors`` are console errors, uncaught
    exceptions and refusals of the content security policy.
    """

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False, scale: float = 1.0) -> None:
        program = find_chromium()
        if program is None:
            raise BrowserError(
                f"no Chromium found (looked for {', '.join(NAMES)}); install one: apt-get install chromium"
            )
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._buffer, self._number, self._loaded = b"", 0, False
        self._profile = tempfile.mkdtemp(prefix="diptych-chromium-")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in (theirs_in, theirs_out)]
        silent = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, silent, n) for n in (0, 1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, n) for fd, n in zip(high, (3, 4), strict=True)]
        flags = [*FLAGS, f"--user-data-dir={self._profile}", f"--window-size={width},{height}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses its sandbox to root; the page is a local file of ours
        command = [program, *flags, "about:blank"]
        self._pid = os.posix_spawn(program, command, dict(os.environ), file_actions=actions, setsid=True)
        for fd in (theirs_in, theirs_out, *high, silent):
            os.close(fd)
        try:
            self._session = ""
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
            media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
            self.call("Emulation.setEmulatedMedia", features=media)
            size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 700}
            self.call("Emulation.setDeviceMetricsOverride", **size)
        except BaseException:
            self.close()
            raise

    def open(self, path: Path | str) -> None:
        """Load a file and wait for its load event."""
        self.visit(Path(path).resolve().as_uri())

    def visit(self, url: str) -> None:
        """Load an address and wait for its load event; a page that builds itself may need ``until`` after it."""
        self._loaded = False
        self.call("Page.navigate", url=url)
        end = time.monotonic() + 60
        while not self._loaded:
            self._receive(end)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(f"script failed: {details.get('exception', {}).get('description', details['text'])}")
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> Any:
        """The value of an expression once it is true; :class:`BrowserError` with it when it does not become so."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            if time.monotonic() > end:
                raise BrowserError(f"not within {seconds:g} s: {script}")
            time.sleep(0.1)
        return found

    def click(self, x: float, y: float) -> None:
        """Press and release the left button at a place of the window, in CSS pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key, as ``/``, ``j``, ``Enter``, ``Escape`` or ``Tab``."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9}
        extra: dict[str, Any] = {"windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        if text:
            extra["text"] = text
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def type(self, text: str) -> None:
        """Type into the focused field."""
        self.call("Input.insertText", text=text)

    def picture(self) -> bytes:
        """A PNG of what is in the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        try:
            os.write(self._out, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise BrowserError("Chromium ended") from error
        end = time.monotonic() + 60
        while True:
            found = self._receive(end)
            if found.get("id") == self._number:
                if "error" in found:
                    raise BrowserError(f"{method}: {found['error']['message']}")
                return found["result"]

    def _receive(self, end: float) -> dict[str, Any]:
        """The next message; events are noted on the way."""
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise BrowserError("Chromium ended" if ready else "Chromium did not answer within 60 s")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:", "about:")):
                self.requests.append(url)
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str([a.get("value", a.get("description")) for a in params["args"]]))
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def close(self) -> None:
        """End the browser and remove its profile."""
        for fd in (self._out, self._in):
            try:
                os.close(fd)
            except OSError:
                continue
        end = time.monotonic() + 5  # it ends by itself when the pipe closes
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.killpg(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                break
            time.sleep(0.02)
        shutil.rmtree(self._profile, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
