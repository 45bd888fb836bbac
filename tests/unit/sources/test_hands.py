"""Worker processes: the same rows and blobs as one process, the host's limit over all of them, and a worker's death."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diptych.naming import digest_bytes
from diptych.sources import hands as hands_module
from diptych.sources.asking import Reply, Request
from diptych.sources.crawl import Progress, crawl
from diptych.sources.hand import Orders
from diptych.sources.hands import Hands
from diptych.sources.registry import open_source
from diptych.sources.settings import FetchSettings, Secrets
from diptych.storage.fetch_log import Attempt, FetchLog
from diptych.storage.store import Store, open_store

COUNT = 80
FETCH = {"allow_private": True, "per_host": 5, "retries": 2, "backoff": 0.01}


def orders(store: Store, **more: Any) -> Orders:
    settings = FetchSettings(contact="me@example.org", allow_private=True, headers_from={"X-Key": "KEY"})
    given: dict[str, Any] = {"own_origins": frozenset(), "forgotten": frozenset(), "threads": 4, **more}
    return Orders(store.home.url, settings, Secrets({"X-Key": "0pen-5esame"}), **given)


def at_once(hands: Hands) -> None:
    """Wait until the processes are there."""
    while not any(hand.ready for hand in hands._hands):
        hands._look()
        time.sleep(0.02)


def rows_of(store: Store) -> dict[str, Attempt]:
    """The settled rows of the last crawl without what no two crawls share."""
    log = FetchLog(store.home)
    rows = (row for row in log.rows(log.crawls()[-1]) if isinstance(row, Attempt))
    return {row.url: replace(row, crawl="", started_at=0.0, seconds=0.0) for row in rows}


def failing(error: BaseException) -> None:
    raise AssertionError("a hand failed") from error


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any crawl counts as busy."""
    monkeypatch.setattr(hands_module, "_LOOK_AFTER", 0.0)
    monkeypatch.setattr(hands_module, "_ENOUGH", 0)


def test_a_crawl_with_hands_is_the_crawl_without(
    store: Store, server: Any, reply: Any, jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(answer: Any) -> Any:
        return lambda request: (time.sleep(0.02), answer(request))

    for n in range(COUNT):
        server.routes[f"/{n}.jpg"] = slow(reply(200, jpeg + b"%d" % n, ETag=f'"{n}"'))
    server.routes["/1.jpg"] = reply(404)
    server.routes["/2.jpg"] = reply(200, b"<!doctype html><p>no picture")
    server.routes["/3.jpg"] = reply(302, Location="/4.jpg")
    server.routes["/5.jpg"] = reply(200, jpeg, X_Robots_Tag="noai")
    server.routes["/robots.txt"] = reply(200, b"User-agent: *\nDisallow: /6.jpg")
    lines = ["url,caption", *(f"{server.url}/{n}.jpg,picture {n}" for n in range(COUNT))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    given = {"kind": "urls", "name": "u", "contact": "me@example.org", "path": "list.csv", "fetch": FETCH}
    source = open_source(given, tmp_path)
    used: list[Hands] = []
    real = Hands.take

    def take(self: Hands, request: Request, then: Any) -> bool:
        if self._most > 1:
            at_once(self)
            used.append(self)
        return real(self, request, then)

    monkeypatch.setattr(Hands, "take", take)
    monkeypatch.setattr(hands_module, "_BUSY", 0.0)
    crawl(store, [source], hands=2)
    assert len(used) >= COUNT - 2 and len(set(used)) == 1
    assert server.most <= 5, "the host's limit holds over all processes"
    assert "/6.jpg" not in server.asked and all(count == 1 for path, count in server.asked.items() if path != "/4.jpg")
    alone = open_store(tmp_path / "alone", "toy")
    crawl(alone, [source], hands=0)
    first, second = rows_of(store), rows_of(alone)
    assert first == second and len(first) == COUNT + 1
    crawl(store, [source], hands=2)
    assert server.headers["/9.jpg"]["if-none-match"] == '"9"'


def test_a_hand_that_dies_owes_nothing(store: Store, server: Any, reply: Any, jpeg: bytes) -> None:
    held = threading.Event()

    def hold(request: Any) -> None:
        held.wait(10)
        reply(200, jpeg)(request)

    server.routes["/slow.jpg"] = hold
    server.routes["/quick.jpg"] = reply(200, jpeg)
    hands = Hands(orders(store), 2, failing, busy=0.0)
    at_once(hands)
    replies: list[Reply] = []
    try:
        assert hands.take(Request(f"{server.url}/quick.jpg", "image"), replies.append)
        while not replies:
            time.sleep(0.01)
        assert replies[0].outcome == "ok" and store.blobs.get(digest_bytes(jpeg)) == jpeg and replies[0].body == b""
        busy = [hand for hand in hands._hands if hand.ready]
        assert hands.take(Request(f"{server.url}/slow.jpg", "image"), replies.append)
        asked = next(hand for hand in busy if hand.waiting)
        os.kill(asked.process.pid, signal.SIGKILL)
        while len(replies) < 2:
            time.sleep(0.01)
        assert (replies[1].outcome, replies[1].code) == ("failed_transient", "worker_lost")
    finally:
        held.set()
        hands.close()
    assert not hands.take(Request(f"{server.url}/quick.jpg", "image"), replies.append), "none is left: the crawl asks"


def test_an_interrupted_crawl_settles_nothing_that_is_under_way(
    store: Store, server: Any, reply: Any, jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()

    def hold(request: Any) -> None:
        held.wait(30)
        reply(200, jpeg)(request)

    server.routes.update({f"/{n}.jpg": hold for n in range(4)})
    lines = ["url,caption", *(f"{server.url}/{n}.jpg,picture {n}" for n in range(4))]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    fetch = {**FETCH, "retries": 0, "robots": False, "total_time": 60, "timeout": 30}
    given = {"kind": "urls", "name": "u", "contact": "me@example.org", "path": "list.csv", "fetch": fetch}
    source = open_source(given, tmp_path)
    real = Hands.take

    def take(self: Hands, request: Request, then: Any) -> bool:
        if not self._closed:
            at_once(self)
        return real(self, request, then)

    def control_c(now: Progress) -> None:
        if server.running == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Hands, "take", take)
    monkeypatch.setattr(hands_module, "_BUSY", 0.0)
    monkeypatch.setattr("diptych.sources.crawl._EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        crawl(store, [source], progress=control_c, hands=2)
    log = FetchLog(store.home)
    [unfinished] = log.unfinished()
    assert [row for row in log.rows(unfinished) if isinstance(row, Attempt)] == []
    held.set()
    report = crawl(store, [source], hands=2)
    assert report.crawl == unfinished and {row.outcome for row in rows_of(store).values()} == {"ok"}
    assert len(rows_of(store)) == 4


def test_what_waits_is_given_back_when_hands_close(store: Store, server: Any, reply: Any, jpeg: bytes) -> None:
    held = threading.Event()
    server.routes["/slow.jpg"] = lambda request: (held.wait(30), reply(200, jpeg)(request))
    hands = Hands(orders(store), 2, failing, busy=0.0)
    at_once(hands)
    replies: list[Reply | None] = []
    assert hands.take(Request(f"{server.url}/slow.jpg", "image"), replies.append)
    assert {os.getsid(hand.process.pid) for hand in hands._hands}.isdisjoint({os.getsid(0)}), (
        "no Control-C of a terminal"
    )
    hands.close()
    held.set()
    until = time.monotonic() + 10
    while not replies and time.monotonic() < until:
        time.sleep(0.01)
    assert replies == [None], "its place is free, and it is not settled"


def test_secrets_travel_by_the_socket_only(store: Store, server: Any, reply: Any) -> None:
    server.routes["/page"] = reply(200, b"<html>a page", Content_Type="text/html")
    hands = Hands(orders(store, own_origins=frozenset({server.url})), 2, failing, busy=0.0)
    at_once(hands)
    replies: list[Reply] = []
    try:
        assert hands.take(Request(f"{server.url}/page", "page"), replies.append)
        while not replies:
            time.sleep(0.01)
        for hand in hands._hands:
            for file in ("cmdline", "environ"):
                assert b"0pen-5esame" not in Path(f"/proc/{hand.process.pid}/{file}").read_bytes()
    finally:
        hands.close()
    assert server.headers["/page"]["x-key"] == "0pen-5esame" and replies[0].body == b"<html>a page"
    assert all(hand.process.poll() is not None for hand in hands._hands), "they end with the crawl"


def test_one_process_is_enough_for_a_polite_crawl(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands_module, "_LOOK_AFTER", 0.1)
    hands = Hands(orders(store), 2, failing)
    for _ in range(20):
        assert not hands.take(Request("http://127.0.0.1:9/", "page"), failing)
        time.sleep(0.02)
    assert hands._hands == []
    assert not Hands(orders(store), 1, failing, busy=0.0).take(Request("http://127.0.0.1:9/", "page"), failing)
