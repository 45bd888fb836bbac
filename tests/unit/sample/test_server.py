"""The loopback server: conditional requests, counters and faults."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from diptych.sample import Faults, Server, Site, serve

SITE = Site(24)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(SITE, faults=Faults(slow_seconds=0.2, stall_seconds=0.6)) as running:
        yield running


def get(server: Server, path: str, headers: dict[str, str] | None = None, method: str = "GET"):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def plain_document():
    return next(
        d for d in SITE.iterate() if d.style.delivery == "ok" and any(i.keep and i.delivery == "ok" for i in d.images)
    )


def test_pages_and_pictures_answer_304_to_what_is_known(server):
    document = plain_document()
    image = next(image for image in document.kept if image.delivery == "ok")
    for path in (document.path, image.path):
        status, headers, body = get(server, path)
        assert status == 200 and body
        assert get(server, path, {"If-None-Match": headers["ETag"]})[0::2] == (304, b"")
        assert get(server, path, {"If-Modified-Since": headers["Last-Modified"]})[0] == 304
        assert get(server, path, {"If-None-Match": '"other"'})[0] == 200
    status, headers, _ = get(server, "/")
    assert get(server, "/", {"If-None-Match": headers["ETag"]})[0] == 304
    assert server.counts.statuses[304] == 5


def test_a_changed_page_is_sent_again_and_an_unchanged_one_is_not(server):
    document = plain_document()
    other = next(d for d in SITE.iterate() if d.index != document.index and d.style.delivery == "ok")
    tags = {path: get(server, path)[1]["ETag"] for path in (document.path, other.path)}
    server.site = SITE.with_changes({document.index: "edit_word"})
    assert get(server, document.path, {"If-None-Match": tags[document.path]})[0] == 200
    assert get(server, other.path, {"If-None-Match": tags[other.path]})[0] == 304


def test_connections_are_kept_and_requests_counted(server):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    for _ in range(3):
        connection.request("GET", "/robots.txt")
        assert b"Disallow: /private/" in connection.getresponse().read()
    connection.close()
    assert server.counts.requests["/robots.txt"] == 3
    assert server.counts.robots_area == []
    get(server, "/private/archive/0000-robots.html")
    assert server.counts.robots_area == ["/private/archive/0000-robots.html"]
    assert server.reset().total == 4
    assert server.counts.total == 0


def test_head_has_no_body(server):
    status, headers, body = get(server, "/", method="HEAD")
    assert status == 200 and int(headers["Content-Length"]) > 0 and body == b""


def test_parallel_requests_of_a_host_are_measured(server):
    slow = next(i.path for d in SITE.iterate() for i in d.images if i.delivery == "slow")
    threads = [threading.Thread(target=get, args=(server, slow)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(server.counts.most_parallel.values()) == 3
    assert set(server.counts.running.values()) == {0}


def test_flaky_answers_503_once_and_slow_ones_wait(server):
    images = [image for document in SITE.iterate() for image in document.images]
    flaky = next(image.path for image in images if image.delivery == "flaky")
    assert [get(server, flaky)[0] for _ in range(3)] == [503, 200, 200]
    for delivery, least in (("slow", 0.2), ("timeout", 0.6)):
        path = next(image.path for image in images if image.delivery == delivery)
        start = time.perf_counter()
        assert get(server, path)[0] == 200
        assert time.perf_counter() - start >= least


def test_the_site_can_be_out_of_order(server):
    server.faults.status = 500
    assert get(server, "/")[0] == get(server, "/robots.txt")[0] == 500
    server.faults.spare_robots = True
    assert get(server, "/robots.txt")[0] == 200
    server.faults.status = None
    assert get(server, "/")[0] == 200


def test_a_share_of_the_pages_can_be_missing(server):
    server.faults.missing_share = 0.4
    paths = [document.path for document in Site(200).iterate()]
    missing = [path for path in paths if server.faults.missing(path)]
    assert 50 < len(missing) < 110
    gone = next(document.path for document in SITE.iterate() if server.faults.missing(document.path))
    assert get(server, gone)[0] == 404
    assert get(server, "/")[0] == 200


def test_stopping_does_not_wait_for_stalled_answers():
    path = next(i.path for d in SITE.iterate() for i in d.images if i.delivery == "timeout")
    with serve(SITE, faults=Faults(stall_seconds=30)) as running:
        threading.Thread(target=get, args=(running, path), daemon=True).start()
        time.sleep(0.2)
        start = time.perf_counter()
    assert time.perf_counter() - start < 5
