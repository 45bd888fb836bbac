"""Takedown on object storage: no object of the bucket and no copy on this machine holds what was purged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "storage"))
from store_search import search
from test_s3 import endpoint, needs_service

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.forget import forget
from diptych.engine.steps import close
from diptych.naming import record_id
from diptych.sample import Site, write
from diptych.storage.forgetting import Asked
from diptych.storage.s3 import S3Root, default_cache
from diptych.storage.store import open_store
from diptych.version import Version

__all__ = ["endpoint"]  # the fixture

RECIPE = """
name: news
sources: [{kind: folder, name: site, path: site}]
shards: 2
stages: {clean: {min_side: 64}, clean_text: {min_characters: 0}, clean_pairs: {}, sentences: {}}
"""


def downloaded(to: Path) -> Path:
    """Every object of the bucket as a file."""
    root = S3Root("s3://forgotten", cache=to / "cache")
    for name, *_ in root.walk("data"):
        path = to / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(root.read(name))
    return to / "bucket"


def killed(_: object) -> None:
    raise KeyboardInterrupt


@needs_service
def test_purged_bytes_leave_the_bucket_and_this_machine(
    endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variables = {
        "ENDPOINT_URL": endpoint,
        "ACCESS_KEY_ID": "test",
        "SECRET_ACCESS_KEY": "test",
        "DEFAULT_REGION": "us-east-1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    this_machine = default_cache().parent
    S3Root("s3://forgotten")._fs.call_s3("create_bucket", Bucket="forgotten")
    write(Site(3), tmp_path / "site", static=False)
    root = "s3://forgotten/data"
    crawl_recipe(RECIPE, root, tmp_path)
    assert build(RECIPE, root, folder=tmp_path).committed.version == 1
    store = open_store(root, "news")
    version = Version(store, store.log.manifest(1))
    row = version.snapshot.known(record_id("site", "d00002"))
    needles = {f"picture {n}": version.blob(i["key"])[20:] for n, i in enumerate(row["images"]) if i["key"]}
    needles |= {"address": row["url"].encode(), **{i["url"]: i["url"].encode() for i in row["images"]}}
    assert search(downloaded(tmp_path / "before"), needles).keys() == needles.keys()
    assert search(default_cache(), needles), "this machine has copies"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("diptych.storage.blobs.Blobs.sync", killed)
        crawl_recipe(RECIPE, root, tmp_path, refresh=True)
    unwritten = store.home.scratch("parts/clean/key/shard-00000/killed-1") / "table.parquet"
    unwritten.write_bytes(needles["address"])
    left = search(this_machine / "scratch", needles)["address"]
    assert len(left) == 2, "and files of a crawl and a build that were killed"

    report = forget(root, "news", Asked(records=("d00002",)), purge_bytes=True)
    assert report.counts["records"] == 1
    assert search(downloaded(tmp_path / "after"), needles) == {} and search(this_machine, needles) == {}
    crawl_recipe(RECIPE, root, tmp_path, refresh=True)
    build(RECIPE, root, folder=tmp_path)
    close()
    assert search(downloaded(tmp_path / "again"), needles) == {}
