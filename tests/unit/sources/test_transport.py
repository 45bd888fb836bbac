"""Cookies and a proxy from the environment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from diptych.exceptions import RecipeError
from diptych.sources.settings import FetchSettings, read_secrets
from diptych.sources.transport import Failure, Transport


def transport(environ: dict[str, str], **settings: object) -> Transport:
    given = FetchSettings(contact="me@example.org", **settings)  # type: ignore[arg-type]
    return Transport(given, read_secrets(given, environ, "s"), frozenset())


def test_a_cookie_file(server: Any, reply: Any, tmp_path: Path) -> None:
    path = tmp_path / "cookies.txt"
    ends = int(time.time()) + 1000
    lines = ["# Netscape HTTP Cookie File", f"127.0.0.1\tFALSE\t/\tFALSE\t{ends}\tsession\tabc"]
    path.write_text("\n".join(lines) + "\n")
    server.routes["/a"] = reply(200, b"x", Set_Cookie="tracking=1")
    sender = transport({"JAR": str(path)}, cookies_from="JAR", allow_private=True)
    for _ in range(2):
        assert sender.get(f"{server.url}/a", "h", 100, {}, "*/*").body == b"x"
        assert server.headers["/a"]["cookie"] == "session=abc", "what servers set is not kept"
    path.write_text("nonsense")
    with pytest.raises(RecipeError, match="the file that JAR names"):
        transport({"JAR": str(path)}, cookies_from="JAR")


def test_a_proxy(server: Any, reply: Any) -> None:
    server.routes["http://news.example/a"] = reply(200, b"by proxy")
    sender = transport({"PROXY": server.url}, proxy_from="PROXY")
    assert sender.get("http://news.example/a", "news.example", 100, {}, "*/*").body == b"by proxy"
    for inside in ("http://127.0.0.1/a", "http://169.254.169.254/a", "http://localhost/a", "http://[::1]/a"):
        with pytest.raises(Failure, match="private address"):
            sender.get(inside, "h", 100, {}, "*/*")
