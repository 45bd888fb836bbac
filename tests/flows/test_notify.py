"""What goes wrong in telling that a run failed is logged without secrets, and the other way is gone all the same."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import notify


@pytest.fixture
def address() -> Iterator[str]:
    """A server that sends every POST on to another address, and speaks no HTTP under /junk."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith("/junk"):
                self.wfile.write(b"junk\r\n\r\n")
                return
            self.send_response(301)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *given: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://{}/moved/SECRET", "301"),
        ("HTTP://{}/moved/SECRET", "301"),
        ("http://{}/junk/SECRET", "BadStatusLine"),
        ("http://{}/SEC RET/SECRET", "InvalidURL"),
        ("http://[{}/SECRET", "ValueError"),
        ("{}/SECRET", "begins with https://"),
    ],
)
def test_nobody_was_told(
    address: str, url: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DIPTYCH_NOTIFY_URL", url.format(address))
    monkeypatch.setenv("DIPTYCH_NOTIFY_COMMAND", f"tee {tmp_path / 'told.json'}")
    tell(caplog)
    assert said in caplog.text and "nobody was told" in caplog.text and "SECRET" not in caplog.text
    assert json.loads((tmp_path / "told.json").read_text())["message"] == "no file x\udc80"


def test_a_command_that_does_not_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notify, "TIMEOUT_S", 1)
    monkeypatch.setenv("DIPTYCH_NOTIFY_COMMAND", "sh -c 'exec sleep 9' SECRET")
    tell(caplog)
    assert "did not end in 1 second" in caplog.text and "SECRET" not in caplog.text


def tell(caplog: pytest.LogCaptureFixture) -> None:
    """As Prefect does, of a run that failed over a file whose name is no UTF-8."""
    caplog.set_level(logging.ERROR, logger="prefect.diptych")
    monitored = logging.getLogger("prefect.diptych")
    monitored.addHandler(caplog.handler)
    run: Any = SimpleNamespace(name="run", id="1")
    state: Any = SimpleNamespace(name="Failed", message="no file x\udc80")
    notify.notify(SimpleNamespace(name="flow"), run, state)
    monitored.removeHandler(caplog.handler)
