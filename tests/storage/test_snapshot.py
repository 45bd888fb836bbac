"""Snapshots: what they say of each record, and that equal content gives equal digests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.exceptions import Corrupt, NotFound, UsageError
from diptych.naming import record_id, shard_of
from diptych.planning.shape import shape_of
from diptych.records import Document
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, Mark, Row
from diptych.storage.lists import encode_table
from diptych.storage.lookup import find_records
from diptych.storage.references import snapshot_blobs
from diptych.storage.snapshot import (
    SCHEMA,
    Forgotten,
    Snapshot,
    cut_snapshot,
    read_forgotten,
    read_snapshot,
    replace_records,
    row_bytes,
    shrink,
)
from diptych.storage.store import Store, open_store
from diptych.storage.takedown import remember
from diptych.version import Version


@dataclass
class Named:
    name: str = "s"
    subset: str = "sub"
    complete: bool = False


WEB, FOLDER = Named(), Named(complete=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "root", "toy")


class Night:
    """One crawl, told in rows."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows: list[Row] = []

    def document(self, n: int, text: str = "text", images: tuple[str, ...] = (), **more: object) -> Night:
        blob = self.store.blobs.put(Document(text=f"{text} {n}").to_bytes())
        listed = json.dumps([[url, f"caption of {url}", "", ""] for url in images])
        row = DocumentRow(
            "", "s", "old", record_id("s", f"u{n}"), f"u{n}", f"http://a/{n}", "ok", document=blob, images=listed
        )
        self.rows.append(replace(row, **more))  # type: ignore[arg-type]
        return self

    def missed(self, n: int, outcome: str, code: str) -> Night:
        return self.document(n, outcome=outcome, code=code, document="", images="")

    def image(self, url: str, outcome: str = "ok", data: bytes = b"picture", **more: object) -> Night:
        good = {"sha256": self.store.blobs.put(data), "bytes": len(data)} if outcome == "ok" else {}
        self.rows.append(Attempt("", "s", "image", url, outcome, **{**good, **more}))  # type: ignore[arg-type]
        return self

    def end(self, *, done: bool = True) -> None:
        journal = FetchLog(self.store.home).begin()
        for row in self.rows:
            journal.write(replace(row, crawl=journal.crawl))
        if done:
            journal.write(Mark(journal.crawl, "source", "s"))
        journal.finish()


def outcomes(snapshot: Snapshot) -> dict[str, str]:
    return {row["source_id"]: row["outcome"] for row in snapshot.iter_rows()}


def test_a_row_says_everything(store: Store) -> None:
    Night(store).document(1, images=("http://a/i", "http://a/j"), split="test").image("http://a/i").image(
        "http://a/j", "failed_permanent", code="tiny"
    ).end()
    snapshot = cut_snapshot(store, [WEB])
    row = snapshot.record(record_id("s", "u1"))
    key, none = store.blobs.put(b"picture"), {"alt": "", "extra": ""}
    assert row == {
        "record": record_id("s", "u1"), "source": "s", "subset": "sub", "source_id": "u1", "url": "http://a/1",
        "content": Document(text="text 1").digest(), "outcome": "ok", "split": "test",
        "images": [
            {"url": "http://a/i", "key": key, "caption": "caption of http://a/i", **none, "outcome": "ok"},
            {"url": "http://a/j", "key": None, "caption": "caption of http://a/j", **none, "outcome": "failed:tiny"},
        ],
    }  # fmt: skip
    assert (snapshot.records, snapshot.rows, read_snapshot(store, snapshot.digest)) == (1, 1, snapshot)
    assert list(snapshot.image_keys()) == [key] and snapshot.record("0" * 32) is None


def test_the_digest_covers_values_and_nothing_else(store: Store, tmp_path: Path) -> None:
    Night(store).document(1, images=("http://a/i",)).image("http://a/i", started_at=5.0).document(2).end()
    first = cut_snapshot(store, [WEB])
    other = open_store(tmp_path / "elsewhere", "other")
    Night(other).document(2).image("http://a/i", "failed_transient", settled=False, attempt=1).end(done=False)
    Night(other).document(1, images=("http://a/i",)).image("http://a/i", attempt=2, seconds=9.0).end()
    Night(other).missed(1, "failed_transient", "http_500").image("http://a/i", "failed_transient", code="timeout").end()
    second = cut_snapshot(other, [WEB])
    assert second.digest == first.digest
    assert pq.ParquetFile(other.home.local(f"snapshots/{second.digest}.parquet")).schema_arrow.names[-1] == "images"
    assert cut_snapshot(other, [WEB]).digest == second.digest and len(other.home.list("snapshots")) == 1
    assert cut_snapshot(store, [Named(subset="new")]).digest != first.digest
    for change in (
        lambda night: night.document(1, "another", ("http://a/i",)),
        lambda night: night.document(1, images=()),
        lambda night: night.document(1, images=("http://a/i", "http://a/i")),
        lambda night: night.image("http://a/i", data=b"another picture"),
    ):
        before = cut_snapshot(store, [WEB]).digest
        change(Night(store)).end()
        assert cut_snapshot(store, [WEB]).digest != before


def test_the_digest_is_for_ever(store: Store) -> None:
    """The encoding of a row may never change: versions name snapshots by it."""
    Night(store).document(1, images=("http://a/i",), split="dev").image("http://a/i").missed(
        2, "gone", "http_404"
    ).end()
    assert cut_snapshot(store, [WEB]).digest == "7bd0c29b49ad6e4cf5a9a20825aa0a4bf989896c7fc04382c57b8cc96bdf2700"


def test_a_page_leaves_after_three_gone_crawls_and_comes_back(store: Store) -> None:
    Night(store).document(1).document(2).end()
    full = cut_snapshot(store, [WEB])
    for crawl in range(3):
        Night(store).missed(1, "gone", "http_404").document(2).end()
        if crawl == 0:
            Night(store).missed(1, "failed_transient", "http_500").document(2).end()
        now = cut_snapshot(store, [WEB])
        assert (now.digest == full.digest) == (crawl < 2)
    assert outcomes(now) == {"u1": "gone", "u2": "ok"} and now.records == 1
    assert shrink(full, now).share == 0.5 and shrink(full, now).dropped == (record_id("s", "u1"),)
    assert shrink(now, full).dropped == ()
    assert cut_snapshot(store, [WEB], gone_after=9).digest == full.digest
    Night(store).document(1).end()
    assert cut_snapshot(store, [WEB]).digest == full.digest


def test_outcomes_of_what_never_had_content(store: Store) -> None:
    Night(store).missed(1, "gone", "http_410").missed(2, "failed_transient", "timeout").missed(
        3, "refused", "robots"
    ).document(4).end()
    assert outcomes(cut_snapshot(store, [WEB])) == {
        "u1": "gone",
        "u2": "failed:timeout",
        "u3": "failed:robots",
        "u4": "ok",
    }


def test_a_withdrawn_permission_ends_a_record_too(store: Store) -> None:
    Night(store).document(1).end()
    for _ in range(3):
        Night(store).missed(1, "refused", "noai").end()
    assert outcomes(cut_snapshot(store, [WEB])) == {"u1": "failed:noai"}


def test_what_a_folder_no_longer_yields_leaves_at_once(store: Store) -> None:
    Night(store).document(1).document(2).end()
    Night(store).document(1).end(done=False)
    assert set(outcomes(cut_snapshot(store, [FOLDER]))) == {"u1", "u2"}, "that crawl did not read it to its end"
    Night(store).document(1).end()
    assert set(outcomes(cut_snapshot(store, [FOLDER]))) == {"u1"}
    assert set(outcomes(cut_snapshot(store, [WEB]))) == {"u1", "u2"}
    Night(store).missed(2, "left", "out_of_scope").end()
    assert set(outcomes(cut_snapshot(store, [WEB]))) == {"u1"}


def test_images_of_the_web_wait_and_files_do_not(store: Store) -> None:
    urls = ("http://a/i", "file:i.jpg")
    Night(store).document(1, images=urls).image(urls[0]).image(urls[1]).end()
    Night(store).image(urls[0], "gone").image(urls[1], "gone").end()
    row = cut_snapshot(store, [WEB]).record(record_id("s", "u1"))
    assert row is not None and [i["outcome"] for i in row["images"]] == ["ok", "gone"]
    Night(store).image(urls[0], "gone").end()
    Night(store).image(urls[0], "gone").end()
    row = cut_snapshot(store, [WEB]).record(record_id("s", "u1"))
    assert row is not None and [(i["outcome"], i["key"]) for i in row["images"]] == [("gone", None)] * 2


def test_missing_and_torn_blobs_are_named(store: Store) -> None:
    Night(store).document(1, images=("http://a/i",)).image("http://a/i").end()
    key = store.blobs.put(b"picture")
    path = store.home.local(f"raw/blobs/{key[:2]}/{key}")
    path.write_bytes(b"pict")
    with pytest.raises(Corrupt, match="http://a/i: 4 bytes instead of 7"):
        cut_snapshot(store, [WEB])
    store.home.delete(f"raw/blobs/{key[:2]}/{key}")
    with pytest.raises(Corrupt, match=rf"{key}.*--refresh"):
        cut_snapshot(store, [WEB])
    assert store.home.list("snapshots") == []


def test_forgotten_records_and_images_are_not_in_it(store: Store) -> None:
    Night(store).document(1, images=("http://a/i",)).document(2).document(3, images=("http://a/j", "http://a/i")).image(
        "http://a/i"
    ).image("http://a/j", data=b"j").end()
    hashes = [Forgotten.hash(x) for x in (record_id("s", "u1"), "http://a/2", store.blobs.put(b"j"))]
    folder = store.home.scratch("raw")
    pq.write_table(pa.table({"hash": hashes}), folder / "forgotten.parquet")
    assert record_id("s", "u1") in read_forgotten(store) and "else" not in read_forgotten(store)
    snapshot = cut_snapshot(store, [WEB])
    row = snapshot.record(record_id("s", "u3"))
    assert snapshot.rows == 1 and row is not None
    assert [i["outcome"] for i in row["images"]] == ["ok"]


def test_shards_partition_the_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.storage.snapshot.GROUP", 16)
    night = Night(store)
    for n in range(100):
        night.document(n)
    night.end()
    snapshot = cut_snapshot(store, [WEB])
    assert pq.ParquetFile(store.home.local(f"snapshots/{snapshot.digest}.parquet")).num_row_groups == 7
    everything = snapshot.table(["record"]).column("record").to_pylist()
    assert everything == sorted(everything) and len(everything) == 100
    for shards in (1, 2, 8, 256):
        parts = [snapshot.shard(n, shards, ["record"]).column("record").to_pylist() for n in range(shards)]
        assert [record for part in parts for record in part] == everything
        assert all(shard_of(record, shards) == n for n, part in enumerate(parts) for record in part)
    with pytest.raises(UsageError, match="power of two"):
        snapshot.shard(0, 3)


def test_fields_of_images_are_read_alone(store: Store) -> None:
    Night(store).document(1, images=("http://a/i", "http://a/j")).image("http://a/i").image(
        "http://a/j", "failed_permanent", code="tiny"
    ).document(2).missed(3, "gone", "http_404").end()
    snapshot = cut_snapshot(store, [WEB])
    key = store.blobs.put(b"picture")
    rows = {row["record"]: row["images"] for row in snapshot.iter_rows(["record", "images.key", "images.outcome"])}
    assert rows[record_id("s", "u1")] == [{"key": key, "outcome": "ok"}, {"key": None, "outcome": "failed:tiny"}]
    assert rows[record_id("s", "u2")] == rows[record_id("s", "u3")] == []
    assert snapshot.outcomes() == ({"ok": 2, "gone": 1}, {"ok": 1, "failed:tiny": 1})


def test_more_captions_than_pyarrow_reads_at_once(store: Store) -> None:
    """2.2 GB of captions, in a file of 200 kB."""
    image: dict[str, Any] = dict.fromkeys(("url", "key", "caption", "alt", "extra", "outcome"))
    document = store.blobs.put(Document(title="A title").to_bytes())
    image |= {"url": "http://a/i.jpg", "key": store.blobs.put(b"picture"), "caption": "c" * 900_000, "outcome": "ok"}
    row: dict[str, Any] = {"source": "s", "subset": "s", "content": document, "outcome": "ok", "split": None}
    ids = sorted(record_id("s", f"u{n}") for n in range(2500))
    digest = "0" * 64
    path = store.home.scratch("snapshots") / f"{digest}.parquet"
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for start in range(0, len(ids), 250):
            rows = [
                row | {"record": r, "source_id": r, "url": f"http://a/{r}", "images": [image]}
                for r in ids[start:][:250]
            ]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
        writer.add_key_value_metadata({"diptych": json.dumps({"records": 2500, "rows": 2500})})
    manifest: Any = SimpleNamespace(snapshot=digest, stages=(), dataset="toy", version=1)
    assert read_snapshot(store, digest).outcomes() == ({"ok": 2500}, {"ok": 2500})
    assert find_records(store, manifest, ids[7]) == find_records(store, manifest, f"http://a/{ids[7]}") == (ids[7],)
    assert find_records(store, manifest, "i.jpg") == find_records(store, manifest, image["key"]) == tuple(ids)
    with pytest.raises(NotFound, match="no record 'nobody'"):
        find_records(store, manifest, "nobody")
    assert shape_of(store, manifest).image_bytes == len(b"picture")
    assert Version(store, manifest).table("documents")["title"].to_pylist() == ["A title"] * 2500


def test_moving_rows_between_snapshots_holds_few_of_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.storage.snapshot.GROUP", 16)
    night = Night(store)
    for n in range(100):
        night.document(n)
    night.end()
    parent = cut_snapshot(store, [WEB])
    moved = [record_id("s", f"u{n}") for n in range(0, 100, 3)]
    again = Night(store)
    for n in range(1, 110):
        again.document(n, text="edited" if n % 3 == 0 else "text")
    again.end()
    new = cut_snapshot(store, [Named(complete=True)])
    read: list[str] = []
    written: list[int] = []
    plain, encoded = Snapshot.iter_rows, row_bytes

    def iter_rows(self: Snapshot, *columns: Any) -> Iterator[dict[str, Any]]:
        for row in plain(self, *columns):
            read.append(row["record"])
            yield row

    def write(row: dict[str, Any]) -> bytes:
        written.append(len(read))
        return encoded(row)

    monkeypatch.setattr(Snapshot, "iter_rows", iter_rows)
    monkeypatch.setattr("diptych.storage.snapshot.row_bytes", write)
    found = replace_records(store, parent.digest, new.digest, moved)
    assert written[0] < 60 and len(read) == 209
    rows = {row["record"]: row["content"] for row in found.iter_rows()}
    assert list(rows) == sorted(rows) and found.rows == 99, "u0 is not in the new one"
    for n in range(1, 100):
        assert rows[record_id("s", f"u{n}")] == Document(text=f"{'text' if n % 3 else 'edited'} {n}").digest()


def test_only_the_sources_that_are_named(store: Store) -> None:
    Night(store).document(1).end()
    with pytest.raises(NotFound, match="diptych crawl"):
        cut_snapshot(store, [Named(name="other")])
    with pytest.raises(NotFound, match="no snapshot"):
        read_snapshot(store, "0" * 64)
    running = FetchLog(store.home).begin()
    running.write(DocumentRow(running.crawl, "s", "", "9" * 32, "u9", "u9", "failed_transient", "timeout"))
    assert cut_snapshot(store, [WEB]).rows == 1, "a running crawl does not move a build's snapshot"
    assert cut_snapshot(store, [WEB], unfinished=True).rows == 2
    running.leave()


def damaged(data: bytes) -> list[bytes]:
    """Cut off, emptied, noise, and a bit turned in the first column's page."""
    turned = bytearray(data)
    turned[12] ^= 4
    return [data[: len(data) // 2], b"", b"noise" * 50, bytes(turned)]


def test_damage_is_named_whatever_is_read(store: Store) -> None:
    """These files bear no digest of their bytes: their pages' checksums stand for it."""
    Night(store).document(1, images=("http://a/i",)).image("http://a/i").end()
    snapshot = cut_snapshot(store, [WEB])
    store.home.put("raw/forgotten.parquet", encode_table(pa.table({"hash": [Forgotten.hash("http://a/x")]})))
    record = next(snapshot.iter_rows())["record"]
    log = FetchLog(store.home)
    readers: dict[str, list[Callable[[], object]]] = {
        f"raw/fetches/{log.crawls()[0]}.parquet": [log.index, log.begin, lambda: cut_snapshot(store, [WEB])],
        "raw/forgotten.parquet": [lambda: read_forgotten(store), lambda: remember(store)],
        f"snapshots/{snapshot.digest}.parquet": [
            snapshot.table, lambda: list(snapshot.iter_rows()), lambda: snapshot.record(record),
            lambda: list(snapshot_blobs(store, snapshot.digest)),
        ],
    }  # fmt: skip
    for path, calls in readers.items():
        file = store.home.local(path)
        good = file.read_bytes()
        for number, bad in enumerate(damaged(good)):
            file.write_bytes(bad)
            for call in calls if number < 3 else calls[:1]:  # the others may not read that page
                with pytest.raises(Corrupt, match=rf"{path} in .* is damaged: .*; (restore|move)"):
                    call()
        file.write_bytes(good)
        for call in calls[:1]:
            call()
