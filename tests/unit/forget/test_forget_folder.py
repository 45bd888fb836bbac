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

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from store_search import search

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.forget import forget
from diptych.engine.steps import close
from diptych.export import ExportOptions, write_export
from diptych.naming import record_id
from diptych.sample import Site, write
from diptych.storage.forgetting import Asked
from diptych.storage.retire import retire
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
