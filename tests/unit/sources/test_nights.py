"""Nights of a scheduled crawl with the builds that follow: what is asked for, what is committed, what is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from diptych.engine.build import BuildReport, build
from diptych.engine.crawling import crawl_recipe
from diptych.exceptions import NothingCommitted
from diptych.sample import Faults, Server, Site
from diptych.stage import Batch, Output, Stage
from diptych.storage.store import open_store

RECIPE = """
name: nights
contact: me@example.org
sources:
  - kind: web
    name: w
    start: ["{url}/"]
    exclude: ["about|contact|feed"]
    fetch: {{allow_private: true, per_host: 4, backoff: 0.02, timeout: 20}}
stages: {{clean_text: {{}}{more}}}
"""
FEW = 8
STARTED, GO_ON = threading.Event(), threading.Event()


class Waits(Stage):
    """A stage that takes as long as a test wants."""

    name, version, key = "waits", 1, "document"
    inputs = ("documents.title",)
    outputs = pa.schema([pa.field("letters", pa.int64(), nullable=False)])

    def process(self, batch: Batch) -> Output:
        STARTED.set()
        assert GO_ON.wait(60)
        output = batch.output()
        for row, title in enumerate(batch["documents.title"]):
            output.set(row, letters=len(title))
        return output


@pytest.fixture(params=[FEW, pytest.param(200, marks=pytest.mark.slow)])
def site(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A clean site; of two hundred documents in the slow tests."""
    with Server(Site(request.param, images_per_document=(1, 2), dirt=False)) as server:
        yield server


def night(site: Server, root: Path, **how: Any) -> BuildReport:
    recipe = RECIPE.format(url=site.url, more="")
    crawl_recipe(recipe, str(root), root, **how)
    return build(recipe, str(root), folder=root)


def test_unchanged_and_one_per_cent_changed(site: Server, tmp_path: Path) -> None:
    first = night(site, tmp_path)
    once = site.reset()
    again = night(site, tmp_path)
    counts = site.reset()
    assert first.committed.version == 1 and again.committed.version is None
    assert again.committed.reason.startswith("nothing changed since version 1")
    assert (counts.bodies, set(counts.statuses)) == (0, {304}), "only conditional requests"
    assert counts.requests == once.requests and set(once.requests.values()) == {1}
    assert counts.most_parallel and max(counts.most_parallel.values()) <= 4

    truths = list(site.site.truths())
    changed = max(1, len(truths) // 100)
    site.site = site.site.with_changes(dict.fromkeys(range(2, 2 + changed), "edit_word"))
    now = {truth.path for old, truth in zip(truths, site.site.truths(), strict=True) if old.text != truth.text}
    third = night(site, tmp_path)
    counts = site.reset()
    listed = counts.bodies - changed
    assert third.committed.version == 2 and len(now) == changed
    assert 0 <= listed <= changed, "the front page may show a teaser of what changed"
    assert third.progress["clean_text"].computed == changed, "one row a changed page"
    said = f"unchanged {once.total} requests, no body; changed {counts.total} requests, {counts.bodies} bodies"
    print(f"{len(truths)} documents, {once.bodies} bodies; {said}")


@pytest.mark.parametrize("site", [FEW], indirect=True)
def test_a_night_of_500_and_the_build_after_it(site: Server, tmp_path: Path) -> None:
    night(site, tmp_path)
    site.faults = Faults(status=500)
    with pytest.raises(NothingCommitted, match="(?s)min_success.*failed throughout"):
        night(site, tmp_path)
    after = build(RECIPE.format(url=site.url, more=""), str(tmp_path), folder=tmp_path)
    assert after.committed.version is None and "nothing changed" in after.committed.reason and after.computed == 0


def test_forty_per_cent_of_404_names_the_pages(site: Server, tmp_path: Path) -> None:
    night(site, tmp_path)
    site.faults = Faults(missing_share=0.4)
    missing = [site.url + truth.path for truth in site.site.truths() if site.faults.missing(truth.path)]
    assert missing
    for number in (1, 2, 3):
        with pytest.raises(NothingCommitted, match=f"{len(missing)} of .* now answer 404 or 410") as said:
            night(site, tmp_path)
        named = [url for url in missing if url in str(said.value)]
        assert len(named) == min(20, len(missing)) and "gone_after" in str(said.value)
        assert said.value.exit_code == 3
        recipe = RECIPE.format(url=site.url, more="")
        if number < 3:
            assert build(recipe, str(tmp_path), folder=tmp_path).committed.version is None
    with pytest.raises(NothingCommitted, match="would leave") as said:
        build(recipe, str(tmp_path), folder=tmp_path)
    assert sum(url in str(said.value) for url in missing) == min(20, len(missing)), "named by address"
    assert sorted(open_store(tmp_path, "nights").log.versions()) == [1]
    night_after = crawl_recipe(recipe, str(tmp_path), tmp_path)
    assert night_after.success_rate < 1, "pages that left already are no news"


@pytest.mark.parametrize("site", [FEW], indirect=True)
def test_a_crawl_during_a_build_moves_nothing(site: Server, tmp_path: Path) -> None:
    STARTED.clear()
    GO_ON.clear()
    recipe = RECIPE.format(url=site.url, more=f", waits: {{use: '{__name__}:Waits'}}")
    crawl_recipe(recipe, str(tmp_path), tmp_path)
    done: list[BuildReport] = []
    building = threading.Thread(target=lambda: done.append(build(recipe, str(tmp_path), folder=tmp_path)))
    building.start()
    assert STARTED.wait(60)
    site.site = site.site.with_changes({2: "edit_word"})
    report = crawl_recipe(recipe, str(tmp_path), tmp_path)
    assert report.documents["changed"] == 1, "the crawl ran, and found something, while the build waited"
    GO_ON.set()
    building.join(60)
    log = open_store(tmp_path, "nights").log
    assert done[0].snapshot == log.manifest(1).snapshot
    after = build(recipe, str(tmp_path), folder=tmp_path)
    assert after.committed.version == 2 and after.snapshot != done[0].snapshot
    assert after.progress["clean_text"].computed == 1, "the first build had the old text of that page"
