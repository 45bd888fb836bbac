"""Files that people wrote by hand: what does not fit is named by file and line or field; nothing vanishes unseen.

The file is long because every kind of source is given the same mistakes, and their answers should read alike.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.exceptions import RecipeError, SourceError, UsageError
from diptych.records import Document
from diptych.sources.crawl import crawl
from diptych.sources.csv_rows import read_csv
from diptych.sources.documents import read_document
from diptych.sources.exported import FORMAT
from diptych.sources.fields import Wrong, load_json
from diptych.sources.flickr_entities import read_boxes
from diptych.sources.inspect import suggest
from diptych.sources.json_stream import stream_arrays
from diptych.sources.malformed import Malformed
from diptych.sources.registry import open_source
from diptych.sources.search import read_commons
from diptych.sources.tables import read_rows
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import Store

JPEG = b"\xff\xd8\xff\xe0" + b"picture"
FETCH = {"contact": "me@example.org", "fetch": {"robots": False, "retries": 0, "timeout": 0.2}, "min_success": 0}
DEEP = "[" * 200_000
Read = Callable[..., tuple[Any, dict[str, dict[str, Any]]]]


@pytest.fixture
def read(store: Store, tmp_path: Path) -> Read:
    """Crawl one source below ``in``; (source, rows by source id with ``document``)."""
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / f"in/{name}.jpg").write_bytes(JPEG + name.encode())

    def go(kind: str = "folder", **settings: object) -> tuple[Any, dict[str, dict[str, Any]]]:
        given = {"path": "."} if kind == "folder" else {}
        source = open_source({"kind": kind, "name": "s", **given, **settings}, tmp_path / "in")
        crawl(store, [source])
        found = {row["source_id"]: row for row in cut_snapshot(store, [source]).iter_rows()}
        for row in found.values():
            row["document"] = Document.from_bytes(store.blobs.get(row["content"])) if row["content"] else None
        return source, found

    return go


def captions(found: dict[str, dict[str, Any]]) -> dict[str, str | None]:
    return {name: row["document"].text if row["document"] else row["outcome"] for name, row in found.items()}


# --- quotes ------------------------------------------------------------------------------------------------


UNCLOSED = 'file,caption\na.jpg,"two\nlines, and a ""word"""\nb.jpg,"never closed\nc.jpg,three\nd.jpg,four\n'


def test_a_quote_that_is_never_closed_hides_no_rows(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/captions.csv").write_text(UNCLOSED)
    expected = (
        r"source 's', .*captions\.csv, line 4: expected a quoted value that is closed, found, in line 6: the file"
    )
    with pytest.raises(SourceError, match=expected + " ends inside it; close the quote, or write .* as two"):
        read()
    (tmp_path / "in/list.csv").write_text(UNCLOSED.replace("file,", "url,").replace(".jpg", ""))
    with pytest.raises(SourceError, match=r"source 's', .*list\.csv, line 4: expected a quoted value"):
        read("urls", path="list.csv", **FETCH)
    with pytest.raises(SourceError, match="line 4: expected a quoted value"):
        suggest(str(tmp_path / "in/list.csv"))


def test_quoted_lines_are_read(read: Read, tmp_path: Path) -> None:
    text = 'file,caption\r\na.jpg,"two\r\nlines, and a ""word"""\r\n\r\nb.jpg,5" wide\r\n"c.jpg",""\r\n'
    (tmp_path / "in/captions.csv").write_bytes(text.encode())
    source, found = read()
    assert captions(found) == {"a.jpg": 'two lines, and a "word"', "b.jpg": '5" wide', "c.jpg": ""}
    assert source.malformed == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('x,y\n1,"a\n2,"b"\n3,c\n', 2),  # the quote of the next row closes it
        ('x,y\n"1\n1","a\nb","c"\n\n3,"d" e\n"4\n', 7),
        ('x,y\n"a\nb","c\nd" e\n', 3),  # it opens in the middle of a row
        ('x,y\n1,"' + "long\n" * 30_000, 2),  # the csv module gives up at 131,072 characters
        ('x,y\n1,"a', 2),
    ],
)
def test_the_line_where_a_quote_opens(text: str, line: int) -> None:
    malformed = Malformed("s", 100)
    with pytest.raises(SourceError, match=f"a.csv, line {line}: expected a quoted value"):
        list(read_csv(Path("a.csv"), io.StringIO(text, newline=""), ",", malformed))


def test_a_bad_row_of_one_line_is_left_out() -> None:
    malformed = Malformed("s", 100)
    text = 'x,y\n1,"say "hi" to"\n2,b\n3\n"4",d\n'
    rows = list(read_csv(Path("a.csv"), io.StringIO(text), ",", malformed))
    assert rows == [(3, {"x": "2", "y": "b"}), (5, {"x": "4", "y": "d"})]
    assert [line.split(": ")[1] for line in malformed.lines] == ["line 2", "line 4"]
    with pytest.raises(SourceError, match="line 1: expected a CSV row"):
        list(read_csv(Path("a.csv"), io.StringIO('x,"y"z\n1,2\n'), ",", malformed))
    with pytest.raises(SourceError, match="line 1: expected columns in UTF-8"):
        list(read_csv(Path("a.csv"), io.StringIO("x,\udcff\n1,2\n"), ",", malformed))


# --- lines of captions -------------------------------------------------------------------------------------


def test_a_line_without_end_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.sources.tables._LONGEST", 200_000)
    (tmp_path / "l.csv").write_text(f"file,caption\na.jpg,x\nb.jpg,{'y' * 700_000}\nc.jpg,z\n")
    malformed = Malformed("s", 5)
    assert [row["caption"] for _, row in read_rows(tmp_path / "l.csv", malformed)] == ["x", "z"]
    assert len(malformed.lines) == 4, "700,000 letters are in four"


def test_captions_in_lists_and_of_other_types(read: Read, tmp_path: Path) -> None:
    lines = [
        {"file": "a.jpg", "caption": ["A  man", None, "B", ""], "level": 3},
        {"file": "b.jpg", "captions": ["one", "two"]},
        {"file": "c.jpg", "text": {"a": 1}},
        {"file": "d.jpg", "caption": ["A", 5]},
        {"file": "e.jpg", "caption": "", "captions": ["E"]},
        {"file": "a.jpg", "caption": "more"},
        {"file": ["a.jpg"], "caption": "x"},
        {"file": "b.jpg", "caption": 7},
    ]
    (tmp_path / "in/captions.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    source, found = read()
    assert captions(found) == {
        "a.jpg": "A man\nB\nmore", "b.jpg": "one\ntwo", "c.jpg": "failed:malformed", "d.jpg": "failed:malformed",
        "e.jpg": "E",
    }  # fmt: skip
    assert found["a.jpg"]["images"][0]["extra"] == '{"level":3}'
    assert source.malformed == [
        "captions.jsonl: line 3: expected text or a list of texts in 'text', found an object {'a': 1}",
        "captions.jsonl: line 4: expected text or a list of texts in 'caption', found a list ['A', 5]",
        "captions.jsonl: line 7: expected the name of a picture's file in 'file', found a list ['a.jpg']",
        "captions.jsonl: line 8: expected text or a list of texts in 'caption', found the number 7",
    ]


def test_a_line_that_cannot_be_read_keeps_what_was_good(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "in/captions.jsonl"
    path.write_text('{"file": "a.jpg", "caption": "good"}\n{"file": "b.jpg", "caption": "b"}')
    read()
    path.write_text('{"file": "a.jpg", "caption": 5}\n{"file": "b.jpg", "caption": "b"}')
    assert read()[1]["a.jpg"]["document"].text == "good"


def test_bad_lines_of_captions_are_named_by_their_own_number(read: Read, tmp_path: Path) -> None:
    lines = [b'{"file": "a.jpg", "caption": "A"}', b"{", '{"file": "b.jpg", "caption": "é"}'.encode("latin-1")]
    lines += [b"", DEEP.encode(), b"[1]", b'{"caption": "no file"}', b'{"file": "c.jpg"}']
    (tmp_path / "in/captions.jsonl").write_bytes(b"\n".join(lines))
    source, found = read()
    assert captions(found) == {"a.jpg": "A", "c.jpg": ""}
    assert [line.split(": ")[1] for line in source.malformed] == ["line 2", "line 3", "line 5", "line 6", "line 7"]
    assert "line 1" not in "".join(source.malformed) and "utf-8" in source.malformed[1]
    with pytest.raises(SourceError, match="more than 2 malformed entries"):
        read(max_malformed=2)
    (tmp_path / "in/captions.jsonl").write_bytes(b"{\n{\n")
    with pytest.raises(SourceError, match=r"expected at least one entry that can be read(?s:.*)line 2"):
        read()


def test_an_empty_file_cell_is_a_malformed_row(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/captions.csv").write_bytes(
        "file,caption\na.jpg,A\n,nobody\nb.jpg,é,more\nc.jpg,\xff\n".encode("latin-1")
    )
    source, found = read()
    assert captions(found) == {"a.jpg": "A"}
    assert source.malformed[0] == (
        "captions.csv: line 3: expected the name of a picture's file in 'file', found an empty value"
    )
    assert [line.split(": ")[1] for line in source.malformed] == ["line 3", "line 4", "line 5"]
    (tmp_path / "in/captions.csv").write_text("name,caption\na.jpg,A\n")
    with pytest.raises(
        SourceError, match=r"captions.csv, line 1: expected a column file or .*found \['caption', 'name'\]"
    ):
        read()


def test_lists_of_addresses_without_a_good_row(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/l.csv").write_text("url,caption\n,x\nftp://h/a.jpg,y\n")
    with pytest.raises(SourceError, match=r"at least one entry(?s:.*)line 2(?s:.*)line 3"):
        read("urls", path="l.csv", **FETCH)


# --- documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"keyphrases": 5}, "keyphrases: expected text or a list of texts, found the number 5"),
        ({"keyphrases": [{"a": 1}]}, "keyphrases: expected text or a list of texts, found a list"),
        ({"images": 5}, "images: expected a list of files, or of objects with 'file', found the number 5"),
        ({"images": "images/a.jpg"}, "images: expected a list .*, found text 'images/a.jpg'"),
        ({"images": {"file": "a.jpg"}}, r"images: expected a list .*, found an object \{'file': 'a.jpg'\}"),
        ({"images": ["a.jpg", 5]}, r"images\[1\]: expected a file or an object with 'file', found the number 5"),
        ({"images": [{"file": "a.jpg", "captions": 5}]}, r"images\[0\].captions: expected text or a list of texts"),
        ({"images": [{"file": "a.jpg", "alt": []}]}, r"images\[0\].alt: expected text, found a list \[\]"),
        ({"text": {"a": 1}}, r"text: expected text, found an object \{'a': 1\}"),
        ({"split": 5}, "split: expected text, found the number 5"),
        (
            {"split": "holdout"},
            "split: expected an official split .*dev, .*test, .*train.* or nothing, found 'holdout'",
        ),
        ([1], r"file: expected a JSON object, found a list \[1\]"),
        (DEEP, "file: expected a JSON object, found values nested too deeply"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "file: expected a JSON object, found values nested deeper than 200"),
        ('{"text": ', "file: expected a JSON object, found Expecting value: line 1 column 10"),
        ("9" * 5000, "file: expected a JSON object, found Exceeds the limit"),
    ],
)
def test_a_document_of_another_shape_is_a_failed_record(read: Read, tmp_path: Path, content: Any, said: str) -> None:
    documents = tmp_path / "in/documents"
    documents.mkdir()
    (documents / "bad.json").write_text(content if isinstance(content, str) else json.dumps(content))
    (documents / "good.json").write_text('{"text": "good", "images": [{"file": "a.jpg", "captions": ["x", "y"]}]}')
    source, found = read()
    assert captions(found) == {"bad": "failed:malformed", "good": "good"}
    assert found["good"]["images"][0]["caption"] == "x\ny"
    assert len(source.malformed) == 1
    with pytest.raises(Wrong, match=said):
        read_document((documents / "bad.json").read_bytes(), "")
    assert source.malformed[0].startswith("documents/bad.json: ") and said[:5] in source.malformed[0]


def test_documents_of_any_depth_end_no_crawl() -> None:
    for depth in (*range(150, 260), *range(900, 1100, 3)):
        nested = "[" * depth + "]" * depth
        try:
            read_document(f'{{"text": "x", "more": {nested}}}'.encode(), "")
        except Wrong:
            assert depth > 190
        else:
            assert depth < 200
    assert load_json("[" * 200 + "]" * 200) and load_json("[[]]" * 0 + "[" + "[]," * 999 + "[]]")


def test_sidecars_of_another_shape(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/a.json").write_text('{"captions": ["one", "two"], "level": 1}')
    (tmp_path / "in/b.json").write_text('{"caption": 5}')
    (tmp_path / "in/c.json").write_text(DEEP)
    source, found = read()
    assert captions(found) == {
        "a.jpg": "one\ntwo", "b.jpg": "failed:malformed", "c.jpg": "failed:malformed", "d.jpg": "",
    }  # fmt: skip
    assert found["a.jpg"]["document"].extra == '{"level":1}'
    assert source.malformed[0] == "b.json: caption: expected text or a list of texts, found the number 5"


def test_many_bad_documents_are_rows_and_the_first_hundred_are_named(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/documents").mkdir()
    for number in range(130):
        (tmp_path / f"in/documents/{number}.json").write_text("5")
    source, found = read()
    assert len(found) == 130 and len(source.malformed) == 100


# --- official splits ---------------------------------------------------------------------------------------


def test_a_split_of_another_name_is_refused_where_it_stands(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/captions.csv").write_text(
        "file,caption,split\na.jpg,A,holdout\nb.jpg,B,Validation\nc.jpg,C,\nd.jpg,D, \n"
    )
    source, found = read()
    assert {name: row["split"] for name, row in found.items() if row["document"]} == {
        "b.jpg": "Validation", "c.jpg": None, "d.jpg": None,
    }  # fmt: skip
    assert source.malformed == [
        "captions.csv: line 2: expected an official split (dev, restval, test, testing, train, training, val, valid, "
        "validation) or nothing in 'split', found 'holdout'"
    ]


def test_splits_of_the_other_sources(read: Read, tmp_path: Path, server: Any) -> None:
    address = f"{server.url}/x.jpg"
    fetch = {**FETCH, "fetch": {**FETCH["fetch"], "allow_private": True}}  # type: ignore[dict-item]
    (tmp_path / "in/l.csv").write_text(f"url,part\n{address}?1,holdout\n{address}?2,test\n")
    source, found = read("urls", path="l.csv", split="part", **fetch)
    assert [row["split"] for row in found.values()] == ["test"]
    assert source.malformed[0].startswith("l.csv: line 2: expected an official split")
    posts = [{"id": 1, "text": "x", "split": "holdout"}, {"id": 2, "text": "y", "split": "dev"}]
    posts.append({"id": 3, "text": "z", "split": 5})
    (tmp_path / "in/t.jsonl").write_text("\n".join(json.dumps(post) for post in posts))
    source, found = read("tweets", path="t.jsonl", **fetch)
    assert {n: r["split"] for n, r in found.items()} == {"2": "dev"} and "line 1" in source.malformed[0]
    image = {"bytes": JPEG, "path": "x.jpg"}
    pq.write_table(
        pa.Table.from_pylist([{"image": image, "part": part} for part in ("holdout", "test", None)]),
        tmp_path / "in/p.parquet",
    )
    source, found = read("parquet", path="p.parquet", split="part")
    assert [row["outcome"] for row in found.values()].count("failed:malformed") == 1
    assert source.malformed[0].startswith("p.parquet: row 0: expected an official split")
    for kind, given in (("coco", {"captions": "c", "images": "."}), ("webdataset", {"path": "."})):
        with pytest.raises(RecipeError, match=r"split: .*expected an official split \(dev"):
            open_source({"kind": kind, "name": "s", "split": "holdout", **given}, tmp_path)


# --- the other sources -------------------------------------------------------------------------------------


def test_lists_of_addresses_with_other_types(read: Read, tmp_path: Path, server: Any) -> None:
    lines = [{"url": f"{server.url}/{n}.jpg", "caption": c} for n, c in enumerate(({"a": 1}, ["A", "B"], [["C"]], 5))]
    lines.append({"url": [f"{server.url}/9.jpg"], "caption": {"b": 1}})
    (tmp_path / "in/l.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    fetch = {**FETCH, "fetch": {**FETCH["fetch"], "allow_private": True}}  # type: ignore[dict-item]
    source, found = read("urls", path="l.jsonl", **fetch)
    assert sorted(str(text) for text in captions(found).values()) == ["5", "A\nB"]
    assert [line.split(": ")[1] for line in source.malformed] == ["line 1", "line 3", "line 5"]


def test_coco_entries_of_other_types(read: Read, tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "license": [1]},
        {"id": [2], "file_name": "b.jpg"},
        {"id": 3, "file_name": "c.jpg", "license": 1},
    ]
    annotations = [{"image_id": 1, "caption": "A"}, {"image_id": {}, "caption": "B"}, {"image_id": 1, "caption": ["C"]}]
    given = {"licenses": [{"id": [], "name": "x"}, {"id": 1, "name": "CC"}], "images": images}
    (tmp_path / "in/captions.json").write_text(json.dumps(given | {"annotations": annotations}))
    boxes = [
        {"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": [5]},
        {"image_id": [], "bbox": [1, 2, 3, 4]},
        {"image_id": 1, "bbox": [1, 2, float("inf"), 4], "category_id": 5},
        {"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 5},
    ]
    categories = [{"id": {}, "name": "x"}, {"id": 5, "name": "cat"}]
    (tmp_path / "in/instances.json").write_text(json.dumps({"annotations": boxes, "categories": categories}))
    source, found = read("coco", captions="captions.json", instances="instances.json", images=".")
    assert captions(found) == {"1": "A", "3": ""}
    assert json.loads(found["1"]["images"][0]["extra"])["classes"] == ["cat"]
    assert json.loads(found["3"]["images"][0]["extra"])["licence"] == "CC"
    assert [line.split(": ")[1] for line in source.malformed] == [
        "images[1]", "annotations[1]", "annotations[2]", "annotations[0]", "annotations[1]", "annotations[2]",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [DEEP, "9" * 5000])
def test_large_json_files_with_values_that_cannot_be(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.json").write_text(f'{{"images": [1, {value}]}}')
    with pytest.raises(SourceError, match="character 15: expected a JSON value"):
        list(stream_arrays(tmp_path / "a.json", frozenset({"images"})))


def test_posts_of_other_types(read: Read, tmp_path: Path) -> None:
    posts: list[Any] = [
        {"id": "1", "text": "x", "attachments": {"media_keys": [["k"], 5]}, "entities": 5, "images": {"a": 1}},
        {"data": {"id": "2", "text": "y"}, "includes": {"media": [{"media_key": ["k"], "url": 5}, 7]}},
        {"data": {"id": ["3"], "text": "z"}},
        {"id": 4, "text": ["z"]},
    ]
    (tmp_path / "in/t.jsonl").write_text("\n".join(json.dumps(post) for post in posts))
    source, found = read("tweets", path="t.jsonl", **FETCH)
    assert captions(found) == {"1": "x", "2": "y"}
    assert [line.split(": ")[1] for line in source.malformed] == ["line 3", "line 4"]


def test_ids_that_are_half_a_character(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in/t.jsonl").write_text('{"id_str": "\\ud83d", "text": "One"}\n{"id_str": "2", "text": "Two"}\n')
    _, found = read("tweets", path="t.jsonl", pictures="none", contact="me@example.org")
    assert sorted(captions(found).values(), key=str) == ["One", "Two"]
    images = [{"id": "\ud83d", "file_name": "a.jpg"}]
    coco = {"images": images, "annotations": [{"image_id": "\ud83d", "caption": "A"}]}
    (tmp_path / "in/c.json").write_text(json.dumps(coco))
    assert list(captions(read("coco", captions="c.json", images=".")[1]).values()) == ["A"]


def test_parquet_columns_of_other_types(read: Read, tmp_path: Path) -> None:
    image = {"bytes": JPEG, "path": "x.jpg"}
    given = [{"image": image, "sentences": [{"raw": "x"}], "text": "T"}, {"image": image, "sentences": [], "text": "U"}]
    pq.write_table(pa.Table.from_pylist(given), tmp_path / "in/p.parquet")
    _, found = read("parquet", path="p.parquet")
    assert sorted(row["document"].text for row in found.values()) == ["T", "U"]
    source, found = read("parquet", path="p.parquet", caption="sentences")
    assert source.malformed == [
        "p.parquet: row 0: expected text or a list of texts in 'sentences', found a list [{'raw': 'x'}]"
    ]
    assert sorted(row["outcome"] for row in found.values()) == ["ok", "ok"], "what was good before is kept"


def test_parquet_values_that_python_cannot_hold(read: Read, tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff\xfe", b"fine"]).buffers())
    table = pa.table(
        {"image": pa.array([JPEG, JPEG]), "caption": broken, "url": pa.array(["http://h/1", "http://h/2"])}
    )
    pq.write_table(table, tmp_path / "in/p.parquet")
    source, found = read("parquet", path="p.parquet")
    assert captions(found) == {"p.parquet:1": "fine"} and "row 0" in source.malformed[0]
    malformed = Malformed("s", 5)
    assert [number for number, _ in read_rows(tmp_path / "in/p.parquet", malformed)] == [2]
    assert malformed.lines[0].startswith("p.parquet: row 1: expected values that can be read")


def test_a_parquet_file_whose_column_names_are_damaged(read: Read, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [JPEG], "caption": ["x"]}), tmp_path / "in/p.parquet", store_schema=False)
    data = (tmp_path / "in/p.parquet").read_bytes()
    (tmp_path / "in/p.parquet").write_bytes(data.replace(b"caption", b"c\xffption"))
    with pytest.raises(SourceError, match="no Parquet file"):
        read("parquet", path="p.parquet")
    with pytest.raises(SourceError, match="cannot be read to its end"):
        list(read_rows(tmp_path / "in/p.parquet", Malformed("s", 5)))
    with pytest.raises(UsageError, match="damaged"):
        suggest(str(tmp_path / "in/p.parquet"))


def test_exports_that_somebody_changed(read: Read, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "a": {"text": "A", "keyphrases": ["k"], "images": [{"file": "0.jpg", "captions": ["one", "two"]}]},
        "b": {"keyphrases": "k"},
        "c": {"keyphrases": 5},
        "d": {"images": 5},
        "e": {"images": [5]},
        "f": {"images": [{"file": "0.jpg", "captions": 5}]},
        "g": {"split": "holdout"},
        "h": {"title": ["x"]},
    }
    with tarfile.open(tmp_path / "in/t.tar", "w") as tar:
        for key, value in values.items():
            for name, data in (
                (f"{key}.0.jpg", JPEG),
                (f"{key}.json", json.dumps({"format": FORMAT, **value}).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    source, found = read("webdataset", path="t.tar")
    outcomes = {name: row["outcome"] for name, row in found.items()}
    assert outcomes == {name: "ok" if name in "ab" else "failed:malformed" for name in values}
    assert found["a"]["images"][0]["caption"] == "one\ntwo" and found["b"]["document"].keyphrases == ("k",)
    assert (
        len(source.malformed) == 6 and "c.json: expected text or a list of texts in 'keyphrases'" in source.malformed[0]
    )
    schema = pa.schema([("id", pa.string()), ("images", pa.int64())]).with_metadata({"diptych": FORMAT})
    pq.write_table(pa.table({"id": ["x"], "images": [None]}, schema=schema), tmp_path / "in/e.parquet")
    read("parquet", path="e.parquet", images=("images",))


def test_webdataset_fields_of_other_types(read: Read, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "in/t.tar", "w") as tar:
        for name, value in (("a", {"caption": {"x": 1}}), ("b", {"caption": ["one", "two"]})):
            data = json.dumps(value).encode()
            info = tarfile.TarInfo(f"{name}.json")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source, found = read("webdataset", path="t.tar")
    assert captions(found) == {"t.tar/a": "failed:malformed", "t.tar/b": "one\ntwo"}
    assert source.malformed[0].startswith("t.tar: a.json: expected text or a list of texts in 'caption'")


@pytest.mark.parametrize(
    "query", [{"pages": 5}, {"pages": None}, {"pages": [{"imageinfo": 5}, {"imageinfo": {"a": 1}}]}]
)
def test_answers_of_a_search_of_other_types(query: Any) -> None:
    assert read_commons({"query": query}) == ()


def test_numbers_of_another_script_in_an_annotation(tmp_path: Path) -> None:
    box = "<bndbox><xmin>²</xmin><ymin>1</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    text = f"<a><size><width>²</width></size><object><name>1</name>{box}</object></a>"
    (tmp_path / "a.xml").write_text(text, encoding="utf-8")
    malformed = Malformed("s", 5)
    assert read_boxes(tmp_path / "a.xml", malformed) == {"objects": []} and len(malformed.lines) == 1


def test_the_summary_of_a_crawl_names_what_was_left_out(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    rows = "".join(f"{n},x\n" for n in range(12))
    (tmp_path / "captions.csv").write_text("caption,file\ngood,a.jpg\n" + rows.replace(",x", ","))
    report = crawl(store, [open_source({"kind": "folder", "name": "s", "path": "."}, tmp_path)])
    lines = report.lines()
    assert len(report.malformed) == 12 and "12 entries of files malformed:" in lines
    assert any("source 's': " in line and "line 3" in line for line in lines)
    assert lines[-1] == "  and 2 more (--json has them)"
