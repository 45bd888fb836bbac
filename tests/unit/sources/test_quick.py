"""The short ways of a busy crawl: headers without a mail parser, jobs without a thread; the same results either way."""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Callable, Iterator

import pytest

from diptych.sources.connections import _Headers, _read_headers
from diptych.sources.limits import Lanes

HEADS = {
    "plain": b"Content-Type: image/jpeg\r\nContent-Length: 5\r\nETag:  \"a b\" \r\nX:\r\nx-y:\t1\t2\r\n\r\n",
    "twice": b"A: 1\r\na: 2\r\n\r\n",
    "none": b"\r\n",
    "folded": b"A: 1\r\n  2\r\nB: 3\r\n\r\n",
    "not ascii": b"A: \xff\xfe\r\n\r\n",
    "no colon": b"A: 1\r\nnonsense\r\nB: 2\r\n\r\n",
    "a space before the colon": b"A : 1\r\nB: 2\r\n\r\n",
    "line feeds": b"A: 1\nB: 2\n\n",
    "torn": b"A: 1\r\nB: 2",
    "carriage return inside": b"A: 1\r2\r\nB: 2\r\n\r\n",
    "an old mailbox": b"From me\r\nA: 1\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_headers_are_those_of_the_standard_library(head: bytes) -> None:
    ours, theirs = _read_headers(io.BytesIO(head)), http.client.parse_headers(io.BytesIO(head))
    assert list(ours.items()) == list(theirs.items())
    for name in ("a", "A", "b", "content-length", "ETag", "x", "X-Y", "absent"):
        assert ours.get(name) == theirs.get(name) and ours.get_all(name) == theirs.get_all(name)
    assert ours.get("absent", "else") == "else"


def test_only_plain_headers_go_the_short_way() -> None:
    short = {name for name, head in HEADS.items() if isinstance(_read_headers(io.BytesIO(head)), _Headers)}
    assert short == {"plain", "twice", "none"}
    with pytest.raises(http.client.LineTooLong):
        _read_headers(io.BytesIO(b"A: " + b"x" * 70_000 + b"\r\n\r\n"))
    with pytest.raises(http.client.HTTPException, match="more than 100"):
        _read_headers(io.BytesIO(b"A: 1\r\n" * 101 + b"\r\n"))


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    lanes = Lanes(4)
    yield lanes
    lanes.close(5)


def test_a_quick_job_needs_no_thread_and_others_get_one(lanes: Lanes) -> None:
    lane = lanes.lane("h", 2)
    ran: list[tuple[str, str]] = []
    ended = threading.Event()

    def job(name: str, waits: bool) -> Callable[[bool], bool | None]:
        def run(quick: bool) -> bool | None:
            if waits and quick:
                return None
            ran.append((name, threading.current_thread().name))
            if waits:
                ended.set()
            return not waits

        return run

    here = threading.current_thread().name
    for name in "abc":
        lanes.submit(lane, job(name, False), quick=True)
    assert ran == [("a", here), ("b", here)] and lane.active == 2, "two places, and nothing has ended"
    lanes.done(lane)
    assert ran[2:] == [("c", here)], "who frees a place takes the next job's step"
    lanes.done(lane)
    lanes.submit(lane, job("d", True), quick=True)
    assert ended.wait(5) and ran[3][0] == "d" and ran[3][1].startswith("fetch-")


def test_many_quick_jobs_keep_to_the_hosts_places(lanes: Lanes) -> None:
    """All are answered from other threads; never more than three are with the host; none is lost."""
    lane, lock = lanes.lane("h", 3), threading.Lock()
    now, most, count = 0, 0, 0
    done = threading.Event()

    def job(quick: bool) -> bool:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Thread(target=answer).start()
        return True

    def answer() -> None:
        nonlocal now, count
        with lock:
            now -= 1
            count += 1
            if count == 200:
                done.set()
        lanes.done(lane)

    for number in range(200):
        lanes.submit(lane, job, quick=number % 2 == 0)
    assert done.wait(20) and most <= 3 and lanes.error is None


def test_a_quick_job_that_fails_stops_the_crawl(lanes: Lanes) -> None:
    def job(quick: bool) -> bool:
        raise ValueError("broken")

    lanes.submit(lanes.lane("h", 1), job, quick=True)
    assert isinstance(lanes.error, ValueError)
