"""Takedown on the sample site over HTTP: nothing of it is found in the store, the next crawl brings nothing back."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from store_search import search

from diptych.cli import main
from diptych.engine import purge as purging
from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.forget import ForgetReport, forget
from diptych.engine.steps import close
from diptych.exceptions import Conflict, NotFound, UsageError
from diptych.sample import Server, Site
from diptych.storage.alive import SignOfLife
from diptych.storage.forgetting import Asked
from diptych.storage.gc import gc
from diptych.storage.snapshot import read_forgotten
from diptych.storage.takedown import due, save
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
  clean_pairs: {{}}
  sentences: {{}}
fits: {{word2vec: {{size: 8, epochs: 1}}}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(Site(8)) as running:
        running.faults.slow_seconds = running.faults.stall_seconds = 0.1
        yield running


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A crawled and built dataset that no test changes."""
    root = tmp_path_factory.mktemp("whole")
    recipe = RECIPE.format(url=server.url)
    crawl_recipe(recipe, str(root), root)
    assert build(recipe, str(root), folder=root).committed.version == 1
    yield root, recipe
    close()


@pytest.fixture
def built(whole: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    shutil.copytree(whole[0], tmp_path / "data")
    return tmp_path / "data", whole[1]


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def diptych(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``diptych(*arguments)`` -> exit code, stdout."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["diptych", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), " ".join(capsys.readouterr().out.split())

    return run


def newest(root: Path) -> Version:
    return open_version(root / "sample")


def needles_of(version: Version, record: str) -> dict[str, bytes]:
    """The record's texts, addresses and pictures as bytes."""
    row = version.snapshot.known(record)
    document = version.document(record)
    found = {f"text {n}": line.encode() for n, line in enumerate(document.text.splitlines()) if len(line) >= 40}
    found["url"] = row["url"].encode()
    for n, image in enumerate(row["images"]):
        found[f"image url {n}"] = image["url"].encode()
        if image["key"]:
            found[f"picture {n}"] = version.blob(image["key"])[20:]
        if len(image["caption"]) >= 40:
            found[f"caption {n}"] = image["caption"].encode()
    assert len([n for n in found if n.startswith("text")]) >= 2 and any(n.startswith("picture") for n in found)
    return found


def a_record(version: Version) -> dict[str, Any]:
    rows = sorted(version.snapshot.table().to_pylist(), key=lambda r: r["url"])
    return next(r for r in rows if r["outcome"] == "ok" and sum(bool(i["key"]) for i in r["images"]) >= 2)


def holders(report: ForgetReport) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for holder in report.holders:
        found.setdefault(holder.kind, []).append(holder.name)
    return found


def test_a_purged_record_is_nowhere_and_does_not_come_back(built: tuple[Path, str], server: Server) -> None:
    root, recipe = built
    version = newest(root)
    row = a_record(version)
    needles = needles_of(version, row["record"])
    title = version.document(row["record"]).title.encode()
    assert set(search(root, needles)) == set(needles), "the search finds all of it before"
    dry = forget(str(root), "sample", Asked(urls=(row["url"],)), dry_run=True)
    assert dry.counts["records"] == 1 and holders(dry) == {"version": ["sample@1"]}
    assert not (root / "sample" / "raw" / "takedowns").exists()
    report = forget(str(root), "sample", Asked(urls=(row["url"],)), purge_bytes=True)
    assert report.version == 2 and report.purged is not None and report.purged.retired == (1, 2)
    assert search(root, needles) == {}
    listed = holders(report)
    assert listed.pop("fit") == ["word2vec"], "a pinned fit has counted its words"
    left = search(root, {"title": title}).get("title", [])
    assert bool(left) == bool(listed), "lists of the site that have its title are named, and nothing else is"
    assert set(listed) <= {"page"} and f"{server.url}/" in listed["page"]
    assert gc(newest(root).store).deleted == (), "nothing is left for gc"
    after = newest(root)
    assert after.number == 3 and after.snapshot.rows == version.snapshot.rows - 1 and after.verify().ok
    for again in ({}, {"refresh": True}):
        crawl_recipe(recipe, str(root), root, **again)  # type: ignore[arg-type]
        assert search(root, needles) == {}, f"a crawl {again} brought it back"
    assert build(recipe, str(root), folder=root).committed.version is None, "as a crawl and a cut would make it"
    names = {name.encode() for name in (row["record"], row["url"])} | {
        i["key"].encode() for i in row["images"] if i["key"]
    }
    [takedown] = (root / "sample" / "raw" / "takedowns").iterdir()
    assert not any(name in takedown.read_bytes() for name in names), "a finished takedown holds hashes alone"
    assert after.store.log.versions().keys() == {3}


def test_tags_and_runs_protect_and_are_listed(built: tuple[Path, str]) -> None:
    root, _ = built
    version = newest(root)
    row = a_record(version)
    needles = needles_of(version, row["record"])
    version.store.log.tag("production", 1)
    version.store.home.put("runs/probe/r1/run.json", json.dumps({"version": 1}).encode())
    plain = forget(str(root), "sample", Asked(records=(row["record"],)))
    assert plain.purged is None and holders(plain) == {"version": ["sample@1"], "run": ["probe/r1"]}
    assert row["record"] not in newest(root).snapshot.table(["record"])["record"].to_pylist()
    report = forget(str(root), "sample", Asked(), purge_bytes=True)
    assert holders(report)["version"] == ["sample@1"] and holders(report)["run"] == ["probe/r1"]
    assert open_version(root / "sample", 1).verify().ok, "what stays is whole"
    again = forget(str(root), "sample", Asked(), purge_bytes=True)
    assert holders(again) == holders(report) and again.purged and not again.purged.finished, "asked again, said again"
    report = forget(str(root), "sample", Asked(), purge_bytes=True, force=True)
    assert "version" not in holders(report) and search(root, needles) == {}
    assert holders(report)["run"] == ["probe/r1"] and report.purged and report.purged.finished
    with pytest.raises(UsageError, match="no takedown is unfinished"):
        forget(str(root), "sample", Asked(), purge_bytes=True, force=True)


def test_the_remedy_for_a_protected_version_works_as_it_is_printed(built: tuple[Path, str], diptych: Run) -> None:
    root, _ = built
    version = newest(root)
    row = a_record(version)
    needles = needles_of(version, row["record"])
    version.store.log.tag("production", 1)
    code, said = diptych("forget", "sample", "--record", row["record"], "--purge", "--root", str(root))
    assert code == 0 and "--force retires it all the same" in said and search(root, needles)
    assert "diptych forget sample --purge --force retires it" in said
    code, said = diptych("forget", "sample", "--purge", "--force", "--root", str(root))
    assert code == 0 and "retired versions 1" in said and "not finished" not in said
    assert search(root, needles) == {} and newest(root).verify().ok


def test_a_takedown_that_an_older_release_finished_too_early(built: tuple[Path, str], diptych: Run) -> None:
    root, _ = built
    version = newest(root)
    row = a_record(version)
    needles = needles_of(version, row["record"])
    version.store.log.tag("production", 1)
    forget(str(root), "sample", Asked(records=(row["record"],)), purge_bytes=True)
    for takedown in due(version.store):
        save(version.store, takedown.finished())
    with pytest.raises(UsageError, match="diptych retire sample 1 --force, then diptych gc sample --grace 0"):
        forget(str(root), "sample", Asked(), purge_bytes=True)
    assert diptych("retire", "sample", "1", "--force", "--root", str(root))[0] == 0
    assert diptych("gc", "sample", "--grace", "0", "--root", str(root))[0] == 0
    assert search(root, needles) == {} and newest(root).verify().ok


STEPS = ("rewrite_log", "_rewrite_overrides", "_mentions", "commit_rewritten", "retire", "gc")
FEW = ("_mentions", "retire")


@pytest.mark.parametrize("steps", [FEW, pytest.param(STEPS, marks=pytest.mark.slow)], ids=["few", "all"])
def test_a_purge_that_ends_between_any_two_steps_is_completed(
    built: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[str, ...]
) -> None:
    root, _ = built
    row = a_record(newest(root))
    needles = needles_of(newest(root), row["record"])

    def killed(*arguments: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    for step in steps:
        place = tmp_path / step
        shutil.copytree(root, place)
        with monkeypatch.context() as patch:
            patch.setattr(purging, step, killed)
            with pytest.raises(KeyboardInterrupt):
                forget(str(place), "sample", Asked(urls=(row["url"],)), purge_bytes=True)
        assert search(place, needles), "the test stopped it too late"
        forget(str(place), "sample", Asked(), purge_bytes=True)
        assert search(place, needles) == {} and newest(place).verify().ok, step
        shutil.rmtree(place)


def test_a_running_build_delays_the_purge_alone(built: tuple[Path, str]) -> None:
    root, _ = built
    version = newest(root)
    row = a_record(version)
    with SignOfLife(version.store, "somebody", "crawl"):
        with pytest.raises(Conflict, match="a crawl is running"):
            forget(str(root), "sample", Asked(urls=(row["url"],)), purge_bytes=True)
        assert newest(root).number == 2, "the version without it is there"
    needles = needles_of(open_version(root / "sample", 1), row["record"])
    forget(str(root), "sample", Asked(), purge_bytes=True)
    assert search(root, needles) == {}


def test_segments_that_two_shards_share_are_merged(built: tuple[Path, str]) -> None:
    root, recipe = built
    version = newest(root)
    row = a_record(version)
    needles = needles_of(version, row["record"])
    build(recipe, str(root), snapshot=version.manifest.snapshot, shards=8)
    report = forget(str(root), "sample", Asked(records=(row["record"],)), purge_bytes=True)
    assert report.purged is not None and search(root, needles) == {}
    assert newest(root).manifest.shards == 8 and newest(root).verify().ok


def test_a_shared_picture_leaves_every_record_or_stays(built: tuple[Path, str], tmp_path: Path) -> None:
    root, recipe = built
    version = newest(root)
    shown: dict[str, set[str]] = {}
    for r in version.snapshot.table().to_pylist():
        for image in r["images"]:
            if image["key"]:
                shown.setdefault(image["key"], set()).add(r["record"])
    key, records = max(shown.items(), key=lambda item: len(item[1]))
    assert len(records) > 1
    other = tmp_path / "other"
    shutil.copytree(root, other)
    picture = {"picture": version.blob(key)[20:]}
    report = forget(str(root), "sample", Asked(images=(key,)), purge_bytes=True)
    assert report.counts["records"] == 0 and search(root, picture) == {}
    after = newest(root)
    assert after.snapshot.rows == version.snapshot.rows and key not in set(after.snapshot.image_keys())
    crawl_recipe(recipe, str(root), root, refresh=True)
    assert search(root, picture) == {} and after.verify().ok
    one = sorted(records)[0]
    kept = forget(str(other), "sample", Asked(records=(one,)), purge_bytes=True, keep_shared=True)
    assert kept.counts["records"] == 1 and search(other, picture) and key in set(newest(other).snapshot.image_keys())


def test_the_command(
    built: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = built
    row = a_record(newest(root))
    listed = tmp_path / "list.txt"
    listed.write_text(f"# asked for by mail\n\n{row['url']}\nhttp://elsewhere.example/never-seen.html\n")
    monkeypatch.setattr(
        sys, "argv", ["diptych", "forget", "sample", "--file", str(listed), "--root", str(root), "--json"]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    said = json.loads(capsys.readouterr().out)
    assert said["records"] == 1 and said["version"] == 2 and said["purged"] is None
    assert "http://elsewhere.example/never-seen.html" in read_forgotten(newest(root).store)
    monkeypatch.setattr(sys, "argv", ["diptych", "forget", "sample", "--purge", "--root", str(root)])
    with pytest.raises(SystemExit) as end:
        main()
    text = capsys.readouterr().out
    assert end.value.code == 0 and "retired versions 1, 2" in text and "diptych refit sample word2vec" in text
    with pytest.raises(NotFound, match="knows no record"):
        forget(str(root), "sample", Asked(records=("nobody",)))
