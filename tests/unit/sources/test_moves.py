"""Pages that move, for a night or for good; pictures that are linked too; answers that our code stumbles over."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import diptych.sources.web
from diptych.exceptions import NothingCommitted
from diptych.records import Document
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.sources.shortfall import Vanishing
from diptych.storage.fetch_log import FetchLog, RecordState
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import Store

FAST = {"allow_private": True, "backoff": 0.01, "retries": 0}
TEXT = "<p>" + "The quick brown fox jumps over the lazy dog and says so. " * 8 + "</p>"
Night = Callable[..., dict[str, str]]


@pytest.fixture
def place(server: Any, reply: Any) -> Callable[..., None]:
    """Puts pages on the server: ``path=body``, with 'index' for the front page; articles by their title."""

    def put(path: str, body: str, **headers: str) -> None:
        server.routes[path] = reply(200, body.encode(), Content_Type="text/html", **headers)

    return put


@pytest.fixture
def article(place: Any) -> Callable[..., None]:
    """Puts an article on the server."""

    def put(path: str, title: str, more: str = "", head: str = "") -> None:
        place(path, f"<head><title>{title}</title>{head}</head><body><article>{TEXT}{more}</article>")

    return put


@pytest.fixture
def night(server: Any, store: Store, tmp_path: Path) -> Night:
    """One crawl from the front page, and what the snapshot then has: path -> title, or outcome where none is."""

    def run(vanishing: Vanishing | None = None, **settings: Any) -> dict[str, str]:
        server.asked.clear()
        given = {"kind": "web", "name": "w", "contact": "me@example.org", "min_success": 0, "start": [f"{server.url}/"]}
        source = open_source({**given, "fetch": FAST, **settings}, tmp_path)
        crawl(store, [source], vanishing=vanishing)
        found: dict[str, str] = {}
        for row in cut_snapshot(store, [source]).iter_rows():
            has = row["content"] and Document.from_bytes(store.blobs.get(row["content"])).title
            found[row["url"].removeprefix(server.url)] = has or row["outcome"]
            found |= {"image " + image["url"].removeprefix(server.url): image["outcome"] for image in row["images"]}
        return found

    return run


def states(store: Store) -> dict[str, RecordState]:
    index = FetchLog(store.home).index()
    return {state.url.rpartition("/")[2]: state for state in index.records("w")}


def test_a_night_of_maintenance_takes_nothing_away(
    server: Any, reply: Any, place: Any, article: Any, night: Night, store: Store
) -> None:
    titles = {f"/n{n}": f"News {n}" for n in range(4)}
    place("/", "".join(f"<a href={path}>x</a>" for path in titles))
    for path, title in titles.items():
        article(path, title)
    assert night() == titles
    place("/", "nothing new")
    article("/maintenance", "We will be back")
    server.routes |= {path: reply(302, Location="/maintenance") for path in titles}
    with pytest.raises(NothingCommitted, match=r"(?s)4 of 4 .* lead elsewhere.*/n0: redirected"):
        night(Vanishing())
    assert night() == titles and all(states(store)[path[1:]].gone == 2 for path in titles)
    for path, title in titles.items():
        article(path, title)
    assert night() == titles and all(server.asked[path] for path in titles), "all are asked for again"
    assert {state.gone for state in states(store).values()} == {0}
    server.routes |= {path: reply(307, Location="/maintenance") for path in titles}
    assert [night(), night()] == [titles, titles]
    assert set(night().values()) == {"gone"}, "after gone_after crawls it is no night any more"


def test_what_always_redirected_stays_itself(server: Any, reply: Any, place: Any, article: Any, night: Night) -> None:
    place("/", "<a href=/go/a>a</a>")
    server.routes["/go/a"] = reply(302, Location="/a?session=1")
    article("/a?session=1", "Old")
    assert night() == {"/go/a": "Old"}
    server.routes["/go/a"] = reply(302, Location="/a?session=2")
    article("/a?session=2", "New")
    assert night() == {"/go/a": "New"}


def test_a_page_that_moves_for_good_keeps_its_id(
    server: Any, reply: Any, place: Any, article: Any, night: Night, store: Store
) -> None:
    place("/", "<a href=/a>a</a>")
    article("/a", "Old")
    night()
    server.routes["/a"] = reply(301, Location="/new")
    article("/new", "Moved and edited")
    assert night() == {"/a": "Moved and edited"}
    place("/", "<a href=/new>a</a>")
    assert night() == {"/new": "Moved and edited"} and states(store)["a"].code == "alias", (
        "the new one is linked itself"
    )


def test_a_page_that_moves_to_the_front_page_leaves_in_time(
    server: Any, reply: Any, place: Any, article: Any, night: Night
) -> None:
    place("/", "<a href=/a>a</a>")
    article("/a", "A")
    night()
    server.routes["/a"] = reply(301, Location="/")
    assert [night(), night(), night()] == [{"/a": "A"}, {"/a": "A"}, {"/a": "gone"}]


def test_another_address_of_an_older_record(server: Any, reply: Any, place: Any, article: Any, night: Night) -> None:
    place("/", "<a href=/b>b</a>")
    article("/b", "Old")
    night()
    place("/", "<a href=/a>a</a>")
    server.routes["/a"] = reply(302, Location="/b")
    article("/b", "New")
    assert [night(), night()] == [{"/b": "New"}, {"/b": "New"}]


def test_a_start_page_that_redirects_to_a_record(
    server: Any, reply: Any, place: Any, article: Any, night: Night
) -> None:
    place("/", "<a href=/en>en</a>")
    article("/en", "Front", "<a href=/a>a</a>")
    article("/a", "A")
    night()
    server.routes["/"] = reply(302, Location="/en")
    article("/en", "New front", "<a href=/a>a</a>")
    assert night() == {"/en": "New front", "/a": "A"}


@pytest.mark.parametrize(("front", "depth"), [("<a href=/p.jpg>p</a>", 1), ("", 2)])
def test_a_picture_that_is_linked_too(
    server: Any, reply: Any, place: Any, article: Any, night: Night, jpeg: bytes, front: str, depth: int
) -> None:
    def picture(request: Any) -> None:
        same = request.headers.get("If-None-Match") == '"1"'
        (reply(304) if same else reply(200, jpeg, ETag='"1"', Content_Type="text/html"))(request)

    server.routes["/p.jpg"] = picture
    place("/", front + "<a href=/a>a</a>")
    article("/a", "A", '<a href=/p.jpg><img src=/p.jpg alt="a boat"></a>')
    for _ in range(3):
        assert night(depth=depth) == {"/a": "A", "image /p.jpg": "ok", "/p.jpg": "failed:not_a_page"}


def test_asked_for_as_both(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    def picture(request: Any) -> None:
        same = request.headers.get("If-None-Match") == '"1"'
        (reply(304) if same else reply(200, jpeg, ETag='"1"'))(request)

    server.routes |= {"/p": picture, "/a": reply(200, b"<html>a page", Content_Type="text/html")}
    for first, second in (("page", "image"), ("image", "page")):
        for mode in ("conditional", "conditional", "retry_failed", "offline"):
            with bench(mode=mode) as at:
                got = {kind: at.get(f"{server.url}/p", kind) for kind in (first, second, first, second)}
                assert got["image"].ok, (mode, got["image"])
                assert (got["page"].outcome, got["page"].code) == ("failed_permanent", "not_a_page"), mode
                assert at.get(f"{server.url}/a", "page").ok
                assert at.get(f"{server.url}/a", "image").code == "not_an_image"


def test_what_a_304_and_the_log_say_is_obeyed(server: Any, bench: Any, reply: Any, jpeg: bytes) -> None:
    tags: dict[str, str] = {}

    def tagged(request: Any) -> None:
        same = request.headers.get("If-None-Match") == '"1"'
        (reply(304, **tags) if same else reply(200, jpeg, ETag='"1"', **tags))(request)

    server.routes |= {"/p": tagged, "/q": reply(200, jpeg, X_Robots_Tag="noai")}
    with bench() as at:
        assert at.get(f"{server.url}/p").ok
    tags["X_Robots_Tag"] = "noimageai"
    with bench() as at:
        got = at.get(f"{server.url}/p")
    assert (got.outcome, got.code) == ("refused", "noimageai")
    with bench(respect=()) as at:
        assert at.get(f"{server.url}/q").ok
    with bench(mode="retry_failed") as at:
        got = at.get(f"{server.url}/q")
    assert (got.outcome, got.code, server.asked["/q"]) == ("refused", "noai", 1)
    assert [row.code for row in at.rows] == ["noai"], "and the log says so"


@pytest.mark.parametrize("step", ["fetch.Fetcher._judge", "fetch.Fetcher._ask", "web.Html.parse"])
def test_an_error_of_ours_ends_one_address_only(
    place: Any, article: Any, night: Night, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    place("/", "<a href=/a>a</a><a href=/b>b</a>")
    article("/a", "A")
    article("/b", "B")
    real = operator.attrgetter(step)(diptych.sources)

    def stumbles(*args: Any) -> Any:
        if any(str(getattr(arg, "url", arg)).endswith("/a") for arg in args):
            raise LookupError("a case nobody thought of")
        return real(*args)

    monkeypatch.setattr(f"diptych.sources.{step}", stumbles)
    assert night() == {"/a": "failed:error_LookupError", "/b": "B"}


def test_pages_and_feeds_that_ended_crawls(server: Any, reply: Any, article: Any, night: Night) -> None:
    item = f'<item><link>{server.url}/%s</link><media:content url="x"/></item>'
    feed = "<rss><channel>" + "".join(item % name for name in "abc") + "</channel></rss>"
    server.routes["/feed"] = reply(200, feed.encode(), Content_Type="application/rss+xml")
    article("/a", "A", head="<meta charset=undefined>")
    article("/b", "B")
    server.routes["/c"] = reply(503, b"", Retry_After="\xb2")
    assert night(start=[], feeds=[f"{server.url}/feed"]) == {"/a": "A", "/b": "B", "/c": "failed:http_503"}
