"""The whole pipeline on the sample site over HTTP, with real stages, against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.engine.crawling import crawl_recipe
from diptych.engine.rebuild import plan_rebuild
from diptych.engine.steps import close
from diptych.report import statistics, write_report
from diptych.report.truth import CHANGES, read_truth, score
from diptych.sample import Server, Site
from diptych.version import Version, open_version

RECIPE = """
name: sample
contact: https://example.org/tests
sources:
  - {{kind: web, name: site, start: ["{url}/"], fetch: {{allow_private: true, timeout: 3, backoff: 0.05}}}}
shards: 4
stages:
  clean: {{min_side: 64}}
  clean_text: {{}}
  clean_documents: {{}}
  clean_pairs: {{}}
  sentences: {{british: [site]}}
  backbone: {{model: efficientnet_lite0, weights: "random:0"}}
fits: {{word_counts: {{}}}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(Site(24)) as running:
        running.faults.slow_seconds = running.faults.stall_seconds = 0.2
        yield running


@pytest.fixture(scope="module")
def built(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    root = tmp_path_factory.mktemp("data")
    recipe = RECIPE.format(url=server.url)
    crawl_recipe(recipe, str(root), root)
    assert build(recipe, str(root), folder=root).committed.version == 1
    yield root, recipe
    close()


def open_at(root: Path, version: int | str = "latest") -> Version:
    return open_version(root / "sample", version)


def test_every_rule_page_and_caption_agrees_with_the_truth(
    built: tuple[Path, str], server: Server, tmp_path: Path
) -> None:
    version = open_at(built[0])
    server.site.write_truth(tmp_path / "truth.jsonl")
    found = score(version, read_truth(tmp_path / "truth.jsonl"))
    assert not found.wrong
    pages = found.pages
    assert pages.pages == pages.title == pages.text == pages.captions == pages.all == 24
    rules = {r.rule: r for r in found.rules}
    assert {"advertisement", "animated", "aspect_ratio", "exact_duplicate", "near_duplicate", "not_an_image"} <= set(
        rules
    )
    assert {"recurring", "thumbnail", "undecodable", "uniform", "kept", "robots", "gone"} <= set(rules)
    assert all(r.precision == r.recall == 1 for r in rules.values())
    assert [r.rule for r in found.changes] == list(CHANGES) and all(r.recall == 1 and r.expected for r in found.changes)
    assert found.others == 0, "index pages, dead pages and pages without text are no documents"
    assert {r["status"] for r in version.table("clean_documents").to_pylist()} == {"ok"}, "no article is a copy"
    outcomes = Counter(version.snapshot.table()["outcome"].to_pylist())
    failed = {"failed:no_text": 4, "failed:redirect_loop": 1, "failed:http_500": 1, "failed:robots": 1}
    assert outcomes == {"ok": 24, "gone": 2, **failed}
    assert not server.counts.robots_area and max(server.counts.most_parallel.values()) <= 4
    page = write_report(version, tmp_path / "report.html", gallery=0, truth=tmp_path / "truth.jsonl").read_text("utf-8")
    assert "Against the truth" in page and "crop large" in page
    (spelling,) = statistics(version).edits
    assert spelling.rule == "spelling" and ("grey", "gray") in {e[:2] for e in spelling.examples}
    assert "Changes of wording" in page and "grey &rarr; gray" in page


def test_other_folder_batch_size_and_workers_same_digests(built: tuple[Path, str], tmp_path: Path) -> None:
    root, recipe = built
    crawl_recipe(recipe, str(tmp_path), tmp_path)
    build(recipe, str(tmp_path), BuildOptions(batch_size=1, workers=4), folder=tmp_path)
    one, two = open_at(root, 1).manifest, open_at(tmp_path, 1).manifest
    assert one.input_digest == two.input_digest and one.exact_digest == two.exact_digest


def test_new_document_changes_the_groups_of_its_own_images_only(built: tuple[Path, str], server: Server) -> None:
    root, recipe = built
    before = {r["key"]: r for r in open_at(root, 1).table("near_duplicates").to_pylist()}
    server.site = Site(25)
    try:
        crawl_recipe(recipe, str(root), root)
        report = build(recipe, str(root), folder=root)
    finally:
        server.site = Site(24)
    version = open_at(root)
    after = {r["key"]: r for r in version.table("near_duplicates").to_pylist()}
    records = set(open_at(root, 1).snapshot.table(["record"])["record"].to_pylist())
    added = [k for k in after if k.partition("/")[0] not in records]
    assert added and report.committed.version == version.number
    groups = {after[k]["group"] for k in added}
    for key, row in before.items():
        assert after[key] == row or after[key]["group"] in groups
    computed = {p.name: p.computed for p in report.progress.values() if p.kind == "stage"}
    assert computed["clean_text"] == computed["sentences"] == 1
    assert computed["backbone"] <= len(added)


def test_lineage_names_address_time_segment_and_weights(built: tuple[Path, str], server: Server) -> None:
    version = open_at(built[0], 1)
    truth = next(
        t for t in server.site.truths() if any(i.reason == "thumbnail" and i.place == "article" for i in t.images)
    )
    image = next(i for i in truth.images if i.reason == "thumbnail" and i.place == "article")
    found = version.lineage(server.url + truth.requested)
    assert found.fetches[0]["url"] == server.url + truth.requested and found.fetches[0]["fetched_at"]
    key = next(i["key"] for i in found.snapshot["images"] if i["url"].endswith(image.path))
    row = next(r for r in found.rows if r.stage == "clean" and r.key == key)
    assert (row.status, row.code, row.threshold) == ("rejected", "thumbnail", 64.0)
    assert row.value is not None and row.value < 64
    weights = {w for r in found.rows if r.stage == "backbone" for w in r.weights}
    assert weights == {"random:0"}
    assert all(r.segment.startswith(f"parts/{r.stage}/{r.stage_key}/shard-") for r in found.rows)


def test_one_night_of_errors_changes_nothing(built: tuple[Path, str], server: Server) -> None:
    root, recipe = built
    crawl_recipe(recipe, str(root), root)
    build(recipe, str(root), BuildOptions(allow_shrink=True), folder=root)
    before: Any = open_at(root).number
    from diptych.exceptions import NothingCommitted

    server.faults.status = 500
    try:
        with pytest.raises(NothingCommitted, match="http_500"):
            crawl_recipe(recipe, str(root), root)
    finally:
        server.faults.status = None
    report = build(recipe, str(root), folder=root)
    assert report.committed.version is None and report.computed == 0 and open_at(root).number == before


def test_rebuild_with_refetch_asks_for_the_named_record_only(built: tuple[Path, str], server: Server) -> None:
    root, recipe = built
    crawl_recipe(recipe, str(root), root)
    build(recipe, str(root), BuildOptions(allow_shrink=True), folder=root)
    truths = list(server.site.truths())
    mine, other = truths[3], truths[6]
    server.site = Site(24).with_changes({3: "edit_text", 6: "edit_text"})
    server.reset()
    try:
        plan = plan_rebuild(str(root), "sample", record=server.url + mine.requested, refetch=True)
        report = build(plan.recipe, str(root), plan.options, force=plan.force, snapshot=plan.snapshot)
    finally:
        server.site = Site(24)
    asked = {path for path in server.counts.requests if path != "/robots.txt"}
    assert mine.requested in asked and other.requested not in asked
    assert asked <= {mine.requested, mine.path, *(i.path for i in mine.images), *(f"/go{i.path}" for i in mine.images)}
    assert report.committed.version is not None
    changed = open_at(root).diff(report.committed.version - 1)
    assert len(changed.records.changed) == 1
