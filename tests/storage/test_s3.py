"""The same store on object storage: a service on loopback, one winner a name, a bounded checked cache."""

from __future__ import annotations

import errno
import importlib.util
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toy_dataset import STAGE, Toy

from diptych.exceptions import Conflict, Corrupt, MissingExtra, NotFound, StoreError, Unreachable
from diptych.storage.diff import diff
from diptych.storage.fetch_log import Attempt, FetchLog, Journal
from diptych.storage.fetch_rewrite import rewrite_log
from diptych.storage.gc import gc
from diptych.storage.log import CommitEntry
from diptych.storage.parts import PartReader
from diptych.storage.root import has_atomic_create, open_root
from diptych.storage.s3 import S3Root
from diptych.storage.segments import read_segment
from diptych.storage.store import datasets, open_store
from diptych.storage.verify import verify

MOTO = (
    os.environ.get("DIPTYCH_TEST_MOTO")
    or shutil.which("moto_server")
    or str(Path(sys.executable).parent / "moto_server")
)
needs_service = pytest.mark.skipif(
    importlib.util.find_spec("s3fs") is None or not Path(MOTO).exists(),
    reason="not installed: s3fs and moto[server] (extra [s3], group dev)",
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [MOTO, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield url
    server.terminate()
    server.wait()


@pytest.fixture
def root(endpoint: str, tmp_path: Path, request: pytest.FixtureRequest) -> S3Root:
    """A fresh prefix of a bucket."""
    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": endpoint, "region_name": "us-east-1"}}
    root = S3Root(f"s3://bucket/{abs(hash(request.node.name))}", options=options, cache=tmp_path / "cache" / "objects")
    root._fs.call_s3("create_bucket", Bucket="bucket")
    return root


@needs_service
def test_files(root: S3Root) -> None:
    assert root.list("") == [] and root.list("x") == [] and list(root.walk("")) == [] and not root.exists("x")
    root.put("x/y/b", b"12")
    root.put("x/a", b"1", durable=False)
    root.put("xyz", b"123")
    assert root.list("x") == ["a", "y"] and list(root.walk("x")) == [("x/a", 1), ("x/y/b", 2)]
    assert root.exists("x") and root.exists("x/a") and not root.exists("x/b")
    assert root.size("x/y/b") == 2 and root.at("x").read("y/b") == b"12" and root.at("x").list("y") == ["b"]
    assert abs(root.modified("x/a") - time.time()) < 60 and root.free_bytes() is None
    local = root.scratch("seg") / "big"
    local.write_bytes(b"z" * (6 << 20))
    root.put_file("seg/big", local)
    assert root.size("seg/big") == 6 << 20 and not local.exists()
    again = pickle.loads(pickle.dumps(root))  # noqa: S301 - our own object
    assert again.url == root.url and again.read("xyz") == b"123"
    for missing in (root.read, root.size, root.modified, root.local):
        with pytest.raises(NotFound, match="no file nothing"):
            missing("nothing")
    with pytest.raises(NotFound):
        root.size("x")
    root.delete("x/a")
    root.delete("x/a")
    assert root.list("x") == ["y"]
    assert has_atomic_create(root)


@needs_service
def test_one_of_eight_creates(root: S3Root) -> None:
    with ThreadPoolExecutor(8) as pool:
        for i in range(5):
            won = list(pool.map(lambda n, i=i: root.create(f"log/{i}.json", bytes([n]) * 1000), range(8)))
            assert sum(won) == 1 and root.read(f"log/{i}.json") == bytes([won.index(True)]) * 1000


@needs_service
def test_a_dataset_lives_there_as_on_a_disk(root: S3Root, tmp_path: Path) -> None:
    records = {f"r{i}": f"content number {i}" for i in range(8)}
    toy, disk = Toy("/nowhere", shards=2), Toy(tmp_path / "disk", shards=2)
    toy.store = open_store(root, "toy")
    manifest, same = toy.commit(records), disk.commit(records)
    assert (manifest.input_digest, manifest.floats_digest) == (same.input_digest, same.floats_digest)
    planned, after = toy.plan(records | {"r1": "edited"}, build="lost")
    toy.commit(records | {"r1": "other"}, build="won")
    with pytest.raises(Conflict):
        toy.store.log.append(CommitEntry(manifest=planned), after=after)
    assert verify(toy.store).ok and datasets(root) == ["toy"]
    assert len(diff(toy.store, 1, 2).stages[0].changed) == 1
    part = next(p for p in toy.store.parts(toy.store.log.manifest().stage(STAGE)) if p.counts.ok)
    assert PartReader(toy.store, part).table().num_rows == part.counts.total
    assert len(PartReader(toy.store, part).tensor("grid")) == part.counts.total
    assert gc(toy.store, grace=0, keep_blobs=()).deleted and verify(toy.store, 1).ok and verify(toy.store, 2).ok
    ref = part.segments[0]
    path = f"{ref.path}/grid.npy"
    good = toy.store.home.read(path)
    toy.store.home.put(path, good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Corrupt, match="expected SHA-256"):
        read_segment(toy.store, ref, verify=True)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(Corrupt, match="expected SHA-256"):
        PartReader(toy.store, part).tensor("grid")


def asked(log: FetchLog, mode: str, *urls: str) -> Journal:
    """A crawl under way that has asked for these."""
    journal = log.begin(mode)
    for url in urls:
        journal.write(Attempt(journal.crawl, "s", "page", url, "ok", sha256="f" * 64))
    return journal


def urls_of(log: FetchLog) -> list[str]:
    crawls = [*log.crawls(), *log.unfinished()]
    return [row.url for crawl in crawls for row in log.rows(crawl) if isinstance(row, Attempt)]


@needs_service
def test_a_killed_crawl_goes_on_where_it_was_killed(root: S3Root, tmp_path: Path) -> None:
    log = FetchLog(root)
    killed = asked(log, "conditional", "u1", "u2")
    killed.leave()
    assert log.unfinished() == [killed.crawl] and urls_of(log) == ["u1", "u2"]
    assert log.index(unfinished=True).url("s", "u1") is not None
    assert rewrite_log(log, lambda row: None if getattr(row, "url", "") == "u2" else row) == 1
    again = asked(log, "conditional", "u3")
    assert again.crawl == killed.crawl
    journal = log.journals()[again.crawl].read_bytes()
    again.finish()
    assert log.crawls() == [killed.crawl] and log.journals() == {} and urls_of(log) == ["u1", "u3"]
    left = root.scratch("raw/fetches") / f"{killed.crawl}.jsonl"  # killed before it could delete the journal
    for ends in (lambda: asked(log, "refresh").leave(), lambda: rewrite_log(log, lambda row: row)):
        left.write_bytes(journal)
        ends()
        assert not left.exists() and urls_of(log) == ["u1", "u3"]


@needs_service
def test_another_machine_s_killed_crawl_cannot_be_seen_and_comes_before_later_ones(
    root: S3Root, tmp_path: Path
) -> None:
    here, there = FetchLog(root), FetchLog(S3Root(root.url, options=root._options, cache=tmp_path / "other" / "cache"))
    killed = asked(here, "conditional", "u1")
    killed.leave()
    assert there.unfinished() == []
    asked(there, "conditional", "u2").finish()
    asked(there, "conditional", "u3").finish()
    again = asked(here, "conditional")
    assert again.crawl != killed.crawl and again.index.url("s", "u1") is not None
    again.finish()
    assert here.crawls()[-1] == again.crawl and sorted(urls_of(there)) == ["u1", "u2", "u3"]


@needs_service
def test_a_killed_build_s_scratch_is_swept(root: S3Root) -> None:
    killed = asked(FetchLog(root), "conditional", "u1")
    killed.leave()
    made = {
        "parts/clean/k/shard-00000/b1-1/table.parquet": 30 * 3600,
        "parts/clean/k/shard-00000/b2-1/table.parquet": 5 * 3600,
        "snapshots/.tmp-1-dead": 5 * 3600,
        "raw/fetches/.tmp-1.parquet": 0,
    }
    for path, age in made.items():
        folder, _, name = path.rpartition("/")
        file = root.scratch(folder) / name
        file.write_bytes(b"123")
        os.utime(file, (time.time() - age, time.time() - age))
    first, second, third, fourth = made
    assert root.sweep("", 3600) == [(first, 3), (third, 3)], "a slow build may be writing the second"
    assert root.sweep("raw", 0.0) == [(fourth, 3)] and root.sweep("parts", 0.0) == [(second, 3)]
    assert root.prepared("parts/clean/k/shard-00000") == [] and root.sweep("", 0.0) == []
    assert urls_of(FetchLog(root)) == ["u1"] and (root.scratch("raw/fetches") / "lock").exists()


@needs_service
def test_the_cache_is_bounded_and_checked(root: S3Root, tmp_path: Path) -> None:
    import diptych.storage.s3 as module

    small = S3Root(root.url, options=root._options, cache=tmp_path / "small", cache_bytes=3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_YOUNG", -1.0)
        for i in range(8):
            root.put(f"f{i}", bytes([i]) * 1000)
            assert small.local(f"f{i}").read_bytes() == bytes([i]) * 1000
    assert sum(f.stat().st_size for f in (tmp_path / "small").glob("*/*")) <= 3000
    first = small.local("f7")
    root.put("f7", b"changed")
    assert small.local("f7").read_bytes() == b"changed" and first.exists(), "another ETag, another copy"
    with pytest.raises(Corrupt, match="expected SHA-256 0000"):
        small.local("f6", "0" * 64)
    with pytest.MonkeyPatch.context() as patch:  # the bytes are on the disk before they have their name
        done: list[str] = []
        patch.setattr(os, "fsync", lambda handle: done.append("fsync"))
        patch.setattr(os, "replace", lambda *given, plain=os.replace: done.append("name") or plain(*given))
        assert small.local("f0").read_bytes() == bytes(1000)
    assert done == ["fsync", "name"]


@needs_service
def test_what_the_service_refuses_is_said(
    root: S3Root, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(url: str, **options: object) -> S3Root:
        return S3Root(url, options={**root._options, **options}, cache=tmp_path / "cache")

    nowhere = other("s3://nobucket/data")
    for ask in (lambda: nowhere.create("a", b"1"), lambda: nowhere.put("a", b"1"), lambda: nowhere.list("x")):
        with pytest.raises(
            StoreError, match=r"in s3://nobucket/data: .*bucket does not exist; make the bucket"
        ) as found:
            ask()
        assert not isinstance(found.value, NotFound | Unreachable)
    away = {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}
    with pytest.raises(Unreachable, match=r"cannot read log in s3://bucket/data: Could not connect .*AWS_ENDPOINT_URL"):
        other("s3://bucket/data", client_kwargs=away).list("log")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StoreError, match=r"cannot write a in .*: Unable to locate credentials; give credentials"):
        other("s3://bucket/data", key=None, secret=None).put("a", b"1")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(root._fs, "pipe_file", refused)
    with pytest.raises(StoreError, match=r"cannot write x/a in .*: Access Denied; give credentials"):
        root.put("x/a", b"1")
    with pytest.raises(FileNotFoundError, match="absent"):  # a file of this machine keeps its own error
        root.put_file("x/a", tmp_path / "absent")


def test_what_may_go_well_later_is_said(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    from aiohttp import ClientPayloadError
    from botocore import exceptions as botocore
    from s3fs.errors import translate_boto_error

    def answer(code: str, status: int) -> Exception:
        given = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return translate_boto_error(botocore.ClientError(given, "PutObject"))  # type: ignore[arg-type]

    there = {"endpoint_url": "http://x"}
    later = [
        answer("SlowDown", 503), answer("InternalError", 500), answer("Throttling", 400), answer("503", 503),
        answer("RequestTimeout", 400), answer("SomethingOfTheirs", 502), answer("TooManyRequests", 429),
        botocore.EndpointConnectionError(**there), botocore.ReadTimeoutError(**there), TimeoutError(),
        botocore.ConnectionClosedError(**there), ClientPayloadError("half"), ConnectionResetError("reset"),
    ]  # fmt: skip
    never = [
        answer("AccessDenied", 403), answer("403", 403), answer("NoSuchBucket", 404), answer("InvalidArgument", 400),
        answer("NotImplemented", 501), answer("NoSuchUpload", 404), answer("EntityTooLarge", 400),
        answer("XMinioStorageFull", 507), botocore.NoCredentialsError(), botocore.NoRegionError(),
    ]  # fmt: skip
    root = S3Root("s3://bucket/data", cache=tmp_path)
    for error in later + never:
        with pytest.raises(StoreError, match="cannot write x in s3://bucket/data: ") as found:
            with root._asking("x", writing=True):
                raise error
        assert isinstance(found.value, Unreachable) is (error in later), repr(error)
    with pytest.raises(OSError, match="No space left") as full:  # of the cache's disk
        with root._asking("x"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not isinstance(full.value, StoreError)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtra, match=r"diptych\[s3\]"):
        open_root("s3://bucket/x").read("y")
    with pytest.raises(StoreError, match="no bucket"):
        open_root("s3://")
