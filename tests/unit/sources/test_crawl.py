"""Whole crawls of the sample site: extraction against the truth, politeness, and what bad nights leave alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diptych.exceptions import NothingCommitted, RecipeError, Unreachable
from diptych.records import Document
from diptych.sample import Faults, Server, Site
from diptych.sources import web
from diptych.sources.crawl import Progress, crawl
from diptych.sources.registry import open_source
from diptych.sources.tally import summarise
from diptych.sources.web import Web
from diptych.storage.fetch_log import FetchLog
from diptych.storage.snapshot import Snapshot, cut_snapshot, shrink
from diptych.storage.store import Store

FAST = {"allow_private": True, "backoff": 0.02, "timeout": 8.0}


@pytest.fixture
def site() -> Iterator[Server]:
    """A clean site of eight documents and a dirty one when a test asks for it."""
    server = Server(Site(8, images_per_document=(1, 2), dirt=False), faults=Faults(slow_seconds=0.1, stall_seconds=0.5))
    with server:
        yield server


Source = Callable[..., Web]


@pytest.fixture
def source(site: Server) -> Source:
    """The web source of the site's root, with other settings as given."""

    def make(**settings: object) -> Web:
        given: dict[str, object] = {"kind": "web", "name": "w", "contact": "me@example.org", "start": [f"{site.url}/"]}
        found = open_source({**given, "fetch": FAST, "exclude": ["about|contact|feed"], **settings}, Path())
        assert isinstance(found, Web)
        return found

    return make


def documents(store: Store, snapshot: Snapshot) -> dict[str, tuple[Document, list[dict[str, Any]]]]:
    rows = [row for row in snapshot.iter_rows() if row["outcome"] == "ok"]
    return {row["url"]: (Document.from_bytes(store.blobs.get(row["content"])), row["images"]) for row in rows}


def test_the_dirty_sample_site_comes_out_exactly(store: Store, site: Server, source: Source) -> None:
    site.site = Site(24)
    report = crawl(store, [source(fetch={**FAST, "per_host": 3})])
    counts = site.counts
    assert counts.robots_area == [] and max(counts.most_parallel.values()) <= 3
    assert all("(+me@example.org)" in agent for agent in counts.agents)
    found = documents(store, cut_snapshot(store, [source()]))
    for truth in site.site.truths():
        delivered = "/go" + truth.path if truth.delivery == "redirect" else truth.path
        document, images = found.pop(site.url + delivered)
        assert document.title == truth.title
        assert document.text.replace("\n", "" if truth.language == "zh" else " ") == truth.text
        assert document.language == truth.language
        assert document.summary == (truth.summary.text if truth.has_description else "")
        words = [k.text for k in truth.keyphrases if k.where == "text"] if truth.has_keywords else []
        assert list(document.keyphrases) == words
        wanted = [(site.url + i.path, i.caption.text if i.caption else "") for i in truth.images if i.place != "header"]
        assert [(i["url"], i["caption"]) for i in images][1:] == wanted
        for image, true in zip(images[1:], [i for i in truth.images if i.place != "header"], strict=True):
            dead = true.delivery.startswith("http_4") or true.delivery in (
                "http_500",
                "redirect_loop",
                "robots",
                "timeout",
            )
            assert dead or true.reason == "not_an_image" or image["outcome"] == "ok", (image, true.delivery)
    assert found == {}
    codes = dict(report.reasons)
    assert {"http_404", "http_410", "http_500", "redirect_loop", "robots", "not_an_image"} <= set(codes)


def test_an_unchanged_site_costs_no_bodies_and_no_new_snapshot(store: Store, site: Server, source: Source) -> None:
    first = crawl(store, [source()])
    before = cut_snapshot(store, [source()])
    site.reset()
    second = crawl(store, [source()])
    assert (site.counts.bodies, second.bodies, second.bytes) == (0, 0, 0)
    assert set(site.counts.statuses) == {304}
    assert cut_snapshot(store, [source()]).digest == before.digest
    assert (first.documents, second.documents) == ({"new": 8, "ok": 8}, {"ok": 8})
    assert first.success_rate == 1.0 and before.records == 8


def test_only_what_changed_is_fetched(store: Store, site: Server, source: Source) -> None:
    crawl(store, [source()])
    before = cut_snapshot(store, [source()])
    site.site = (
        site.site.with_changes({2: "edit_word"})
        if "edit_word" in _changes()
        else site.site.with_changes({2: _changes()[0]})
    )
    site.reset()
    report = crawl(store, [source()])
    after = cut_snapshot(store, [source()])
    assert report.documents.get("changed") == 1 and site.counts.bodies <= 4 and after.digest != before.digest
    old = {row["record"]: row for row in before.iter_rows()}
    assert sum(old[row["record"]] != row for row in after.iter_rows()) == 1


def _changes() -> tuple[str, ...]:
    from diptych.sample import CHANGES

    return tuple(CHANGES)


def test_a_night_of_500_changes_nothing_and_says_so(store: Store, site: Server, source: Source) -> None:
    crawl(store, [source()])
    before = cut_snapshot(store, [source()])
    for spare in (False, True):
        site.faults = Faults(status=500, spare_robots=spare)
        with pytest.raises(NothingCommitted, match="(?s)'w'.*(robots_unreachable|http_500)") as caught:
            crawl(store, [source()])
        assert "failed throughout" in str(caught.value) and "--retry-failed" in str(caught.value)
        assert caught.value.exit_code == 3
        assert cut_snapshot(store, [source()]).digest == before.digest
    site.faults = Faults()
    site.reset()
    report = crawl(store, [source()], retry_failed=True)
    assert report.success_rate == 1.0 and cut_snapshot(store, [source()]).digest == before.digest


def test_forty_per_cent_of_404_shows_after_three_crawls_and_as_shrinkage(
    store: Store, site: Server, source: Source
) -> None:
    crawl(store, [source()])
    before = cut_snapshot(store, [source()])
    site.faults = Faults(missing_share=0.4)
    for night in range(3):
        crawl(store, [source(min_success=0.3)])
        now = cut_snapshot(store, [source()])
        assert (now.digest == before.digest) == (night < 2)
    lost = shrink(before, now)
    assert 0.1 < lost.share < 0.8 and len(lost.dropped) == 8 - now.records


def test_what_was_not_asked_for_counts_for_nothing(store: Store, site: Server, source: Source) -> None:
    crawl(store, [source()])
    before = cut_snapshot(store, [source()])
    site.faults = Faults(missing_share=0.4)
    for _ in range(2):
        crawl(store, [source(min_success=0)])
    page = f"{site.url}{next(site.site.iterate()).path}"
    for _ in range(3):
        crawl(store, [source()], offline=True)
        site.reset()
        crawl(store, [source(min_success=0)], refresh=True, only={page})
        assert set(site.counts.requests) <= {page.removeprefix(site.url), "/robots.txt"}
    assert cut_snapshot(store, [source()], gone_after=6).digest == before.digest
    unasked = {r["url"] for r in cut_snapshot(store, [source()]).iter_rows() if r["outcome"] == "gone"} - {page}
    assert unasked == set(), "neither an offline crawl nor one of another page ends a record"
    crawl(store, [source(min_success=0)])
    assert cut_snapshot(store, [source()]).records < 8, "the third crawl that asked does"


def test_links_that_will_not_be_followed_are_not_kept(
    store: Store, server: Any, reply: Any, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    found = web.WebCrawl._judge  # pyright: ignore[reportPrivateUsage]

    def judge(self: Any, *args: Any) -> Any:
        yield from found(self, *args)
        kept.append(len(self._frontier))

    monkeypatch.setattr(web.WebCrawl, "_judge", judge)
    many = b"".join(b"<a href=/%d>x</a>" % n for n in range(5000))
    server.routes["/"] = reply(200, many, Content_Type="text/html")
    report = crawl(store, [source(start=[f"{server.url}/"], max_pages=20, min_success=0)])
    assert sum(report.counts["page"].values()) == 20 and max(kept) < 20


def test_a_page_asked_for_alone_obeys_robots_as_it_is_now(
    store: Store, server: Any, reply: Any, source: Source
) -> None:
    url = f"{server.url}/a"
    page = b"<article>" + b"A crane lifted the old bridge out of the river. " * 9
    server.routes |= {"/robots.txt": reply(503), "/a": reply(200, page, Content_Type="text/html")}
    given = source(start=[url], depth=0, min_success=0, fetch={**FAST, "retries": 0})
    assert crawl(store, [given]).counts["page"] == {"failed_transient": 1}
    for rules, outcome in ((b"", "ok"), (b"User-agent: *\nDisallow: /", "refused"), (b"", "ok")):
        server.routes["/robots.txt"] = reply(200, rules)
        assert crawl(store, [given], refresh=True, only={url}).counts["page"] == {outcome: 1}


def test_retry_failed_asks_for_nothing_else(store: Store, site: Server, source: Source) -> None:
    site.faults = Faults(missing_share=0.4)
    crawl(store, [source(min_success=0)])
    site.faults = Faults()
    site.reset()
    report = crawl(store, [source()], retry_failed=True)
    asked = {path for path in site.counts.requests if path.startswith("/news/")}
    assert 0 < len(asked) < 8 and report.documents["new"] == len(asked)
    assert cut_snapshot(store, [source()]).records == 8


def test_another_extractor_reads_stored_pages_without_a_request(
    store: Store, site: Server, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl(store, [source()])
    before = documents(store, cut_snapshot(store, [source()]))
    real = web.extract

    def louder(page: Any, least: int) -> Any:
        read = real(page, least)
        return replace(read, document=replace(read.document, title=read.document.title.upper()))

    monkeypatch.setattr(web, "extract", louder)
    site.reset()
    crawl(store, [source()])
    assert documents(store, cut_snapshot(store, [source()])) == before, "same extractor: the stored document is taken"
    monkeypatch.setattr(web, "EXTRACTOR", 99)
    site.reset()
    crawl(store, [source()], offline=True)
    assert site.counts.total == 0
    after = documents(store, cut_snapshot(store, [source()]))
    assert {url: d.title for url, (d, _) in after.items()} == {url: d.title.upper() for url, (d, _) in before.items()}


def test_records_that_are_linked_no_more_are_still_visited(store: Store, site: Server, source: Source) -> None:
    crawl(store, [source()])
    feed_only = source(start=[f"{site.url}/about.html"], depth=0)
    site.reset()
    crawl(store, [feed_only])
    assert len([path for path in site.counts.requests if path.startswith("/news/")]) == 8
    crawl(store, [source(exclude=["about|contact|feed", "/news/en/"])])
    kept = documents(store, cut_snapshot(store, [source()]))
    assert kept and all("/news/zh/" in url for url in kept), "what the recipe excludes leaves"


def test_sitemap_and_feed_give_the_same_records_as_links(
    store: Store, site: Server, source: Source, tmp_path: Path
) -> None:
    from diptych.storage.store import open_store

    crawl(store, [source()])
    by_links = set(documents(store, cut_snapshot(store, [source()])))
    for n, settings in enumerate(({"sitemaps": [f"{site.url}/sitemap.xml"]}, {"feeds": [f"{site.url}/feed.xml"]})):
        other = open_store(tmp_path / f"root{n}", "toy")
        crawl(other, [source(start=[], **settings)])
        found = {u for u in documents(other, cut_snapshot(other, [source()])) if "/news/" in u}
        assert found and found <= by_links
    found = source(start=[f"{site.url}/"], discover=True, depth=0, pagination=False)
    other = open_store(tmp_path / "root9", "toy")
    crawl(other, [found])
    assert by_links <= set(documents(other, cut_snapshot(other, [source()])))


def test_settings_that_cannot_be(source: Source) -> None:
    for settings, message in (
        ({"contact": "nobody"}, "contact"),
        ({"start": []}, "at least one of start"),
        ({"start": ["ftp://x"]}, "expected http or https"),
        ({"include": ["("]}, "regular expression"),
        ({"fetch": {"delai": 1}}, "sources\\[0\\].fetch.delai"),
        ({"name": "A b"}, "name"),
        ({"kind": "wep"}, "wep"),
    ):
        with pytest.raises(RecipeError, match=message):
            source(**settings)
    with pytest.raises(RecipeError, match=r"sources\[0\].contact: Field required"):
        open_source({"kind": "web", "name": "w", "start": ["http://a/"]}, Path())


def test_two_sources_and_their_names(store: Store, source: Source) -> None:
    with pytest.raises(RecipeError, match="every name must be different"):
        crawl(store, [source(), source()])
    with pytest.raises(RecipeError, match="exclude each other"):
        crawl(store, [source()], refresh=True, offline=True)


def test_progress_and_the_report_in_the_log(store: Store, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr("diptych.sources.crawl._EVERY", 0.0)
    report = crawl(store, [source()], progress=told.append)
    assert told and told[-1].settled <= sum(sum(by.values()) for by in report.counts.values())
    again = summarise(FetchLog(store.home), report.crawl)
    assert (again.counts, again.requests, again.reasons, again.bytes) == (
        report.counts,
        report.requests,
        report.reasons,
        report.bytes,
    )
    assert any("100.0% successful" in line for line in report.lines()) and report.to_dict()["success_rate"] == 1.0


@pytest.mark.parametrize("what", ["diptych.sources.crawl.read_forgotten", "diptych.sources.crawl.FetchLog.rows"])
def test_a_crawl_that_fails_as_it_begins_stands_in_nobodys_way(
    store: Store, source: Source, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fails(*given: object) -> None:
        raise Unreachable("the object storage does not answer")

    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(what, fails)
        with pytest.raises(Unreachable):
            crawl(store, [source()])
    assert threading.active_count() == before, "nor leaves it threads behind"
    assert crawl(store, [source()]).documents["new"]
