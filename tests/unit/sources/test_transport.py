"""Cookies and a proxy from the environment."""

from __future__ import annotations

import contextlib
import socket
import threading
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
        assert sender.get(f"{server.url}/a", 100, {}, "*/*").body == b"x"
        assert server.headers["/a"]["cookie"] == "session=abc", "what servers set is not kept"
    path.write_text("nonsense")
    with pytest.raises(RecipeError, match="the file that JAR names"):
        transport({"JAR": str(path)}, cookies_from="JAR")


def test_a_proxy(server: Any, reply: Any) -> None:
    server.routes["http://news.example/a"] = reply(200, b"by proxy")
    sender = transport({"PROXY": server.url}, proxy_from="PROXY")
    assert sender.get("http://news.example/a", 100, {}, "*/*").body == b"by proxy"
    for inside in ("http://127.0.0.1/a", "http://169.254.169.254/a", "http://localhost/a", "http://[::1]/a"):
        with pytest.raises(Failure, match="private address"):
            sender.get(inside, 100, {}, "*/*")
    for old in ("127.1", "0x7f000001", "0177.0.0.1", "2130706433", "10.1", "999999999999"):
        with pytest.raises(Failure, match="private address"):
            sender.get(f"http://{old}/a", 100, {}, "*/*")
    server.routes["http://1.1/a"] = reply(200, b"1.0.0.1")
    assert sender.get("http://1.1/a", 100, {}, "*/*").body == b"1.0.0.1"


def test_a_kept_connection_that_its_server_closes_costs_no_answer() -> None:
    """The server says keep-alive and hangs up when the next request is on its way: asked again on a new connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    asked: list[int] = []

    def serve() -> None:
        with contextlib.suppress(OSError):  # the test closes the socket
            for number in range(4):
                peer, _ = listening.accept()
                with peer:
                    peer.recv(4096)
                    asked.append(number)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
                    peer.recv(4096)  # the next request, which gets no answer

    threading.Thread(target=serve, daemon=True).start()
    sender = transport({}, allow_private=True)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    for _ in range(3):
        assert sender.get(url, 100, {}, "*/*").body == b"x"
    assert asked == [0, 1, 2]
    listening.close()
    with pytest.raises(Failure):
        sender.get("http://127.0.0.1:9/", 100, {}, "*/*")


def test_secret_headers_go_to_the_same_scheme_only(server: Any, reply: Any) -> None:
    server.routes["/a"] = reply(200, b"x")
    given = FetchSettings(contact="me@example.org", allow_private=True, headers_from={"X-Key": "KEY"})
    secrets = read_secrets(given, {"KEY": "hush"}, "s")
    for own, seen in ((server.url, "hush"), (server.url.replace("http:", "https:"), None)):
        Transport(given, secrets, frozenset({own})).get(f"{server.url}/a", 100, {}, "*/*")
        assert server.headers["/a"].get("x-key") == seen


def test_each_robots_tag_is_a_line(server: Any) -> None:
    def twice(request: Any) -> None:
        request.send_response(200)
        for tag in ("googlebot: noindex", "noai", "noml"):
            request.send_header("X-Robots-Tag", tag)
        request.send_header("Content-Length", "1")
        request.end_headers()
        request.wfile.write(b"x")

    server.routes["/a"] = twice
    found = transport({}, allow_private=True).get(f"{server.url}/a", 100, {}, "*/*")
    assert found.headers["x-robots-tag"] == "googlebot: noindex\nnoai\nnoml"
