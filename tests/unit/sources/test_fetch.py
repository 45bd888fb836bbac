"""The fetcher against a server that misbehaves: every address ends with a reason and within its time."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from diptych.exceptions import RecipeError
from diptych.sources.fetch import Fetcher
from diptych.sources.settings import FetchOptions, FetchSettings, read_secrets, user_agent
from diptych.sources.transport import Transport
from diptych.storage.store import Store

Handler = BaseHTTPRequestHandler


def raw(data: bytes, then: Callable[[Handler], None] = lambda request: None) -> Callable[[Handler], None]:
    """Bytes as they are, then something, then the connection is closed (which a whole head says)."""
    if b"\r\n\r\n" in data:
        data = data.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    def reply(request: Handler) -> None:
        request.wfile.write(data)
        request.wfile.flush()
        then(request)
        request.close_connection = True

    return reply


def drip(request: Handler, piece: bytes = b"x", pause: float = 0.05) -> None:
    for _ in range(400):
        request.wfile.write(piece)
        request.wfile.flush()
        time.sleep(pause)


def endless(request: Handler) -> None:
    while True:
        request.wfile.write(b"\xff\xd8\xff\xe0" + b"x" * 65_532)


def chunked(request: Handler) -> None:
    while True:
        request.wfile.write(b"10000\r\n" + b"\xff\xd8\xff\xe0" + b"x" * 65_532 + b"\r\n")


def reset(request: Handler) -> None:
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = b"\xff\xd8\xff\xe0" + bytes(1_000_000)
    return b"".join(packer.compress(zeros) for _ in range(size)) + packer.flush()


OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
HOSTILE: dict[str, tuple[Callable[[Handler], None], str, str]] = {
    # name: (what the server does, code, outcome)
    "silent": (lambda request: time.sleep(2.5), "timeout", "failed_transient"),
    "status-drip": (raw(b"HTTP", lambda r: drip(r)), "timeout", "failed_transient"),
    "header-drip": (raw(b"HTTP/1.1 200 OK\r\nX-Slow: ", lambda r: drip(r)), "timeout", "failed_transient"),
    "endless-headers": (raw(OK, lambda r: drip(r, b"X-More: 1\r\n", 0)), "bad_response", "failed_transient"),
    "long-header": (raw(OK + b"X-Long: " + b"y" * 200_000 + b"\r\n\r\n"), "bad_response", "failed_transient"),
    "continue-for-ever": (
        raw(b"", lambda r: drip(r, b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)),
        "timeout",
        "failed_transient",
    ),
    "body-drip": (raw(OK + b"Content-Length: 1000\r\n\r\n", lambda r: drip(r)), "timeout", "failed_transient"),
    "chunk-drip": (
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", lambda r: drip(r, b"1\r\nx\r\n")),
        "timeout",
        "failed_transient",
    ),
    "stops-in-body": (
        raw(OK + b"Content-Length: 1000\r\n\r\nxx", lambda r: time.sleep(2.5)),
        "timeout",
        "failed_transient",
    ),
    "endless-body": (raw(OK + b"\r\n", endless), "too_large", "failed_permanent"),
    "endless-chunks": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", chunked), "too_large", "failed_permanent"),
    "announced-huge": (raw(OK + b"Content-Length: 99999999999\r\n\r\n"), "too_large", "failed_permanent"),
    "negative-length": (raw(OK + b"Content-Length: -5\r\n\r\n"), "empty", "failed_permanent"),
    "bomb": (raw(OK + b"Content-Encoding: gzip\r\n\r\n" + bomb(40)), "too_large", "failed_permanent"),
    "double-bomb": (
        raw(OK + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(bomb(40))),
        "too_large",
        "failed_permanent",
    ),
    "not-gzip": (raw(OK + b"Content-Encoding: gzip\r\n\r\nplain"), "content_encoding", "failed_permanent"),
    "unknown-encoding": (raw(OK + b"Content-Encoding: zstd\r\n\r\n123"), "content_encoding", "failed_permanent"),
    "short-body": (raw(OK + b"Content-Length: 50\r\n\r\n\xff\xd8\xff"), "broken_body", "failed_transient"),
    "broken-chunks": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc"), "broken_body", "failed_transient"),
    "reset": (reset, "bad_response", "failed_transient"),
    "closes": (raw(b""), "bad_response", "failed_transient"),
    "no-http": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "bad_response", "failed_transient"),
    "status-99999": (raw(b"HTTP/1.1 99999 What\r\n\r\n"), "bad_response", "failed_transient"),
    "status-600": (raw(b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n"), "http_600", "failed_transient"),
    "empty": (raw(OK + b"Content-Length: 0\r\n\r\n"), "empty", "failed_permanent"),
    "no-content": (raw(b"HTTP/1.1 204 No\r\n\r\n"), "empty", "failed_permanent"),
    "html": (raw(OK + b"\r\n<!DOCTYPE html><title>Sign in</title>"), "not_an_image", "failed_permanent"),
    "text": (raw(OK + b"\r\nHotlinking is not allowed"), "not_an_image", "failed_permanent"),
    "json": (raw(OK + b'\r\n{"error": "no"}'), "not_an_image", "failed_permanent"),
    "pdf": (raw(OK + b"\r\n%PDF-1.7 \xff\xfe"), "not_an_image", "failed_permanent"),
    "304-unasked": (raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "http_304", "failed_permanent"),
    "forbidden": (raw(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), "http_403", "failed_permanent"),
    "gone": (raw(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), "http_410", "gone"),
    "no-location": (raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "bad_redirect", "failed_permanent"),
    "to-self": (
        raw(b"HTTP/1.1 302 Found\r\nLocation: /to-self\r\nContent-Length: 0\r\n\r\n"),
        "redirect_loop",
        "failed_permanent",
    ),
    "to-file": (raw(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"), "bad_redirect", "failed_permanent"),
    "to-data": (raw(b"HTTP/1.1 302 Found\r\nLocation: data:image/png,xx\r\n\r\n"), "bad_redirect", "failed_permanent"),
    "to-nonsense": (raw(b"HTTP/1.1 302 Found\r\nLocation: http://[::1/x\r\n\r\n"), "bad_redirect", "failed_permanent"),
    "to-bad-port": (
        raw(b"HTTP/1.1 302 Found\r\nLocation: http://a:99999/\r\n\r\n"),
        "bad_redirect",
        "failed_permanent",
    ),
    "to-nobody": (
        raw(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"),
        "robots_unreachable",
        "failed_transient",
    ),
    "busy-for-days": (
        raw(b"HTTP/1.1 503 No\r\nRetry-After: 999999\r\nContent-Length: 0\r\n\r\n"),
        "http_503",
        "failed_transient",
    ),
    "noai": (raw(OK + b"X-Robots-Tag: noai\r\n\r\n\xff\xd8\xff\xe0"), "noai", "refused"),
}


def test_every_misbehaviour_ends_with_its_reason_and_in_time(server: Any, bench: Any) -> None:
    assert len(HOSTILE) >= 40
    for name, (does, _, _) in HOSTILE.items():
        server.routes[f"/{name}"] = does
    names = [name for name in HOSTILE if name != "busy-for-days"] + ["busy-for-days"]  # it closes the host
    with bench(per_host=64, max_image=300_000, retries=0, host_failures=1000) as at:
        begun = time.monotonic()
        futures = {name: at.fetcher.submit(f"{server.url}/{name}", "image") for name in names[:-1]}
        got = {name: future.result(timeout=20) for name, future in futures.items()}
        got["busy-for-days"] = at.get(f"{server.url}/busy-for-days")
        assert time.monotonic() - begun < 12
        after = at.get(f"{server.url}/anything")
    wrong = {n: (r.code, r.outcome) for n, r in got.items() if (r.code, r.outcome) != HOSTILE[n][1:]}
    assert wrong == {}
    assert (after.code, server.asked["/anything"]) == ("host_busy", 0)
    assert sorted(row.url for row in at.rows if row.kind == "image") == sorted(
        f"{server.url}/{n}" for n in [*HOSTILE, "anything"]
    )


def test_good_bytes_reach_the_store_before_the_log(
    server: Any, bench: Any, reply: Any, jpeg: bytes, store: Store
) -> None:
    server.routes["/a.jpg"] = reply(200, jpeg, Content_Type="text/html")
    with bench() as at:
        got = at.get(f"{server.url}/a.jpg")
    assert (got.outcome, store.blobs.get(got.key), got.data) == ("ok", jpeg, None)
    assert server.headers["/a.jpg"]["user-agent"].endswith("(+me@example.org)")


def test_retries_heal_and_each_attempt_is_a_row(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    answers = [reply(503), reply(429), reply(200, jpeg)]
    server.routes["/a"] = lambda request: answers.pop(0)(request)
    with bench() as at:
        assert at.get(f"{server.url}/a").outcome == "ok"
    rows = [(r.attempt, r.code, r.settled) for r in at.rows if r.kind == "image"]
    assert rows == [(1, "http_503", False), (2, "http_429", False), (3, "", True)]


def test_what_cannot_heal_is_asked_once(server: Any, bench: Any, reply: Any) -> None:
    server.routes |= {"/403": reply(403), "/500": reply(500)}
    with bench(retries=2) as at:
        for path in ("/403", "/404", "/500"):
            at.get(server.url + path)
    assert (server.asked["/403"], server.asked["/404"], server.asked["/500"]) == (1, 1, 3)


def test_retry_after_is_honoured(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    answers = [reply(429, b"", Retry_After="1"), reply(200, jpeg)]
    server.routes["/a"] = lambda request: answers.pop(0)(request)
    server.routes["/b"] = reply(200, jpeg)
    with bench(per_host=1, robots=False) as at:
        first, second = at.fetcher.submit(f"{server.url}/a", "image"), at.fetcher.submit(f"{server.url}/b", "image")
        assert first.result(10).ok and second.result(10).ok
    assert server.times[1] - server.times[0] >= 0.95, "the whole host rests, not only the one address"


def test_not_modified_keeps_the_bytes(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    def tagged(request: Handler) -> None:
        same = request.headers.get("If-None-Match") == '"1"'
        (reply(304, ETag='"1"') if same else reply(200, jpeg, ETag='"1"', X_Robots_Tag="noarchive"))(request)

    server.routes["/a"] = tagged
    with bench() as at:
        first = at.get(f"{server.url}/a")
    with bench() as at:
        second = at.get(f"{server.url}/a")
        assert (second.outcome, second.key, second.robots) == ("not_modified", first.key, "noarchive")
        assert at.get(f"{server.url}/a").outcome == "not_modified" and server.asked["/a"] == 2, "settled in this crawl"
    with bench(mode="refresh") as at:
        assert at.get(f"{server.url}/a").outcome == "ok"
        assert "if-none-match" not in server.headers["/a"]
    with bench(mode="retry_failed") as at:
        assert at.get(f"{server.url}/a").ok and server.asked["/a"] == 3
    with bench(mode="offline") as at:
        assert (
            at.get(f"{server.url}/a").ok and at.get(f"{server.url}/b").code == "not_fetched" and server.asked["/a"] == 3
        )


def test_a_lost_blob_is_fetched_again_in_full(server: Any, bench: Any, reply: Any, jpeg: bytes, store: Store) -> None:
    server.routes["/a"] = reply(200, jpeg, ETag='"1"')
    with bench() as at:
        key = at.get(f"{server.url}/a").key
    store.home.delete(f"raw/blobs/{key[:2]}/{key}")
    with bench() as at:
        assert at.get(f"{server.url}/a").outcome == "ok" and "if-none-match" not in server.headers["/a"]
    assert store.blobs.has(key)


def test_robots_forbids_without_a_request(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    server.routes |= {
        "/robots.txt": reply(200, b"User-agent: *\nDisallow: /no/\n"),
        "/hop": reply(302, Location="/no/b.jpg"),
        "/yes.jpg": reply(200, jpeg),
    }
    with bench() as at:
        outcomes = {path: at.get(server.url + path) for path in ("/no/a.jpg", "/hop", "/yes.jpg")}
    assert [(r.outcome, r.code) for r in outcomes.values()] == [
        ("refused", "robots"),
        ("refused", "robots"),
        ("ok", ""),
    ]
    assert not [path for path in server.asked if path.startswith("/no/")]
    assert server.asked["/robots.txt"] == 1


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        (404, "ok", ""),
        (403, "ok", ""),
        (500, "failed_transient", "robots_unreachable"),
        (429, "failed_transient", "robots_unreachable"),
    ],
)
def test_robots_that_cannot_be_read(
    server: Any, bench: Any, reply: Any, jpeg: bytes, status: int, outcome: str, code: str
) -> None:
    server.routes |= {"/robots.txt": reply(status), "/a": reply(200, jpeg)}
    with bench(retries=1) as at:
        got = at.get(f"{server.url}/a")
    assert (got.outcome, got.code, server.asked["/a"]) == (outcome, code, 1 if outcome == "ok" else 0)


def test_our_own_group_in_robots_and_crawl_delay(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    server.routes["/robots.txt"] = reply(
        200, b"User-agent: diptych\nCrawl-delay: 0.3\nDisallow: /x\n\nUser-agent: *\nDisallow: /\n"
    )
    server.routes |= {f"/{n}": reply(200, jpeg) for n in range(4)}
    with bench() as at:
        got = list(at.fetcher.map([f"{server.url}/{n}" for n in range(4)], "image"))
        assert all(r.ok for r in got) and at.get(f"{server.url}/x").code == "robots"
    starts = sorted(row.started_at for row in at.rows if row.code != "robots")
    gaps = [b - a for a, b in zip(starts, starts[1:], strict=False)]
    assert len(gaps) == 4 and min(gaps) >= 0.28 and server.most == 1


def test_parallelism_per_host_as_the_server_sees_it(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    good = reply(200, jpeg)
    server.routes |= {f"/{n}": lambda request: (time.sleep(0.02), good(request))[1] for n in range(40)}
    with bench(per_host=3) as at:
        assert all(r.ok for r in at.fetcher.map([f"{server.url}/{n}" for n in range(40)], "image"))
    assert 1 < server.most <= 3


def test_a_slow_host_holds_up_nobody_else(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    server.routes |= {f"/slow{n}": lambda request: time.sleep(0.5) for n in range(20)}
    server.routes["/fast"] = reply(200, jpeg)
    other = server.url.replace("127.0.0.1", "localhost")
    with bench(per_host=2, retries=0, robots=False) as at:
        for n in range(20):
            at.fetcher.submit(f"{server.url}/slow{n}", "image")
        begun = time.monotonic()
        assert at.get(f"{other}/fast").ok and time.monotonic() - begun < 2.5  # all slow ones together take 5 s


def test_a_host_that_is_down_is_left_alone(bench: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with bench(retries=0, host_failures=3, per_host=1, robots=False) as at:
        codes = [at.get(f"{url}/{n}").code for n in range(5)]
    assert codes == ["connect", "connect", "host_down", "host_down", "host_down"] or codes[-1] == "host_down"


def test_private_addresses_are_refused(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    server.routes["/a"] = reply(200, jpeg)
    port = server.url.rpartition(":")[2]
    urls = [
        f"{server.url}/a",
        f"http://localhost:{port}/a",
        f"http://2130706433:{port}/a",
        f"http://[::ffff:127.0.0.1]:{port}/a",
    ]
    with bench(allow_private=False, retries=2, robots=False) as at:
        assert {(at.get(url).outcome, at.get(url).code) for url in urls} == {("refused", "private_address")}
    assert sum(server.asked.values()) == 0


def test_a_redirect_inside_is_refused(server: Any, bench: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host passes as public (its check is told so); where it leads to is checked again."""
    from diptych.sources import transport

    server.routes |= {"/meta": reply(302, Location="http://169.254.169.254/x")}
    monkeypatch.setattr(transport, "is_public", lambda address: address == "127.0.0.1")
    listening = socket.create_server(("127.0.0.2", 0))
    server.routes["/in"] = reply(302, Location=f"http://127.0.0.2:{listening.getsockname()[1]}/")
    with bench(allow_private=False, retries=0, robots=False, timeout=0.5, total_time=0.5) as at:
        assert at.get(f"{server.url}/in").code == "private_address"
        assert at.get(f"{server.url}/meta").code in ("private_address", "connect", "timeout")
    listening.close()


def test_too_many_redirects(server: Any, bench: Any, reply: Any) -> None:
    server.routes |= {f"/{n}": reply(302, Location=f"/{n + 1}") for n in range(20)}
    with bench(max_redirects=3) as at:
        assert at.get(f"{server.url}/0").code == "too_many_redirects"
    assert sum(n for path, n in server.asked.items() if path != "/robots.txt") == 4


def test_the_same_address_at_once_is_one_request(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    server.routes["/a"] = reply(200, jpeg)
    with bench() as at:
        assert {f.result(5).key for f in [at.fetcher.submit(f"{server.url}/a", "image") for _ in range(20)]}
    assert server.asked["/a"] == 1


def test_secrets_go_to_their_own_host_only_and_never_into_the_log(
    server: Any, store: Store, bench: Any, reply: Any, jpeg: bytes
) -> None:
    settings = FetchSettings(contact="me@example.org", headers_from={"Authorization": "TOKEN"}, allow_private=True)
    with pytest.raises(RecipeError, match="TOKEN is not set"):
        read_secrets(settings, {}, "news")
    secrets = read_secrets(settings, {"TOKEN": "hush-hush"}, "news")
    server.routes |= {
        "/a": reply(200, jpeg),
        "/b": reply(302, Location=server.url.replace("127.0.0.1", "localhost") + "/a2"),
    }
    server.routes["/a2"] = reply(200, jpeg)
    with bench() as at:
        own = Transport(settings, secrets, frozenset({server.url}))
        fetcher = Fetcher(store, at.journal, at.lanes, "s", transport=own)
        assert fetcher.fetch(f"{server.url}/a", "image").ok and fetcher.fetch(f"{server.url}/b", "image").ok
        crawl = at.journal.crawl
    assert server.headers["/a"]["authorization"] == server.headers["/b"]["authorization"] == "hush-hush"
    assert "authorization" not in server.headers["/a2"]
    assert b"hush" not in store.home.read(f"raw/fetches/{crawl}.parquet")


def test_who_we_are() -> None:
    assert "(+https://example.org/bot)" in user_agent(FetchSettings(contact="https://example.org/bot"))
    assert FetchOptions().robots and not FetchOptions().allow_private


def test_nothing_waits_for_a_stuck_thread(bench: Any) -> None:
    """A server that accepts and never answers ends within the total time."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with bench(retries=0, timeout=0.4, total_time=0.6, robots=False) as at:
            begun = time.monotonic()
            assert at.get(url).code == "timeout" and time.monotonic() - begun < 6
    assert threading.active_count() < 60
