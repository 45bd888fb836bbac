"""Takedown of what came from files: older wordings, sidecars, exports that hold it, a process that is killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from store_search import search

from diptych.engine import build as building
from diptych.engine import forget as forgetting
from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.forget import forget
from diptych.engine.intake import take_snapshot
from diptych.engine.steps import close
from diptych.export import ExportOptions, write_export
from diptych.naming import digest_bytes, record_id
from diptych.recipe import parse_recipe
from diptych.sample import Site, write
from diptych.storage.forgetting import Asked, versions_with
from diptych.storage.gc import gc
from diptych.storage.retire import retire
from diptych.storage.snapshot import read_forgotten, read_snapshot
from diptych.storage.store import Store, open_store
from diptych.storage.takedown import remember
from diptych.version import open_version

RECIPE = """
name: news
sources: [{kind: folder, name: site, path: SITE}]
shards: 4
stages: {clean: {min_side: 64}, clean_text: {min_characters: 0}, clean_pairs: {}, sentences: {}}
"""


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two versions; one document was worded otherwise in the first."""
    folder = tmp_path_factory.mktemp("edited")
    write(Site(6), folder / "site", static=False)
    recipe = RECIPE.replace("SITE", str(folder / "site"))
    for words in (
        "The first wording of this paragraph, long enough to be found.",
        "A second wording of the same place.",
    ):
        path = folder / "site" / "documents" / "d00002.json"
        raw = json.loads(path.read_text())
        raw["text"] = f"{words}\n{raw['text']}"
        path.write_text(json.dumps(raw))
        crawl_recipe(recipe, str(folder / "data"), folder)
        assert build(recipe, str(folder / "data"), folder=folder).committed.version
    yield folder
    close()


@pytest.fixture
def place(edited: Path, tmp_path: Path) -> Path:
    shutil.copytree(edited / "data", tmp_path / "data")
    return tmp_path


def needles_of(place: Path) -> dict[str, bytes]:
    version = open_version(place / "data" / "news")
    row = version.snapshot.known(record_id("site", "d00002"))
    found = {"first": b"The first wording of this paragraph", "second": b"A second wording of the same place"}
    found |= {f"picture {n}": version.blob(i["key"])[20:] for n, i in enumerate(row["images"]) if i["key"]}
    found |= {f"address {n}": i["url"].encode() for n, i in enumerate(row["images"])}
    return found | {"address": row["url"].encode()}


def test_older_wordings_go_and_the_file_is_not_read_again(edited: Path, place: Path) -> None:
    needles = needles_of(place)
    assert search(place, needles).keys() == needles.keys()
    retire(open_version(place / "data" / "news").store, versions=[1])  # its segments are dead, its blobs still there
    report = forget(str(place / "data"), "news", Asked(records=("d00002",)), purge_bytes=True)
    assert report.counts["records"] == 1 and search(place, needles) == {}
    recipe = RECIPE.replace("SITE", str(edited / "site"))
    for again in ({}, {"refresh": True}):
        crawl_recipe(recipe, str(place / "data"), edited, **again)  # type: ignore[arg-type]
        assert build(recipe, str(place / "data"), folder=edited).committed.version is None
    assert search(place, needles) == {} and open_version(place / "data" / "news").verify().ok


def test_exports_that_hold_it_are_listed(place: Path) -> None:
    version = open_version(place / "data" / "news")
    row = version.snapshot.known(record_id("site", "d00002"))
    split = next(r["split"] for r in version.table("splits").to_pylist() if r["key"] == row["record"])
    other = next(
        s for s in ("train", "dev", "test") if s != split and s in version.table("splits")["split"].to_pylist()
    )
    write_export(version, place / "whole")
    write_export(version, place / "redacted", ExportOptions("webdataset", split=split, redact=True))
    write_export(version, place / "without", ExportOptions("webdataset", split=other))
    for purge in (False, True):
        report = forget(str(place / "data"), "news", Asked(records=("d00002",)), purge_bytes=purge, keep_shared=True)
        exports = sorted(h.text for h in report.holders if h.kind == "export")
        assert exports == sorted([f"{place / 'whole'} (huggingface)", f"{place / 'redacted'} (webdataset)"])


def test_sidecars_belong_to_their_picture(tmp_path: Path) -> None:
    write(Site(2), tmp_path / "made", static=False)
    pictures = sorted(p for p in (tmp_path / "made" / "images").rglob("*.jpg"))[:3]
    (tmp_path / "site").mkdir()
    for n, picture in enumerate(pictures):
        shutil.copy(picture, tmp_path / "site" / f"p{n}.jpg")
        (tmp_path / "site" / f"p{n}.txt").write_text(f"The caption of picture number {n}, beside it in a file.")
    recipe = RECIPE.replace("SITE", str(tmp_path / "site"))
    crawl_recipe(recipe, str(tmp_path / "data"), tmp_path)
    build(recipe, str(tmp_path / "data"), folder=tmp_path)
    needles = {
        "caption": b"The caption of picture number 1",
        "picture": pictures[1].read_bytes()[20:],
        "file": b"p1.txt",
    }
    assert search(tmp_path / "data", needles).keys() == needles.keys()
    forget(str(tmp_path / "data"), "news", Asked(urls=("file:p1.jpg",)), purge_bytes=True)
    crawl_recipe(recipe, str(tmp_path / "data"), tmp_path, refresh=True)
    assert search(tmp_path / "data", needles) == {}
    assert open_version(tmp_path / "data" / "news").snapshot.rows == 2


def test_a_dataset_without_a_version_and_one_that_loses_everything(edited: Path, tmp_path: Path) -> None:
    recipe = RECIPE.replace("SITE", str(edited / "site"))
    crawl_recipe(recipe, str(tmp_path), edited)
    needles = {"text": b"A second wording of the same place"}
    report = forget(str(tmp_path), "news", Asked(records=("d00002",)), purge_bytes=True)
    assert report.version is None and search(tmp_path, needles) == {}
    assert build(recipe, str(tmp_path), folder=edited).committed.version == 1
    names = tuple(f"d{n:05d}" for n in range(6) if n != 2)
    report = forget(str(tmp_path), "news", Asked(records=names), purge_bytes=True)
    assert report.purged is not None and open_version(tmp_path / "news").snapshot.rows == 0
    assert list((tmp_path / "news" / "raw").rglob("blobs/*/*")) == []


def grown(tmp_path: Path, before: int, then: int) -> str:
    """A recipe whose folder had so many documents when it was built (none: it was not), and has more since."""
    recipe = RECIPE.replace("SITE", str(tmp_path / "site"))
    for documents in (before, then):
        if documents:
            write(Site(documents), tmp_path / "site", static=False)
            crawl_recipe(recipe, str(tmp_path / "data"), tmp_path)
        if documents == before != 0:
            assert build(recipe, str(tmp_path / "data"), folder=tmp_path).committed.version == 1
    return recipe


@pytest.mark.parametrize(
    ("before", "meets"),
    [(0, "drive"), (3, "drive"), (5, "take_snapshot")],
    ids=["first version", "a new record", "a record of the latest version"],
)
@pytest.mark.parametrize("killed", [False, True])
def test_a_build_under_way_leaves_out_what_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, meets: str, killed: bool
) -> None:
    recipe, root = grown(tmp_path, before, 6), str(tmp_path / "data")
    asked = [Asked(records=("d00004",))]
    plain = getattr(building, meets)

    def meanwhile(*given: Any, **named: Any) -> Any:
        found = plain(*given, **named)
        while asked:
            now = asked.pop()
            if killed and now:  # between the hashes and the log entry; then it is repeated
                with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                    patch.setattr(forgetting, "remember", remembered)
                    forget(root, "news", now, keep_shared=True)
                now = Asked()
            forget(root, "news", now, keep_shared=True)
        return found

    monkeypatch.setattr(building, meets, meanwhile)
    build(recipe, root, folder=tmp_path)
    store = open_store(root, "news")
    rows = read_snapshot(store, store.log.manifest("latest").snapshot).iter_rows(["source_id"])
    assert not asked and sorted(row["source_id"] for row in rows) == [f"d{n:05d}" for n in (0, 1, 2, 3, 5)]
    assert versions_with(store, read_forgotten(store)) == ([1] if before > 4 else [])


def remembered(store: Store) -> None:
    remember(store)
    raise KeyboardInterrupt


def test_a_rebuild_leaves_out_what_is_forgotten_after_it_was_planned(tmp_path: Path) -> None:
    recipe, root = grown(tmp_path, 3, 4), str(tmp_path / "data")
    store = open_store(root, "news")
    planned = take_snapshot(store, parse_recipe(recipe), tmp_path)  # as with --refetch: newer than the version
    forget(root, "news", Asked(records=("d00003",)), keep_shared=True)
    build(recipe, root, snapshot=planned, planned_on=1)
    assert store.log.versions() and versions_with(store, read_forgotten(store)) == []


@pytest.fixture(scope="module")
def replaced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Three versions; under one address stood another picture before the last: its key and address."""
    place = tmp_path_factory.mktemp("replaced")
    write(Site(6), place / "site", static=False)
    recipe = RECIPE.replace("SITE", str(place / "site")).replace("shards: 4", "shards: 1")
    recipe = recipe.replace("sentences: {}", "pixels: {side: 64}")
    crawl_recipe(recipe, str(place / "data"), place)
    for version in (recipe.replace("side: 64}}", "side: 32}}"), recipe):  # the first has pixels of its own
        build(version, str(place / "data"), folder=place)
    version = open_version(place / "data" / "news")
    shown = [i for row in version.snapshot.iter_rows(["images"]) for i in row["images"]]
    accepted = {row["key"] for row in version.table("pixels").to_pylist()}
    key, url = next(
        (i["key"], i["url"]) for i in shown if i["key"] in accepted and [s["key"] for s in shown].count(i["key"]) == 1
    )
    files = (path for path in (place / "site" / "images").rglob("*") if path.is_file())
    file = next(path for path in files if digest_bytes(path.read_bytes()) == key)
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(file)
    crawl_recipe(recipe, str(place / "data"), place)
    assert build(recipe, str(place / "data"), folder=place).committed.version == 3
    return place / "data", key, url


@pytest.mark.parametrize(
    ("asked", "state"),
    [("image", "collected"), ("image", "retired"), ("image", "no fetch log"), ("url", "collected"), ("url", "retired")],
)
def test_a_picture_that_was_replaced_goes_also_when_its_version_is_no_more(
    replaced: tuple[Path, str, str], tmp_path: Path, asked: str, state: str
) -> None:
    data, key, url = replaced
    shutil.copytree(data, tmp_path / "data")
    store = open_store(tmp_path / "data", "news")
    retire(store, keep_last=1)
    if state == "collected":
        gc(store, grace=0)
    if state == "no fetch log":
        shutil.rmtree(tmp_path / "data" / "news" / "raw" / "fetches")
    needles = {"rows": key.encode()}
    assert search(tmp_path / "data" / "news" / "parts", needles)
    named = Asked(images=(key,)) if asked == "image" else Asked(urls=(url,))
    report = forget(str(tmp_path / "data"), "news", named, purge_bytes=True)
    assert report.purged is not None and report.purged.finished
    assert search(tmp_path / "data" / "news" / "parts", needles) == {} and not store.blobs.has(key)
    after = open_version(tmp_path / "data" / "news")
    shown = {i["url"] for row in after.snapshot.iter_rows(["images"]) for i in row["images"]}
    assert after.verify().ok and (url in shown) == bool(named.images), "what stands there now was not asked about"


@pytest.mark.slow
def test_killed_processes(place: Path, tmp_path: Path) -> None:
    needles = needles_of(place)
    command = [sys.executable, "-m", "diptych.cli", "forget", "news", "--record", "d00002", "--purge", "--root"]
    begun = time.monotonic()
    shutil.copytree(place / "data", tmp_path / "timing")
    assert subprocess.run([*command, str(tmp_path / "timing")], capture_output=True, check=False).returncode == 0
    length = time.monotonic() - begun
    chance = random.Random(11)
    for number in range(4):
        root = tmp_path / f"killed{number}"
        shutil.copytree(place / "data", root)
        process = subprocess.Popen([*command, str(root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.4, 1.0) * length)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = subprocess.run([*command, str(root)], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "knows no record" in done.stderr, done.stderr
        if done.returncode:  # it was gone already, but perhaps not finished
            subprocess.run([*command[:5], "--purge", "--root", str(root)], capture_output=True, check=False)
        assert search(root, needles) == {} and open_version(root / "news").verify().ok
