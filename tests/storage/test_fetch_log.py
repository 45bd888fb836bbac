"""The fetch log: journals that survive kills, and what their rows add up to."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.exceptions import Conflict, Corrupt, NotFound
from diptych.storage.fetch_log import (
    Attempt,
    DocumentRow,
    FetchLog,
    LogIndex,
    Mark,
    Row,
    encode_row,
    read_journal,
)
from diptych.storage.overlay import Overlay
from diptych.storage.root import LocalRoot

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
ATTEMPTS = st.builds(
    Attempt,
    crawl=TEXT, source=TEXT, kind=st.sampled_from(["page", "image"]), url=TEXT, outcome=st.sampled_from(["ok", "gone"]),
    final_url=TEXT, attempt=st.integers(0, 9), started_at=st.floats(0, 1e10), status=st.integers(0, 999),
    bytes=st.integers(0, 2**40), text=TEXT, settled=st.booleans(),
)  # fmt: skip
DOCUMENTS = st.builds(DocumentRow, *([TEXT] * 7), images=TEXT, split=TEXT)


@pytest.fixture
def log(tmp_path: Path) -> FetchLog:
    return FetchLog(LocalRoot(tmp_path))


def page(crawl: str, outcome: str = "ok", url: str = "http://a/1", **more: object) -> Attempt:
    given = {"sha256": "f" * 64, "bytes": 9} if outcome == "ok" else {}
    return Attempt(crawl, "s", "page", url, outcome, **{**given, **more})  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(st.lists(ATTEMPTS | DOCUMENTS, max_size=8))
def test_rows_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    log = FetchLog(LocalRoot(tmp_path_factory.mktemp("log")))
    journal = log.begin()
    for row in rows:
        journal.write(row)
    path = log.root.scratch("raw/fetches") / f"{journal.crawl}.jsonl"
    assert [r for r in read_journal(path) if not isinstance(r, Mark)] == rows
    journal.finish()
    assert [r for r in log.rows(journal.crawl) if not isinstance(r, Mark)] == rows


def test_a_finished_crawl_is_parquet_and_crawls_are_numbered(log: FetchLog) -> None:
    for _ in range(3):
        journal = log.begin()
        journal.write(page(journal.crawl))
        journal.finish("{}")
    assert [crawl.partition("-")[0] for crawl in log.crawls()] == ["000001", "000002", "000003"]
    assert not [name for name in log.root.list("raw/fetches") if name.endswith(".jsonl")]
    with pytest.raises(NotFound, match="no crawl 7"):
        list(log.rows("7"))


def test_a_killed_crawl_is_continued_and_a_torn_line_dropped(log: FetchLog) -> None:
    journal = log.begin("conditional")
    journal.write(page(journal.crawl, url="http://a/1"))
    journal.leave()
    path = log.root.scratch("raw/fetches") / f"{journal.crawl}.jsonl"
    whole = path.read_bytes()
    torn = encode_row(page(journal.crawl, url="http://a/2"))
    for cut in (1, len(torn) // 2, len(torn) - 1):
        path.write_bytes(whole + torn[:cut])
        again = log.begin("conditional")
        assert again.crawl == journal.crawl
        assert again.index.url("s", "http://a/1") is not None and again.index.url("s", "http://a/2") is None
        again.leave()
        assert path.read_bytes() == whole
    path.write_bytes(whole + torn[:9] + b"\0" * 300)
    last = log.begin("conditional")
    last.write(page(last.crawl, url="http://a/3"))
    last.finish()
    assert [r.url for r in log.rows(last.crawl) if isinstance(r, Attempt)] == ["http://a/1", "http://a/3"]


def test_damage_in_the_middle_is_an_error(log: FetchLog) -> None:
    journal = log.begin()
    journal.write(page(journal.crawl))
    journal.leave()
    path = log.root.scratch("raw/fetches") / f"{journal.crawl}.jsonl"
    path.write_bytes(b"{oops\n" + path.read_bytes())
    with pytest.raises(Corrupt, match="line 1"):
        log.begin()
    with pytest.raises(Corrupt):  # and the lock is free again
        log.begin()


def test_another_mode_begins_anew_and_keeps_what_was_fetched(log: FetchLog) -> None:
    journal = log.begin("conditional")
    journal.write(page(journal.crawl))
    journal.leave()
    other = log.begin("refresh")
    assert other.crawl != journal.crawl and other.index.url("s", "http://a/1") is not None
    other.finish()
    assert len(log.crawls()) == 2


def test_killed_before_its_first_row(log: FetchLog) -> None:
    (log.root.scratch("raw/fetches") / "000001-abcdef.jsonl").write_bytes(b'{"row":"ma')
    journal = log.begin()
    journal.finish()
    assert log.crawls() == [journal.crawl]


def test_a_dry_run_sees_a_crawl_that_was_killed_after_its_end(log: FetchLog, tmp_path: Path) -> None:
    journal = log.begin()
    journal.write(page(journal.crawl))
    journal.write(Mark(journal.crawl, "end"))
    journal.leave()
    over = FetchLog(Overlay(log.root, LocalRoot(tmp_path / "over")))
    assert over.unfinished() == [journal.crawl] and over.index().url("s", "http://a/1") is not None
    assert not (tmp_path / "over").exists(), "looking makes no folder"


def test_killed_between_rolling_and_deleting(log: FetchLog) -> None:
    journal = log.begin()
    journal.write(page(journal.crawl))
    path = log.root.scratch("raw/fetches") / f"{journal.crawl}.jsonl"
    journal.leave()
    before = path.read_bytes()
    log.roll(journal.crawl, path)
    path.write_bytes(before)
    assert log.unfinished() == []
    new = log.begin()
    assert new.crawl != journal.crawl and not path.exists()
    new.leave()


def test_a_torn_parquet_file_does_not_cost_its_journal(log: FetchLog) -> None:
    journal = log.begin()
    journal.write(page(journal.crawl))
    journal.leave()
    folder = log.root.scratch("raw/fetches")
    (folder / f"{journal.crawl}.parquet").write_bytes(b"PAR1")
    log.begin().leave()
    assert [r.url for r in log.rows(journal.crawl) if isinstance(r, Attempt)] == ["http://a/1"]


def test_a_full_disk_leaves_no_half_line(log: FetchLog, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = log.begin()
    write, calls = os.write, iter(range(9))

    def full(handle: int, data: bytes) -> int:
        match next(calls):
            case 0:
                return write(handle, bytes(data)[:40])
            case 1:
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr("diptych.storage.fetch_log.os.write", full)
    with pytest.raises(OSError, match="No space"):
        journal.write(page(journal.crawl, url="http://a/1"))
    journal.write(page(journal.crawl, url="http://a/2"))  # somebody has made room
    monkeypatch.undo()
    journal.finish()
    assert [r.url for r in log.rows(journal.crawl) if isinstance(r, Attempt)] == ["http://a/2"]


def test_one_crawl_at_a_time_and_a_dead_one_blocks_nobody(log: FetchLog, tmp_path: Path) -> None:
    journal = log.begin()
    with pytest.raises(Conflict, match="another crawl"):
        log.begin()
    journal.leave()
    code = (
        "import os, sys; from diptych.storage.fetch_log import FetchLog; from diptych.storage.root import LocalRoot\n"
        f"FetchLog(LocalRoot({str(tmp_path)!r})).begin(); os.kill(os.getpid(), 9)"
    )
    paths = os.pathsep.join(sys.path)
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}).returncode == -9
    log.begin().leave()


def test_last_good_bytes_survive_failures() -> None:
    index = LogIndex()
    index.apply([page("1", etag='"a"', last_modified="Mon", text="noarchive", started_at=5.0)])
    index.apply([page("2", "not_modified", etag='"b"'), page("3", "failed_transient", code="http_500", status=500)])
    state = index.url("s", "http://a/1")
    assert state is not None
    assert (state.sha256, state.bytes, state.etag, state.last_modified, state.good_at) == (
        "f" * 64,
        9,
        '"b"',
        "Mon",
        5.0,
    )
    assert (state.outcome, state.code, state.crawl) == ("failed_transient", "http_500", "3")


def test_gone_counts_crawls_in_a_row() -> None:
    index = LogIndex()

    def gone(*rows: Attempt) -> int:
        index.apply(rows)
        state = index.url("s", "http://a/1")
        assert state is not None
        return state.gone

    assert gone(page("1")) == 0
    assert gone(page("2", "gone")) == 1
    assert gone(page("2", "gone")) == 1, "the same crawl counts once"
    assert gone(page("3", "failed_transient")) == 1, "a failure neither counts nor ends the row"
    assert gone(page("4", "gone"), page("5", "gone")) == 3
    assert gone(page("6", "not_modified")) == 0
    assert gone(replace(page("7", "gone"), settled=False)) == 0, "an attempt that is retried settles nothing"


def test_files_of_two_sources_are_two_files() -> None:
    index = LogIndex()
    one = Attempt("1", "a", "file", "file:x.jpg", "ok", sha256="1" * 64)
    index.apply([one, replace(one, source="b", sha256="2" * 64), replace(one, url="http://h/", sha256="3" * 64)])
    a, b = index.url("a", "file:x.jpg"), index.url("b", "file:x.jpg")
    assert a is not None and b is not None and (a.sha256[0], b.sha256[0]) == ("1", "2")
    assert index.url("b", "http://h/") == index.url("a", "http://h/") is not None


def test_records_keep_their_last_good_reading() -> None:
    index = LogIndex()
    good = DocumentRow("1", "s", "x", "r1", "id", "u", "ok", document="d" * 64, images='[["u","c","",""]]', page="p")
    index.apply([good, replace(good, crawl="2", outcome="refused", code="noai", document="", images="", page="")])
    state = index.record("r1")
    assert state is not None
    assert (state.document, state.images, state.outcome, state.code, state.gone) == (
        "d" * 64,
        good.images,
        "refused",
        "noai",
        1,
    )
    index.apply([replace(good, record=f"r{n}", source="t") for n in range(2, 2500)] + [Mark("1", "source", "t")])
    names = [s.record for s in index.records()]
    assert len(names) == 2499 and names == sorted(names)
    assert len(list(index.records("t"))) == 2498 and (index.done_crawl("t"), index.done_crawl("s")) == ("1", "")


def test_only_finished_crawls_count_unless_asked(log: FetchLog) -> None:
    journal = log.begin()
    journal.write(page(journal.crawl))
    assert log.index().url("s", "http://a/1") is None
    assert log.index(unfinished=True).url("s", "http://a/1") is not None
    journal.finish()
    assert log.index().url("s", "http://a/1") is not None
