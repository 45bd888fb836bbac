"""gc: nothing a kept version names ever goes, nothing goes unnamed, and a build that counted on it notices."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_dataset import STAGE, Toy

from diptych.exceptions import Conflict, Corrupt, NotFound, UsageError
from diptych.storage import gc as gc_module
from diptych.storage.alive import SignOfLife, alive
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog
from diptych.storage.gc import gc
from diptych.storage.lists import encode_table
from diptych.storage.log import CommitEntry, RetireEntry
from diptych.storage.retire import retire
from diptych.storage.snapshot import Forgotten
from diptych.storage.store import Store
from diptych.storage.verify import verify


def files(toy: Toy, *folders: str) -> set[str]:
    return {path for folder in folders for path, _ in toy.store.home.walk(folder)}


def some(*contents: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(contents), min_size=1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), some("x", "y z", "bad", "err")),
        st.tuples(st.just("orphan"), some("p", "q r")),
        st.tuples(st.just("retire"), st.integers(1, 3)),
        st.tuples(st.just("tag"), st.integers(1, 9)),
        st.tuples(st.just("gc"), st.sampled_from(["", "build", "crash"])),
    ),
    max_size=9,
)  # fmt: skip


@given(STEPS)
@settings(max_examples=8, deadline=None)
def test_kept_versions_stay_whole_in_any_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    toy = Toy(tmp_path_factory.mktemp("s"), shards=2)
    for n, (step, value) in enumerate([*steps, ("gc", "")]):
        versions = toy.store.log.versions()
        if step == "commit":
            toy.commit(value, build=f"b{n}", resume=n % 2 == 0)  # type: ignore[arg-type]
        elif step == "orphan":
            toy.plan(value, build=f"o{n}")  # type: ignore[arg-type]
        elif step == "retire" and versions:
            retire(toy.store, keep_last=value)  # type: ignore[arg-type]
        elif step == "tag" and value in versions:
            toy.store.log.tag("t", value)  # type: ignore[arg-type]
        elif step == "gc":
            collect(toy, str(value))
        for version in toy.store.log.versions():
            report = verify(toy.store, version)
            assert report.ok, report.problems


def collect(toy: Toy, how: str) -> None:
    before = files(toy, "parts", "lists")
    if how == "build":
        with SignOfLife(toy.store, "running", "build"):
            gc(toy.store, grace=0, keep_blobs=())
    elif how == "crash":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gc_module, "_delete", lambda store, item: (_ for _ in ()).throw(KeyboardInterrupt))
            try:
                gc(toy.store, grace=0, keep_blobs=())
            except KeyboardInterrupt:
                assert files(toy, "parts", "lists") == before, "named, not yet deleted"
    else:
        gc(toy.store, grace=0, keep_blobs=())
        named = gc_module.named_by(toy.store, toy.store.log.versions().values())
        assert {p.rpartition("/")[0] for p in files(toy, "parts")} == named.segments
        assert files(toy, "lists") == {f"lists/{name}.parquet" for name in named.lists}
        assert files(toy, "snapshots") == {f"snapshots/{name}.parquet" for name in named.snapshots}
        assert {p.rpartition("/")[2] for p in files(toy, "raw/blobs")} == named.blobs
        assert before >= files(toy, "parts", "lists")


def test_the_entry_comes_before_the_deletion_and_the_next_gc_finishes(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.commit({"a": "one"})
    toy.plan({"a": "two"}, build="dead")
    seen: list[int] = []
    deleted = gc_module._delete

    def crash_at_third(store: object, item: object) -> None:
        last = toy.store.log.entry(toy.store.log.head())
        assert isinstance(last, RetireEntry) and (
            item.name in (*last.segments, *last.lists, *last.snapshots, *last.blobs)
        )  # type: ignore[attr-defined]
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        deleted(store, item)  # type: ignore[arg-type]

    monkeypatch.setattr(gc_module, "_delete", crash_at_third)
    with pytest.raises(KeyboardInterrupt):
        gc(toy.store, grace=0, keep_blobs=())
    monkeypatch.setattr(gc_module, "_delete", deleted)
    head = toy.store.log.head()
    report = gc(toy.store, grace=0, keep_blobs=())
    assert report.finished and {i.kind for i in report.finished} <= {"segment", "list"}
    assert {i.kind for i in report.deleted} <= {"snapshot", "blob"}, "content-addressed names are named again"
    again = gc(toy.store, grace=0, keep_blobs=())
    assert not again.deleted and not again.finished and again.entry is None and again.bytes == 0
    assert toy.store.log.head() <= head + 1 and verify(toy.store).ok


def test_a_build_that_counted_on_retired_rows_notices(toy: Toy) -> None:
    """The race the order decides: the build planned first, gc commits first, the build computes again."""
    records = {f"r{i}": f"content {i}" for i in range(12)}
    toy.commit({"a": "one"}, build="b1")
    toy.plan(records, build="dead")
    manifest, after = toy.plan(records, build="b2", resume=True)
    assert toy.computed == [], "planned to reuse what the dead build left"
    lists = set(files(toy, "lists"))
    gc(toy.store, grace=0, keep_blobs=())
    with pytest.raises(Conflict):
        toy.store.log.append(CommitEntry(manifest=manifest), after=after)
    again = toy.commit(records, build="b2", resume=True)
    assert len(toy.computed) == 12
    assert verify(toy.store).ok
    assert again.exact_digest == manifest.exact_digest and again.floats_digest == manifest.floats_digest
    gone = {n for n, _ in toy.store.log.retired().lists.items()}
    assert gone and any("~" in path for path in files(toy, "lists") - lists), "lists came back under new names"


def test_a_commit_between_search_and_entry_makes_gc_search_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.commit({"a": "one"}, build="b1")
    manifest, after = toy.plan({"a": "two"}, build="b2")
    real = gc_module._entry
    calls: list[int] = []

    def commit_first(items: list[gc_module.Item]) -> RetireEntry:
        if not calls:
            toy.store.log.append(CommitEntry(manifest=manifest), after=after)
        calls.append(len(items))
        return real(items)

    monkeypatch.setattr(gc_module, "_entry", commit_first)
    report = gc(toy.store, grace=0, keep_blobs=())
    assert calls[0] > 0 and not report.deleted and verify(toy.store, 2).ok and verify(toy.store, 1).ok


def keep_building(folder: str, me: str, rounds: int) -> None:
    toy = Toy(folder, shards=2)
    for n in range(rounds):
        records = {name: f"{name} {n % 3}" for name in "abcdef"} | {me: f"by {me} {n}"}
        with SignOfLife(toy.store, f"process-{me}-{n}"):  # not the name its segments bear: gc does not spare them
            for attempt in range(1000):
                try:
                    toy.commit(records, build=f"{me}{n}x{attempt}", resume=True)
                    break
                except Conflict:
                    continue
            else:
                raise AssertionError("a thousand lost races")


def test_builders_and_gc_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    builders = [context.Process(target=keep_building, args=(str(tmp_path), me, 3)) for me in ("x", "y")]
    for builder in builders:
        builder.start()
    toy = Toy(tmp_path, shards=2)
    toy.plan({"q": "left behind"}, build="dead")
    named = 0
    while any(builder.is_alive() for builder in builders):
        with contextlib.suppress(Conflict):
            report = gc(toy.store, grace=0, keep_blobs=())
            named += len([i for i in report.deleted if i.kind in ("segment", "list")])
        time.sleep(0.02)
    report = gc(toy.store, grace=0, keep_blobs=())  # on a busy machine perhaps the only one that lost no race
    named += len([i for i in report.deleted if i.kind in ("segment", "list")])
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert list(toy.store.log.versions()) == list(range(1, 7)) and named > 0
    for version in toy.store.log.versions():
        report = verify(toy.store, version)
        assert report.ok, report.problems


def test_grace_and_signs_of_life_spare_work(toy: Toy) -> None:
    toy.commit({"a": "one"})
    toy.plan({"a": "two", "b": "x"}, build="busy")
    assert not gc(toy.store, keep_blobs=()).deleted, "younger than a week"
    with SignOfLife(toy.store, "busy", "build", every=0.05):
        report = gc(toy.store, grace=0, keep_blobs=())
        assert not report.deleted and report.spared["owned by a running build"] == 2
        assert report.spared["a build or crawl is running (blobs and snapshots wait)"] > 0
    dry = gc(toy.store, grace=0, keep_blobs=(), dry_run=True)
    assert dry.deleted and dry.entry is None and dry.bytes > 0 and toy.store.log.head() == 1
    kept = toy.store.blobs.put(b"fetched, not yet in a version")
    report = gc(toy.store, grace=0, keep_blobs={kept})
    assert {i.name for i in report.deleted} == {i.name for i in dry.deleted} and toy.store.blobs.has(kept)
    assert report.bytes == dry.bytes and not files(toy, "builds")


def test_last_good_answers_stay_until_they_are_forgotten(toy: Toy) -> None:
    toy.commit({"a": "one"})
    blobs = {n: toy.store.blobs.put(n.encode()) for n in ("old", "good", "page", "document", "secret", "orphan")}
    journal = FetchLog(toy.store.home).begin()
    for name in ("old", "good"):
        journal.write(Attempt(journal.crawl, "s", "image", "http://x/i.png", "ok", sha256=blobs[name]))
    journal.write(Attempt(journal.crawl, "s", "image", "http://x/i.png", "failed_transient"))
    journal.write(Attempt(journal.crawl, "s", "image", "http://x/secret.png", "ok", sha256=blobs["secret"]))
    row = DocumentRow(journal.crawl, "s", "s", "r", "r", "http://x/r", "ok")
    journal.write(replace(row, document=blobs["document"], page=blobs["page"]))
    journal.finish()
    table = pa.table({"hash": [Forgotten.hash("http://x/secret.png")]})
    toy.store.home.put("raw/forgotten.parquet", encode_table(table))
    gc(toy.store, grace=0)
    assert {n for n, sha256 in blobs.items() if toy.store.blobs.has(sha256)} == {"good", "page", "document"}
    assert verify(toy.store).ok


def test_a_crawl_that_ends_while_gc_reads_keeps_its_blobs(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is neither in the log, which gc read before, nor alive when gc has read it."""
    crawl = SignOfLife(toy.store, "c1", "crawl")
    crawl.__enter__()
    blob = toy.store.blobs.put(b"a picture that its fetch log names in a moment")
    plain = gc_module.fetched_blobs

    def ends(store: Store) -> set[str]:
        found = plain(store)
        crawl.__exit__(None, None, None)
        return found

    monkeypatch.setattr(gc_module, "fetched_blobs", ends)
    report = gc(toy.store, grace=0)
    assert not report.deleted and toy.store.blobs.has(blob)
    monkeypatch.setattr(gc_module, "fetched_blobs", plain)
    assert [item.name for item in gc(toy.store, grace=0).deleted] == [blob], "nothing named it after all"


def test_a_damaged_version_stops_gc_before_anything_goes(toy: Toy) -> None:
    manifest = toy.commit({"a": "one"})
    toy.plan({"a": "two"}, build="dead")
    file = toy.store.home.local(f"lists/{manifest.stages[0].chunks[0]}.parquet")
    before = files(toy, "parts", "lists", "snapshots", "raw")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(Corrupt):
        gc(toy.store, grace=0, keep_blobs=())
    assert files(toy, "parts", "lists", "snapshots", "raw") == before and toy.store.log.head() == 1


def test_retire_protects(toy: Toy) -> None:
    for n in range(1, 6):
        toy.commit({"a": f"content {n}"}, build=f"b{n}")
    toy.store.log.tag("good", 2)
    toy.store.home.put("runs/vsepp/r1/run.json", json.dumps({"version": 3}).encode())
    toy.store.home.put("runs/vsepp/r2/run.json", b'{"vers')
    with pytest.raises(Corrupt, match=r"runs/vsepp/r2/run.json in .* does not say which version the run used"):
        retire(toy.store, keep_last=1)
    assert retire(toy.store, keep_last=1, force=True, dry_run=True).versions == (1, 2, 3, 4)
    toy.store.home.delete("runs/vsepp/r2/run.json")
    plan = retire(toy.store, keep_last=1, dry_run=True)
    assert plan.versions == (1, 4) and plan.entry is None and toy.store.log.head() == 6
    assert "tagged good" in plan.protected[2] and "run vsepp/r1" in plan.protected[3]
    plan = retire(toy.store, keep_last=1)
    assert plan.entry == 7 and list(toy.store.log.versions()) == [2, 3, 5]
    assert retire(toy.store, versions=[2, 5], force=True).versions == (2,), "the latest always stays"
    with pytest.raises(NotFound, match="version 9 .* does not exist; versions: 3, 5"):
        retire(toy.store, versions=[9])
    for wrong in ({}, {"keep_last": 1, "versions": [1]}, {"keep_last": 0}):
        with pytest.raises(UsageError):
            retire(toy.store, **wrong)  # type: ignore[arg-type]
    assert gc(toy.store, grace=0, keep_blobs=()).deleted
    assert [verify(toy.store, v).ok for v in (3, 5)] == [True, True]
    assert toy.commit({"a": "content 1"}).version == 6, "numbers are never used twice"


def test_signs_of_life(toy: Toy) -> None:
    with SignOfLife(toy.store, "b1", "build", every=0.02) as sign:
        [found] = alive(toy.store)
        assert (found.id, found.kind, found.pid) == ("b1", "build", os.getpid())
        until = time.monotonic() + 60
        while alive(toy.store)[0].refreshed == found.refreshed and time.monotonic() < until:
            time.sleep(0.02)
        assert alive(toy.store)[0].refreshed > found.refreshed
        assert sign.others("build") == []
    assert alive(toy.store) == []
    dead = subprocess.run(
        [sys.executable, "-c", _DIE, str(toy.store.root.url)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}, check=False,
    )  # fmt: skip
    assert dead.returncode == 9 and toy.store.home.list("builds") == ["dead.json"] and alive(toy.store) == []
    path = toy.store.home.local("builds/dead.json")
    value = json.loads(path.read_bytes())
    path.write_text(json.dumps(value | {"host": "elsewhere"}))
    assert [s.host for s in alive(toy.store)] == ["elsewhere"], "another machine: judged by its refresh"
    node = platform.node()
    path.write_text(json.dumps(value | {"host": f"{node}/another-start/{os.readlink('/proc/self/ns/pid')}"}))
    assert [s.machine for s in alive(toy.store)] == [node], "another machine of that name: other processes"
    path.write_text(json.dumps(value | {"host": "elsewhere", "refreshed": 0.0}))
    os.utime(path, (1, 1))
    assert alive(toy.store) == []
    gc(toy.store, keep_blobs=())
    assert toy.store.home.list("builds") == [], "gc buries the dead once they are old enough"
    path.parent.mkdir()
    path.write_text("{")
    assert [s.id for s in alive(toy.store)] == ["dead"], "unreadable and fresh: better safe"


_DIE = """
import os, sys
from toy_dataset import Toy
from diptych.storage.alive import SignOfLife
SignOfLife(Toy(sys.argv[1]).store, "dead", "crawl").__enter__()
os._exit(9)
"""


def test_builds_and_gc_look_at_each_other(toy: Toy) -> None:
    with SignOfLife(toy.store, "gc-1", "gc"):
        with pytest.raises(Conflict, match="gc is deleting"):
            SignOfLife(toy.store, "b1", "build", every=0.01, patience=0.05).__enter__()
        assert [s.id for s in alive(toy.store)] == ["gc-1"]
    with SignOfLife(toy.store, "b1", "build"):
        assert toy.store.home.list("builds") == ["b1.json"]
    assert STAGE == "toy"
