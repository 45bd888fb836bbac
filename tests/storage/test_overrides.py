"""What a person decided: the file, and what a snapshot makes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

from diptych.exceptions import RecipeError
from diptych.naming import digest_bytes, record_id
from diptych.records import Document
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, Mark
from diptych.storage.overrides import Override, Overrides, read_overrides
from diptych.storage.snapshot import OVERRIDDEN, SCHEMA, Snapshot, cut_snapshot, read_snapshot, replace_records, shrink
from diptych.storage.store import Store, open_store


@dataclass
class Named:
    name: str = "s"
    subset: str = "sub"
    complete: ClassVar[bool] = False


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three records, each with the image ``http://a/<n>.jpg`` and the logo of the site."""
    store = open_store(tmp_path / "root", "toy")
    journal = FetchLog(store.home).begin()
    for n in (1, 2, 3):
        blob = store.blobs.put(Document(text=f"text {n}").to_bytes())
        images = json.dumps([[f"http://a/{name}.jpg", "", "", ""] for name in (n, "logo")])
        record = record_id("s", f"u{n}")
        row = DocumentRow(journal.crawl, "s", "", record, f"u{n}", f"http://a/{n}", "ok", document=blob, images=images)
        journal.write(row)
    for name in ("1", "2", "3", "logo"):
        data = name.encode()
        key = store.blobs.put(data)
        url = f"http://a/{name}.jpg"
        journal.write(Attempt(journal.crawl, "s", "image", url, "ok", sha256=key, bytes=len(data)))
    journal.write(Mark(journal.crawl, "source", "s"))
    journal.finish()
    return store


def cut(store: Store, overrides: Overrides | None = None) -> Snapshot:
    return cut_snapshot(store, [Named()], overrides=overrides)


def test_the_file(tmp_path: Path) -> None:
    assert not read_overrides(tmp_path / "none.csv")
    path = tmp_path / "overrides.csv"
    path.write_text(
        f'\ufeffkey,decision,reason,who\nHTTP://A.example:80/x?utm_source=1,Drop,"an ad, sold",ann\n{"AB" * 32},keep\n'
    )
    found = read_overrides(path)
    assert found.of("http://a.example/x") == Override("drop", "an ad, sold", "ann")
    assert found.of(None, "nothing") is None and found.unused == ("ab" * 32,)
    assert found.of("ab" * 32, "http://a.example/x") == Override("drop", "an ad, sold", "ann")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,reason\n", "line 1: expected the columns key,decision,reason,who"),
        ("key,decision,why\n", "line 1: expected the columns"),
        ("key,decision\na,keep\nb,maybe\n", "line 3, decision: expected keep or drop, found 'maybe'"),
        ("key,decision\n ,keep\n", "line 2, key: expected a record id"),
        ("key,decision\na,keep,x\n", "line 2: expected at most 2 values"),
        ("key,decision\na,keep\nb,keep\na,drop\n", "line 4: 'a' has another decision in line 2"),
        ("key,decision\n\xff,keep\n", "expected UTF-8 CSV"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "o.csv").write_text(text, encoding="latin-1")
    with pytest.raises(RecipeError, match=message):
        read_overrides(tmp_path / "o.csv")


def test_decisions_that_meet_nothing_change_no_digest(store: Store) -> None:
    plain = cut(store)
    assert not plain.overridden and plain.shard(0, 2).schema.equals(SCHEMA)
    path = store.home.local(f"snapshots/{plain.digest}.parquet")
    assert pq.read_schema(path).equals(SCHEMA, check_metadata=False)
    assert cut(store, Overrides()).digest == cut(store, Overrides({"http://else/": Override("drop")})).digest
    assert cut(store).digest == plain.digest


def test_drop_takes_the_bytes_and_says_who_did(store: Store) -> None:
    plain = cut(store)
    logo = digest_bytes(b"logo")
    overrides = Overrides({record_id("s", "u1"): Override("drop", "r", "me"), logo: Override("drop", "logo", "you")})
    found = cut(store, overrides)
    assert found.digest != plain.digest and found.overridden and overrides.unused == ()
    assert read_snapshot(store, found.digest) == found and (found.records, found.rows) == (2, 3)
    row = found.record(record_id("s", "u1"))
    assert row is not None and (row["outcome"], row["content"], row["images"]) == ("dropped", None, [])
    assert row["override"] == {"decision": "drop", "reason": "r", "who": "me"}
    row = found.record(record_id("s", "u2"))
    assert row is not None and row["override"] is None
    assert [(i["key"], i["outcome"]) for i in row["images"]] == [(digest_bytes(b"2"), "ok"), (None, "dropped")]
    assert row["images"][0]["override"] is None and row["images"][1]["override"]["who"] == "you"
    assert shrink(plain, found).dropped == (record_id("s", "u1"),)
    assert cut(store, Overrides({logo: Override("drop", "another reason")})).digest != found.digest


def test_keep_is_written_beside_what_it_keeps(store: Store) -> None:
    found = cut(store, Overrides({"http://a/1": Override("keep"), "http://a/2.jpg": Override("keep", "art")}))
    assert found.records == 3 and found.shard(0, 1).schema.equals(OVERRIDDEN)
    rows = {row["source_id"]: row for row in found.iter_rows()}
    assert rows["u1"]["override"]["decision"] == "keep" and rows["u1"]["outcome"] == "ok"
    assert rows["u2"]["images"][0]["override"] == {"decision": "keep", "reason": "art", "who": ""}
    assert found.shard(0, 1 << 20).schema.equals(OVERRIDDEN), "an empty shard looks like the others"


def test_rows_move_between_snapshots_with_and_without_decisions(store: Store) -> None:
    plain, kept = cut(store), cut(store, Overrides({"http://a/1": Override("keep")}))
    one, two = record_id("s", "u1"), record_id("s", "u2")
    assert replace_records(store, plain.digest, kept.digest, [one]).digest == kept.digest
    assert replace_records(store, kept.digest, plain.digest, [one]).digest == plain.digest
    assert replace_records(store, kept.digest, plain.digest, [two]).digest == kept.digest
