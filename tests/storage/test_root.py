"""Local roots: one winner among many creators, nothing partial, nothing outside."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diptych.exceptions import NoSpace, NotFound, StoreError, UsageError
from diptych.storage.overlay import Overlay
from diptych.storage.root import LocalRoot, open_root


def contend(folder: str, name: str, barrier: object, rounds: int, results: object) -> None:
    root = LocalRoot(folder)
    for i in range(rounds):
        barrier.wait()  # type: ignore[attr-defined]
        won = root.create(f"log/{i}.json", name.encode() * 50_000)
        results.put((i, name, won))  # type: ignore[attr-defined]


def test_one_of_eight_processes_creates(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    rounds, names = 12, [f"p{i}" for i in range(8)]
    barrier, results = context.Barrier(len(names)), context.Queue()
    processes = [context.Process(target=contend, args=(str(tmp_path), n, barrier, rounds, results)) for n in names]
    for process in processes:
        process.start()
    found = [results.get(timeout=30) for _ in range(rounds * len(names))]
    for process in processes:
        process.join()
    root = LocalRoot(tmp_path)
    for i in range(rounds):
        winners = [name for number, name, won in found if number == i and won]
        assert len(winners) == 1
        assert root.read(f"log/{i}.json") == winners[0].encode() * 50_000
    assert root.list("log") == sorted(f"{i}.json" for i in range(rounds))
    assert not [n for n in os.listdir(tmp_path / "log") if n.startswith(".tmp")], "losers leave nothing"


def test_one_of_many_threads_creates_and_readers_see_it_whole(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    stop = threading.Event()
    torn: list[int] = []

    def read() -> None:
        while not stop.is_set():
            for name in root.list("a"):
                if len(root.read(f"a/{name}")) != 1 << 20:
                    torn.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(8) as pool:
        for i in range(5):
            won = list(pool.map(lambda n, i=i: root.create(f"a/{i}", bytes([n]) * (1 << 20)), range(8)))
            assert sum(won) == 1
            assert root.read(f"a/{i}") == bytes([won.index(True)]) * (1 << 20)
    stop.set()
    reader.join()
    assert not torn


def test_files_and_folders(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    assert root.list("x") == [] and list(root.walk("x")) == [] and not root.exists("x/y")
    root.put("x/y/b", b"12")
    root.put("x/a", b"1", durable=False)
    assert root.list("x") == ["a", "y"] and list(root.walk("x")) == [("x/a", 1), ("x/y/b", 2)]
    assert root.size("x/y/b") == 2 and root.local("x/a").read_bytes() == b"1"
    assert root.at("x").read("y/b") == b"12"
    root.delete("x/y/b")
    assert not (tmp_path / "x/y").exists() and (tmp_path / "x").exists()
    root.delete("x/y/b")
    root.delete("x/a")
    assert tmp_path.exists() and not (tmp_path / "x").exists()
    for read in (root.read, root.size, root.modified, root.local):
        with pytest.raises(NotFound, match="no file x/a"):
            read("x/a")
    for bad in ("../x", "/etc/passwd", "a//b", "a/./b"):
        with pytest.raises(StoreError, match="not a path inside"):
            root.put(bad, b"")
    with pytest.raises(UsageError, match=r"not ftp://"):
        open_root("ftp://host/x")
    assert open_root(f"file://{tmp_path}").url == open_root(tmp_path).url == str(tmp_path)
    assert root.free_bytes() > 0 and LocalRoot(tmp_path / "no" / "such").free_bytes() > 0  # type: ignore[operator]


def test_moving_a_file_in(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path / "root")
    folder = root.scratch("seg/1")
    (folder / "t").write_bytes(b"in place")
    root.put_file("seg/1/t", folder / "t")
    other = tmp_path / "other"
    other.write_bytes(b"moved")
    root.put_file("seg/1/u", other)
    assert root.read("seg/1/t") == b"in place" and root.read("seg/1/u") == b"moved" and not other.exists()


def test_writers_survive_pruning_of_their_folder(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)

    def churn(n: int) -> None:
        for i in range(60):
            root.put(f"p/q/{n}-{i}", b"x", durable=False)
            root.delete(f"p/q/{n}-{i}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(churn, range(4)))
    assert list(root.walk("")) == []


def test_temporary_files_are_invisible_and_swept(tmp_path: Path) -> None:
    root = LocalRoot(tmp_path)
    root.put("a/b", b"1")
    stale = tmp_path / "a" / ".tmp-1-dead"
    stale.write_bytes(b"123")
    assert root.list("a") == ["b"] and list(root.walk("")) == [("a/b", 1)]
    assert root.sweep("", 3600) == [] and stale.exists()
    assert root.sweep("", 0) == [("a/.tmp-1-dead", 3)] and not stale.exists()


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (
            errno.ENOSPC,
            NoSpace,
            "no space for {0}/x/a.json (3 bytes).* A few kilobytes are enough for `diptych retire`",
        ),
        (errno.EROFS, StoreError, "{0}/x/a.json cannot be written (Read-only file system): expected a folder that"),
    ],
)
def test_what_cannot_be_written_is_named_as_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError], said: str
) -> None:
    def refused(path: str, *arguments: object) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr("diptych.storage.root._create", refused)
    for write in (LocalRoot(tmp_path).put, LocalRoot(tmp_path).create):
        with pytest.raises(kind) as caught:
            write("x/a.json", b"123")
        pattern = re.escape(said.format(tmp_path)).replace(re.escape(".*"), ".*")
        assert re.search(pattern, str(caught.value)) and ".tmp-" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "file://"])
def test_an_empty_root_is_not_the_working_folder(name: str) -> None:
    with pytest.raises(UsageError, match="the root is empty .* expected a folder or s3"):
        open_root(name)
    assert open_root(".").url == os.getcwd()


def test_an_overlay_shows_both_and_writes_above_alone(tmp_path: Path) -> None:
    under, over = LocalRoot(tmp_path / "under"), LocalRoot(tmp_path / "over")
    under.put("d/log/1.json", b"1")
    under.put("d/lists/a", b"a")
    home = Overlay(under, over).at("d")
    assert home.url == under.at("d").url and home.exists("log") and home.read("log/1.json") == b"1"
    assert not home.create("log/1.json", b"2") and home.create("log/2.json", b"2")
    home.put("lists/b", b"bb")
    prepared = home.scratch("snapshots") / "new"
    prepared.write_bytes(b"ccc")
    home.put_file("snapshots/c", prepared)
    assert home.list("lists") == ["a", "b"] and home.list("log") == ["1.json", "2.json"]
    assert list(home.walk("lists")) == [("lists/a", 1), ("lists/b", 2)] and home.size("snapshots/c") == 3
    assert home.local("snapshots/c").read_bytes() == b"ccc" and home.modified("lists/a") > 0
    home.delete("lists/a")
    home.delete("lists/b")
    assert home.list("lists") == ["a"] and home.sweep("", 0) == []
    assert list(under.walk("")) == [("d/lists/a", 1), ("d/log/1.json", 1)]


def test_a_file_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append("sync") or sync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("name") or rename(a, b))
    (tmp_path / "made").write_bytes(b"whole")
    LocalRoot(tmp_path / "store").put_file("a/b", tmp_path / "made")
    assert done.index("sync") < done.index("name") < len(done) - 1, "then the folder"
    assert (tmp_path / "store" / "a" / "b").read_bytes() == b"whole"
