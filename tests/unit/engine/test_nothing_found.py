"""A crawl that brings no record at all, and a first build of nothing, end with exit 3, the reasons and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.engine.crawling import crawl_recipe, needs_crawl
from diptych.engine.steps import close
from diptych.exceptions import NotFound, NothingCommitted
from diptych.sample import Server, Site
from diptych.sources.tally import CrawlReport
from diptych.storage.lookup import find_records
from diptych.storage.store import Store, open_store

RECIPE = """
name: site
contact: https://example.org/tests
sources:
  - {{kind: web, name: site, start: ["{url}/"], fetch: {{{fetch}}}}}
stages: {{clean_text: {{}}}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(Site(2)) as running:
        yield running
    close()


def dataset(root: Path) -> Store:
    return open_store(root, "site")


def test_a_crawl_that_is_refused_everywhere_ends_with_reason_and_remedy(server: Server, tmp_path: Path) -> None:
    recipe = RECIPE.format(url=server.url, fetch="")
    for _ in range(2):
        with pytest.raises(NothingCommitted, match="no source of the recipe gave a record") as caught:
            crawl_recipe(recipe, str(tmp_path), tmp_path)
        said = str(caught.value)
        assert "1 page (1 refused)" in said and "everything was refused" in said and "% successful" not in said
        assert "reasons: private_address 2" in said and "`fetch: {allow_private: true}`" in said
        assert "--allow-shrink" in said and caught.value.exit_code == 3
        assert needs_crawl(recipe, str(tmp_path), tmp_path), "the next build asks again"
    with pytest.raises(NothingCommitted, match=r"at least one record, found was none \(its sources named none\)"):
        build(recipe, str(tmp_path), folder=tmp_path)
    assert dataset(tmp_path).log.versions() == {}
    mended = RECIPE.format(url=server.url, fetch="allow_private: true")
    assert crawl_recipe(mended, str(tmp_path), tmp_path).documents["ok"] == 2
    assert not needs_crawl(mended, str(tmp_path), tmp_path)
    assert build(mended, str(tmp_path), folder=tmp_path).committed.version == 1


def test_an_empty_dataset_may_be_meant(server: Server, tmp_path: Path) -> None:
    recipe = RECIPE.format(url=server.url, fetch="")
    report = crawl_recipe(recipe, str(tmp_path), tmp_path, allow_shrink=True)
    assert report.documents == {} and report.success_rate == 1.0
    options = BuildOptions(allow_shrink=True)
    assert build(recipe, str(tmp_path), options, folder=tmp_path).committed.version == 1
    store = dataset(tmp_path)
    with pytest.raises(NotFound, match="made no record of it: refused private_address"):
        find_records(store, store.log.manifest(1), f"{server.url}/")
    with pytest.raises(NotFound, match=r"\(SHA-256\)$"):
        find_records(store, store.log.manifest(1), f"{server.url}/else")


def test_what_earlier_crawls_brought_is_enough(server: Server, tmp_path: Path) -> None:
    crawl_recipe(RECIPE.format(url=server.url, fetch="allow_private: true"), str(tmp_path), tmp_path)
    again = crawl_recipe(RECIPE.format(url=server.url, fetch=""), str(tmp_path), tmp_path)
    assert not again.documents.get("ok"), "refused today; the records of yesterday stay"


def test_records_that_all_failed_are_named_by_their_reasons(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    recipe = "name: site\nsources: [{kind: folder, name: f, path: f}]\nstages: {clean_text: {}}\n"
    documents = tmp_path / "f" / "documents"
    documents.mkdir(parents=True)
    (documents / "a.json").write_text("{broken")
    with pytest.raises(NothingCommitted) as caught:
        crawl_recipe(recipe, str(tmp_path), tmp_path)
    assert "a.json: " in str(caught.value)
    with pytest.raises(NothingCommitted, match=r"at least one record, found was none \(failed:\w+ 1\)"):
        build(recipe, str(tmp_path), folder=tmp_path)


def test_reasons_beyond_those_shown_are_counted() -> None:
    reasons = tuple((f"code{n}", 20 - n) for n in range(10))
    first = {code: f"http://x.example/{code}" for code, _ in reasons}
    counts = {"page": {"failed": 155, "refused": 2}}
    report = CrawlReport("c", False, 1.0, 1, 1, 1, counts, {}, reasons, first, (), {}, ())
    assert report.why().endswith("code7 13 (as http://x.example/code7), and 2 other reasons (23 times)")
    assert any("0.0% successful (2 refused not counted)" in line for line in report.lines())
