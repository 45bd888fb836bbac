"""Local roots: one winner among many creators, nothing partial, nothing outside."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from diptych.exceptions import NotFound, StoreError, UsageError
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
