"""Takedowns and the fetch log without what was forgotten, without any network or build."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from diptych.exceptions import Conflict, UsageError
from diptych.naming import record_id
from diptych.storage.exports import ExportRecord, exports_holding, record_export
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog
from diptych.storage.fetch_rewrite import rewrite_log
from diptych.storage.forgetting import Asked, find
from diptych.storage.snapshot import Forgotten, read_forgotten
from diptych.storage.store import Store, open_store
from diptych.storage.takedown import Takedown, due, new_takedown_id, remember, save

A, B, LIST = "http://x/a.html", "http://x/b.html", "http://x/"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two pages that share a picture; one moved, the other was read from a file's row."""
    store = open_store(tmp_path, "news")
    journal = FetchLog(store.home).begin()
    document = DocumentRow(journal.crawl, "s", "s", "", "", "", "ok")
    for url, pictures in ((A, ["http://x/own.png", "http://x/logo.png"]), (B, ["http://x/logo.png"])):
        page = store.blobs.put(url.encode())
        images = json.dumps([[p, "", "", ""] for p in pictures])
        row = replace(document, record=record_id("s", url), source_id=url, url=url, images=images, page=page)
        journal.write(replace(row, document=store.blobs.put(b"text of " + url.encode())))
        journal.write(Attempt(journal.crawl, "s", "page", url, "ok", sha256=page, final_url=url))
    for name in ("own", "logo"):
        url = f"http://x/{name}.png"
        key = store.blobs.put(name.encode())
        journal.write(Attempt(journal.crawl, "s", "image", url, "ok", sha256=key, final_url=f"http://cdn/{name}"))
    journal.write(Attempt(journal.crawl, "s", "page", "http://x/old-a", "ok", sha256="", final_url=A))
    journal.write(Attempt(journal.crawl, "s", "page", LIST, "ok", sha256=store.blobs.put(b"list"), final_url=LIST))
    journal.finish()
    return store


def test_a_record_brings_its_addresses_redirects_and_pictures(store: Store) -> None:
    found = find(store, Asked(urls=(f"{A}#top",)))
    assert found.records == (record_id("s", A),) and found.touched == (record_id("s", B),)
    own, logo = (store.blobs.put(name) for name in (b"own", b"logo"))
    assert set(found.images) == {own, logo}
    moved = {"http://x/old-a", "http://cdn/own", "http://cdn/logo"}
    assert set(found.urls) == {A, "http://x/own.png", "http://x/logo.png"} | moved
    spared = find(store, Asked(urls=(A,)), keep_shared=True)
    assert spared.images == (own,) and spared.touched == () and "http://x/logo.png" not in spared.urls
    alone = find(store, Asked(images=(own,)))
    assert alone.records == () and alone.touched == (record_id("s", A),) and "http://x/own.png" in alone.urls
    with pytest.raises(UsageError, match="64 hexadecimal"):
        find(store, Asked(images=("own.png",)))


def test_an_address_of_a_file_is_forgotten_in_its_source_alone() -> None:
    forgotten = Forgotten([Forgotten.named("one", "file:a.jpg"), Forgotten.named("one", A)])
    assert forgotten.address("one", "file:a.jpg") and not forgotten.address("two", "file:a.jpg")
    assert forgotten.address("two", A) and Forgotten.named("one", A) == Forgotten.hash(A)


def test_takedowns_at_once_lose_no_hash(store: Store) -> None:
    def one(n: int) -> None:
        hashes = (Forgotten.hash(f"u{n}"),)
        save(store, Takedown(id=new_takedown_id(), created_at="", hashes=hashes))
        remember(store)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f"u{n}" in read_forgotten(store) for n in range(8)) and len(due(store)) == 8


def test_rewriting_changes_finished_and_killed_crawls_alike(store: Store) -> None:
    log = FetchLog(store.home)
    killed = log.begin()
    killed.write(Attempt(killed.crawl, "s", "page", A, "ok", final_url=A))
    killed.write(Attempt(killed.crawl, "s", "page", B, "ok", final_url=B))
    with pytest.raises(Conflict, match="crawl"):
        rewrite_log(log, lambda row: row)
    killed.leave()
    before = {path.name: path.read_bytes() for path in (Path(store.home.url) / "raw" / "fetches").iterdir()}
    assert rewrite_log(log, lambda row: row) == 0
    after = {path.name: path.read_bytes() for path in (Path(store.home.url) / "raw" / "fetches").iterdir()}
    assert before == after, "nothing to change, nothing written"
    changed = rewrite_log(log, lambda row: None if getattr(row, "url", "") == A else row)
    assert changed == 3
    urls = [
        row.url for crawl in (*log.crawls(), *log.unfinished()) for row in log.rows(crawl) if isinstance(row, Attempt)
    ]
    assert A not in urls and urls.count(B) == 2
    again = log.begin()
    assert again.crawl == killed.crawl, "the killed crawl goes on"
    again.leave()


def test_exports_are_found_by_what_they_contain(store: Store) -> None:
    entry = ExportRecord(
        id="e1", version=1, created_at="2026", place="/x", format="coco", records=1, images=1, manifest_sha256=""
    )
    record_export(store, entry, ["r1", "k1"])
    record_export(store, entry.model_copy(update={"id": "e2"}), ["r2"])
    assert [e.id for e in exports_holding(store, [Forgotten.hash("k1")])] == ["e1"]
    assert [e.id for e in exports_holding(store, [Forgotten.hash("r2"), Forgotten.hash("r1")])] == ["e1", "e2"]
    assert exports_holding(store, [Forgotten.hash("r3")]) == []
