"""The log: contiguous, one winner a number, own entries recognised, damage named."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from toy_dataset import Toy

from diptych.exceptions import Conflict, Corrupt, NotFound, StoreError, UsageError
from diptych.storage.log import CommitEntry, Log, RetireEntry, TagEntry
from diptych.storage.root import LocalRoot
from diptych.storage.store import Store, datasets, open_store


def test_versions_tags_and_what_exists(toy: Toy) -> None:
    log = toy.store.log
    assert log.head() == 0 and log.versions() == {} and log.next_version() == 1
    with pytest.raises(NotFound, match="has no version; run diptych build"):
        log.manifest()
    first = toy.commit({"a": "one"})
    log.tag("production", 1)
    second = toy.commit({"a": "two"})
    assert (first.version, second.version, second.parent) == (1, 2, 1)
    assert log.manifest() == log.manifest("latest") == log.manifest(2) == log.manifest("2") == second
    assert log.manifest("production") == first and log.tags() == {"production": 1}
    log.tag("production", 2)
    assert log.manifest("production") == second
    log.tag("production", None)
    with pytest.raises(NotFound, match=r"no tag 'production'; versions: 1, 2; tags: none"):
        log.manifest("production")
    with pytest.raises(NotFound, match=r"version 3 of dataset toy does not exist; versions: 1, 2"):
        log.manifest(3)
    for wrong in ("latest", "7", "a b"):
        with pytest.raises(StoreError):
            log.tag(wrong, 1)
    log.append(RetireEntry(versions=(1,)), after=log.head())
    with pytest.raises(NotFound, match=r"version 1 .* was retired by log entry 6; versions: 2"):
        log.manifest(1)
    assert list(log.versions()) == [2] and list(log.commits()) == [1, 2] and log.next_version() == 3
    assert [n for n, _ in log.entries()] == [1, 2, 3, 4, 5, 6]


def test_the_loser_gets_a_conflict_and_an_own_entry_is_no_conflict(toy: Toy) -> None:
    log = toy.store.log
    first, after = toy.plan({"a": "one"})
    second, _ = toy.plan({"a": "two"})
    assert log.append(CommitEntry(manifest=first), after=after) == 1
    assert log.append(CommitEntry(manifest=first), after=after) == 1, "the answer was lost, the entry was not"
    with pytest.raises(Conflict, match=r"log/1.json .* written by someone else \(commit\)"):
        log.append(CommitEntry(manifest=second), after=after)
    entry = TagEntry(name="x", version=1)
    assert log.append(entry, after=1) == log.append(entry, after=1) == 2
    with pytest.raises(StoreError, match="no entry 8 before it"):
        log.append(entry, after=8)
    with pytest.raises(StoreError, match="expected version 2"):
        log.append(CommitEntry(manifest=first), after=2)


def append_many(folder: str, count: int) -> None:
    log = Log(LocalRoot(folder), "d")
    for _ in range(count):
        entry = RetireEntry(reason="race")
        while True:
            try:
                log.append(entry, after=log.head())
                break
            except Conflict:
                continue


def test_many_processes_append_contiguously(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append_many, args=(str(tmp_path), 10)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    entries = Log(LocalRoot(tmp_path), "d").entries()
    assert [n for n, _ in entries] == list(range(1, 41))
    assert len({e.commit_id for _, e in entries}) == 40


def test_damage_is_named(toy: Toy) -> None:
    toy.commit({"a": "one"})
    toy.commit({"a": "two"})
    file = toy.store.home.local("log/1.json")
    good = file.read_bytes()
    for bad in (
        good[: len(good) // 2],
        b"",
        good.replace(b"name: toy", b"name: foy"),
        good.replace(b'"sha256"', b'"sha257"', 1),
    ):
        file.write_bytes(bad)
        with pytest.raises(Corrupt, match=r"log/1.json of dataset toy in .* is damaged"):
            open_store(toy.store.root, "toy").log.versions()
    file.unlink()
    with pytest.raises(Corrupt, match=r"log/1.json .* is missing although log/2.json exists"):
        open_store(toy.store.root, "toy").log.head()


def test_stores_and_datasets(toy: Toy, tmp_path: Path) -> None:
    assert datasets(tmp_path / "root") == []
    with pytest.raises(NotFound, match=r"no dataset 'toy' in .*there are: none"):
        open_store(tmp_path / "root", "toy", must_exist=True)
    manifest = toy.commit({f"r{i}": f"content {i}" for i in range(20)})
    assert datasets(str(tmp_path / "root")) == ["toy"]
    with pytest.raises(NotFound, match="there are: toy"):
        open_store(tmp_path / "root", "other", must_exist=True)
    with pytest.raises(UsageError, match="not a dataset's name"):
        Store(toy.store.root, "../x")
    assert toy.store.path("raw", "fetches") == "toy/raw/fetches"
    reopened = open_store(tmp_path / "root", "toy", must_exist=True)
    found = [key for s in range(4) for key in reopened.part(manifest, "toy", s).table()["key"].to_pylist()]
    assert len(found) == 20 and found == sorted(found)
    with pytest.raises(NotFound, match="shards 0 to 3, not 4"):
        reopened.part(manifest, "toy", 4)
    entry = reopened.log.manifest().stage("toy")
    assert entry.arrow_schema().names == ["label", "length", "words"] and entry.tensor_specs()["boxes"].ragged
