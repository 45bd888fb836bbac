"""URL lists, Flickr files, Parquet folders, WebDataset tars, posts and image search, in their published formats.

The file is long because the six kinds share their fixtures and are asked the same questions side by side.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.exceptions import NothingCommitted, RecipeError, SourceError
from diptych.records import Document
from diptych.sources.base import Source
from diptych.sources.crawl import crawl
from diptych.sources.inspect import suggest
from diptych.sources.registry import open_source
from diptych.sources.search import SearchFailed, read_commons
from diptych.sources.tweets import split_hashtags
from diptych.storage.fetch_log import FetchLog
from diptych.storage.snapshot import Snapshot, cut_snapshot
from diptych.storage.store import Store

JPEG = b"\xff\xd8\xff\xe0" + b"picture"
FETCH = {"contact": "me@example.org", "fetch": {"allow_private": True, "backoff": 0.01, "robots": False}}
Run = Callable[..., tuple[Any, Any, dict[str, dict[str, Any]]]]


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    """Crawl one source; (source, report, rows by source id with ``document``)."""

    def go(kind: str, **settings: object) -> tuple[Source, Any, dict[str, dict[str, Any]]]:
        environ = settings.pop("environ", {})
        source = open_source({"kind": kind, "name": "s", **settings}, tmp_path)
        report = crawl(store, [source], environ=environ)  # type: ignore[arg-type]
        return source, report, rows(store, cut_snapshot(store, [source]))

    return go


def rows(store: Store, snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    found = {row["source_id"]: row for row in snapshot.iter_rows()}
    for row in found.values():
        if row["content"]:
            row["document"] = Document.from_bytes(store.blobs.get(row["content"]))
    return found


# --- lists of addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_url_lists(run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes, name: str) -> None:
    server.routes |= {f"/{n}.jpg": reply(200, jpeg + bytes([n]), Content_Type="image/jpeg") for n in range(2)}
    given = [
        {"url": f"{server.url}/0.jpg", "caption": "one, two", "licence": "CC", "split": "test"},
        {"url": f"{server.url}/1.jpg", "caption": "桥", "licence": "", "split": ""},
        {"url": f"{server.url}/0.jpg", "caption": "again", "licence": "CC", "split": ""},
    ]
    write_table(tmp_path / name, given)
    source, report, found = run("urls", path=name, split="split", **FETCH)
    assert list(found) and source.malformed == [] and report.counts["image"] == {"ok": 2}
    first = found[f"{server.url}/0.jpg"]
    assert first["split"] == "test" and first["document"].text == "one, two"
    assert first["images"][0]["extra"] == '{"licence":"CC"}' and first["images"][0]["outcome"] == "ok"
    assert found[f"{server.url}/1.jpg"]["images"][0]["caption"] == "桥"
    assert found[f"{server.url}/0.jpg#2"]["document"].text == "again"


def write_table(path: Path, given: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(given), path)
        return
    if ".jsonl" in path.name:
        text = "\n".join(json.dumps(row) for row in given)
    else:
        mark = "\t" if ".tsv" in path.name else ","
        lines = [mark.join(given[0]), *(mark.join(f'"{value}"' for value in row.values()) for row in given)]
        text = "\ufeff" + "\r\n".join(lines)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_rows_are_grouped_by_a_column(run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes) -> None:
    server.routes |= {f"/{n}.jpg": reply(200, jpeg + bytes([n])) for n in range(3)}
    lines = [
        {"u": f"{server.url}/{n}.jpg", "c": [f"c {n}", "more"], "page": "p1" if n < 2 else "p2", "body": t, "level": 3}
        for n, t in enumerate(("", "The text", "Other"))
    ]
    (tmp_path / "l.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    settings = {"url": "u", "caption": "c", "document": "page", "text": "body", "document_columns": ["level"]}
    found = run("urls", path="l.jsonl", **settings, **FETCH)[2]
    assert {k: len(row["images"]) for k, row in found.items()} == {"p1": 2, "p2": 1}
    assert found["p1"]["document"] == Document(text="The text", extra='{"level":3}')
    assert found["p1"]["images"][1]["caption"] == "c 1\nmore"


@pytest.mark.parametrize("name", ["l.jsonl", "l.parquet"])
def test_what_python_and_pandas_write_for_nothing_is_nothing(run: Run, tmp_path: Path, server: Any, name: str) -> None:
    row = {"url": f"{server.url}/a", "caption": float("nan"), "score": float("nan"), "level": 3.0}
    (tmp_path / "l.jsonl").write_text(json.dumps(row))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "l.parquet")
    (found,) = run("urls", path=name, min_success=0, **FETCH)[2].values()
    assert (found["document"].text, found["images"][0]["extra"]) == ("", '{"level":3.0}'), "no 'nan', and JSON"


def test_rows_of_one_id_and_one_that_is_named_like_the_second(run: Run, tmp_path: Path, server: Any) -> None:
    rows = "".join(f"{server.url}/{n},c{n},{name}\n" for n, name in enumerate(("a", "a", "a#2", "a")))
    (tmp_path / "l.csv").write_text(f"url,caption,id\n{rows}")
    found = run("urls", path="l.csv", id="id", min_success=0, **FETCH)[2]
    assert sorted(row["document"].text for row in found.values()) == ["c0", "c1", "c2", "c3"]


def test_malformed_rows_are_named_by_line(run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes) -> None:
    server.routes["/0.jpg"] = reply(200, jpeg)
    good = f"{server.url}/0.jpg"
    (tmp_path / "a.csv").write_bytes(
        f"url,caption\n{good},x\nftp://h/a.jpg,y\n{good}\n,z\n".encode() + b"http://h/b.jpg,\xff\n"
    )
    source, _, found = run("urls", path="a.csv", **FETCH)
    assert [line.split(": ")[1] for line in source.malformed] == ["line 3", "line 4", "line 5", "line 6"]
    assert list(found) == [good]
    (tmp_path / "a.jsonl").write_text(f'{{"url": "{good}"}}\n{{\n\n[1]\n{{"url": 5}}\n' + "[" * 100_000)
    source, _, found = run("urls", path="a.jsonl", **FETCH)
    assert [line.split(": ")[1] for line in source.malformed] == ["line 2", "line 4", "line 5", "line 6"]
    with pytest.raises(SourceError, match=r"more than 1 malformed(?s:.*)line 2"):
        run("urls", path="a.jsonl", max_malformed=1, **FETCH)


def test_lists_that_cannot_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("link,caption\nx,y\n")
    with pytest.raises(SourceError, match=r"no column \['url'\]; it has \['caption', 'link'\]"):
        run("urls", path="a.csv", **FETCH)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RecipeError, match="ends in .csv"):
        run("urls", path="a.txt", **FETCH)
    (tmp_path / "a.parquet").write_text("x")
    with pytest.raises(SourceError, match="expected a Parquet file"):
        run("urls", path="a.parquet", **FETCH)
    with pytest.raises(RecipeError, match="contact"):
        run("urls", path="a.csv")


# --- Flickr ------------------------------------------------------------------------------------------------


def flickr(folder: Path) -> None:
    (folder / "images").mkdir()
    for n in (1, 2, 3):
        (folder / f"images/{n}_a.jpg").write_bytes(JPEG + bytes([n]))
    lines = [f"{n}_a.jpg#{k}\tcaption {k} of {n} ." for n in (2, 1, 3) for k in (0, 10, 2, 1, 3)]
    (folder / "F.token.txt").write_text("\n".join([*lines, "gone.jpg.1#0\tno file", "no tab here", "x.jpg#1\t "]))


def test_flickr_token_files(run: Run, tmp_path: Path) -> None:
    flickr(tmp_path)
    for split, name in (("train", "1_a.jpg"), ("dev", "2_a.jpg"), ("test", "3_a.jpg\n2_a.jpg")):
        (tmp_path / f"{split}.txt").write_text(name + "\n")
    splits = {split: f"{split}.txt" for split in ("train", "dev", "test")}
    source, _, found = run("flickr", images="images", captions="F.token.txt", splits=splits)
    assert found["1_a.jpg"]["document"].text.split("\n") == [f"caption {k} of 1 ." for k in (0, 1, 2, 3, 10)]
    assert {k: r["split"] for k, r in found.items() if r["split"]} == {
        "1_a.jpg": "train",
        "2_a.jpg": "test",
        "3_a.jpg": "test",
    }
    assert found["gone.jpg.1"]["images"][0]["outcome"] == "gone"
    assert [line.split(": ")[1] for line in source.malformed] == ["line 17", "line 18", "2_a.jpg"]


def test_flickr_karpathy(run: Run, tmp_path: Path) -> None:
    flickr(tmp_path)
    images = [
        {"filename": f"{n}_a.jpg", "split": s, "sentences": [{"raw": f"r{k}", "tokens": ["r"]} for k in range(5)]}
        for n, s in ((1, "restval"), (2, "val"), (3, "test"))
    ]
    given = {"images": [*images, {"filename": "x.jpg", "split": "other"}, 7], "dataset": "flickr8k"}
    (tmp_path / "k.json").write_text(json.dumps(given))
    source, _, found = run("flickr", images="images", karpathy="k.json")
    assert {k: r["split"] for k, r in found.items()} == {"1_a.jpg": "train", "2_a.jpg": "dev", "3_a.jpg": "test"}
    assert found["1_a.jpg"]["images"][0]["caption"] == "r0\nr1\nr2\nr3\nr4" and len(source.malformed) == 2
    both = run("flickr", images="images", karpathy="k.json", captions="F.token.txt")[2]
    assert both["3_a.jpg"]["split"] == "test" and both["3_a.jpg"]["document"].text.startswith("caption 0 of 3 .")
    with pytest.raises(RecipeError, match="needs 'captions'"):
        run("flickr", images="images")


# --- Parquet -----------------------------------------------------------------------------------------------


def test_parquet_folders(run: Run, store: Store, tmp_path: Path) -> None:
    (tmp_path / "hf/data").mkdir(parents=True)
    for split, start in (("train", 0), ("validation", 2)):
        table = [
            {
                "image": {"bytes": JPEG + bytes([n]), "path": f"{n}.jpg"},
                "caption": [f"a {n}", f"b {n}"],
                "label": n,
            }
            for n in range(start, start + 2)
        ]
        pq.write_table(pa.Table.from_pylist(table), tmp_path / f"hf/data/{split}-00000-of-00001.parquet")
    source, report, found = run("parquet", path="hf", splits=True)
    assert report.counts["file"] == {"ok": 4} and source.malformed == []
    row = found["data/train-00000-of-00001.parquet:1"]
    assert (row["split"], row["document"].text, row["document"].extra) == ("train", "a 1\nb 1", '{"label":1}')
    assert store.blobs.get(row["images"][0]["key"]) == JPEG + b"\x01"
    assert row["images"][0]["extra"] == '{"path":"1.jpg"}'
    assert found["data/validation-00000-of-00001.parquet:0"]["split"] == "dev"
    assert run("parquet", path="hf", splits=True)[1].counts["file"] == {"not_modified": 4}
    broken = tmp_path / "hf/data/validation-00000-of-00001.parquet"
    broken.write_bytes(broken.read_bytes()[:-30])
    source, _, after = run("parquet", path="hf", splits=True)
    assert sum(r["outcome"] == "ok" for r in after.values()) == 4, "what a torn file held is kept"
    assert "validation" in source.malformed[0]


def test_parquet_rows_of_every_kind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/x.jpg").write_bytes(JPEG)
    table = [
        {"key": "a", "image": {"bytes": None, "path": "x.jpg"}, "text": "A"},
        {"key": "b", "image": {"bytes": b"<html>", "path": None}, "text": "B"},
        {"key": "c", "image": {"bytes": None, "path": "http://h/x.jpg"}, "text": "C"},
        {"key": "d", "image": None, "text": "D"},
        {"key": "d", "image": None, "text": "twice"},
        {"key": "e", "image": {"bytes": None, "path": "../../etc/passwd"}, "text": None},
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "p/t.parquet")
    source, _, found = run("parquet", path="p/t.parquet", id="key", min_success=0)
    assert {k: [i["outcome"] for i in r["images"]] for k, r in found.items()} == {
        "a": ["ok"], "b": ["failed:not_an_image"], "c": [], "d": [], "e": ["failed:bad_path"],
    }  # fmt: skip
    assert [line.split(": ")[1] for line in source.malformed] == ["row 2", "row 4"]
    with pytest.raises(SourceError, match="no image column"):
        pq.write_table(pa.table({"text": ["x"]}), tmp_path / "p/t.parquet")
        run("parquet", path="p")


# --- WebDataset --------------------------------------------------------------------------------------------


def shard(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_webdataset_shards(run: Run, store: Store, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    shard(
        tmp_path / "w/00000.tar",
        {
            "000.jpg": JPEG + b"0",
            "000.txt": "桥 one\n".encode(),
            "000.json": b'{"caption": "unused", "url": "http://h/0"}',
            "001.png": b"\x89PNG\r\n\x1a\n..",
            "001.json": b'{"caption": "two", "licence": "CC"}',
            "002.jpg": b"<html>",
            "002.json": b"[1]",
            "../../evil.jpg": JPEG + b"e",
            "000.txt2": b"again",
        },
    )
    shard(tmp_path / "w/00001.tar.gz", {"000.left.jpg": JPEG + b"l", "000.right.jpg": JPEG + b"r"}, "w:gz")
    source, report, found = run("webdataset", path="w", min_success=0)
    assert found["00000.tar/000"]["document"].text == "桥 one"
    assert found["00000.tar/000"]["images"][0]["extra"] == '{"url":"http://h/0"}'
    assert found["00000.tar/001"]["images"][0]["caption"] == "two"
    assert found["00000.tar/002"]["outcome"] == "failed:malformed"
    assert [i["outcome"] for i in found["00001.tar.gz/000"]["images"]] == ["ok", "ok"]
    assert found["00000.tar/../../evil"]["images"][0]["outcome"] == "ok", "a name in a tar is a label, not a path"
    assert not list(tmp_path.parent.rglob("evil*")) and len(source.malformed) == 2
    assert run("webdataset", path="w", min_success=0)[1].counts["file"].keys() == {"not_modified"}


def test_tars_that_are_traps(run: Run, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, data in (
            ("big.jpg", JPEG * 1000),
            ("ok.jpg", JPEG),
            ("noending", b"x"),
            ("z.jpg", JPEG + b"z" * 9000),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source, _, found = run("webdataset", path="t.tar", max_member=9500)
    assert sorted(found) == ["t.tar/ok", "t.tar/z"]
    assert len(source.malformed) == 5
    data = (tmp_path / "t.tar").read_bytes()
    (tmp_path / "t.tar").write_bytes(data[: data.index(b"z" * 100) + 100])
    source, _, found = run("webdataset", path="t.tar", max_member=9500)
    assert {k: r["outcome"] for k, r in found.items() if k != "t.tar"} == {"t.tar/ok": "ok", "t.tar/z": "ok"}
    assert found["t.tar"]["outcome"] == "failed:torn" and "whole tar" in source.malformed[-1]


def test_a_tar_with_one_bad_header_loses_nothing(run: Run, tmp_path: Path) -> None:
    names = [f"{n:03d}" for n in range(4)]
    shard(tmp_path / "t.tar", {f"{name}.txt": name.encode() for name in names})
    assert sorted(run("webdataset", path="t.tar")[2]) == [f"t.tar/{name}" for name in names]
    data = (tmp_path / "t.tar").read_bytes()
    size = b"\x80" + b"\xff" * 11
    huge = data[2048:2172] + size + data[2184:2560]
    total = sum(huge[:148]) + 256 + sum(huge[156:])
    huge = huge[:148] + b"%06o\0 " % total + huge[156:]
    for damaged in (data[:2100] + b"?" + data[2101:], data[:2048], data[:2048] + huge + data[2560:]):
        (tmp_path / "t.tar").write_bytes(damaged)
        _, report, found = run("webdataset", path="t.tar")
        assert {found[f"t.tar/{name}"]["document"].text for name in names} == set(names)
        assert found["t.tar"]["outcome"] == "failed:torn" and "a whole tar file" in report.malformed[0]
    (tmp_path / "g.tar.gz").write_bytes(b"\x1f\x8b\x08")
    assert "breaks off in its first bytes" in run("webdataset", path="g.tar.gz")[1].malformed[0]


def test_a_key_of_a_tar_with_very_much_in_it(run: Run, tmp_path: Path) -> None:
    shard(tmp_path / "t.tar", {f"0.{n}.jpg": JPEG + b"%02d" % n for n in range(10)})
    source, _, found = run("webdataset", path="t.tar", max_member=len(JPEG) + 2)
    assert len(found["t.tar/0"]["images"]) == 8 and len(source.malformed) == 2


# --- posts -------------------------------------------------------------------------------------------------


def test_posts(run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes) -> None:
    server.routes |= {f"/{n}.jpg": reply(200, jpeg + bytes([n])) for n in range(3)}
    (tmp_path / "media").mkdir()
    (tmp_path / "media/m.jpg").write_bytes(JPEG)
    lines: list[Any] = [
        {
            "id_str": "10", "full_text": "Look &amp; see #Bridge #春天 @ann https://t.co/x #bridge", "lang": "en",
            "entities": {"hashtags": [{"text": "Bridge"}]}, "retweet_count": 2,
            "extended_entities": {"media": [{"media_url_https": f"{server.url}/{n}.jpg"} for n in (0, 1)]},
        },
        {
            "data": {"id": "11", "text": "v2 #x1", "attachments": {"media_keys": ["k", "none"]}},
            "includes": {"media": [{"media_key": "k", "url": f"{server.url}/2.jpg"}]},
        },
        {"id": 12, "text": "plain #1 a@b.org", "images": ["m.jpg"], "split": "test", "lang": "und"},
        {"id": 13},
        {"id": 12, "text": "again"},
        {"id": 14, "text": "x", "images": ["ftp://h/x.jpg"]},
        {"id": 15, "text": "x", "entities": {"media": "odd"}, "images": [{"no": 1}]},
    ]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    source, _, found = run("tweets", path="t.jsonl", images="media", **FETCH)
    first = found["10"]["document"]
    assert (first.text, first.keyphrases) == ("Look & see @user", ("Bridge", "春天"))
    assert (first.language, first.extra, len(found["10"]["images"])) == ("en", '{"retweet_count":2}', 2)
    assert found["11"]["document"].keyphrases == ("x1",) and found["11"]["images"][0]["outcome"] == "ok"
    assert (found["12"]["document"].text, found["12"]["split"]) == ("plain #1 a@b.org", "test")
    assert found["12"]["images"][0]["outcome"] == "ok" and found["15"]["images"] == []
    assert [line.split(": ")[1] for line in source.malformed] == ["line 4", "line 5", "line 6"]
    kept = run("tweets", path="t.jsonl", images="media", mentions="keep", links="keep", **FETCH)[2]
    assert kept["10"]["document"].text == "Look & see @ann https://t.co/x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("转自@新浪新闻：好", "转自@user：好"),
        ("RT@ann_lee: .@bob", "RT@user: .@user"),
        (f"by @{'x' * 60}", "by @user"),
        ("图＠李四", "图@user"),
        ("a@b.org, 找我a.b+c@b-c.co.uk", "a@b.org, 找我a.b+c@b-c.co.uk"),
    ],
)
def test_what_is_a_mention(run: Run, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"id": 1, "text": text}))
    found = run("tweets", path="t.jsonl", pictures="none", **FETCH)[2]
    assert found["1"]["document"].text == expected


def test_what_is_a_hashtag() -> None:
    assert split_hashtags("a#b &#39; http://h/#c #2024 #d_1 ＃東京")[1] == ("d_1", "東京")


# --- image search ------------------------------------------------------------------------------------------


def commons_answer(url: str, count: int) -> dict[str, Any]:
    """As ``action=query&generator=search&prop=imageinfo&formatversion=2`` answers."""
    pages = [
        {
            "pageid": n, "ns": 6, "title": f"File:Bridge_{n}.jpg", "index": count - n, "imagerepository": "local",
            "imageinfo": [{
                "size": 9, "width": 8, "height": 6, "thumburl": f"{url}/thumb/{n}.jpg", "url": f"{url}/full/{n}.jpg",
                "descriptionurl": f"{url}/wiki/{n}", "mime": "image/jpeg",
                "extmetadata": {"ImageDescription": {"value": f"<p>A &amp; <b>bridge</b> {n}</p>"} if n else {},
                                "LicenseShortName": {"value": "CC BY-SA 4.0"}},
            }],
        }
        for n in range(count)
    ]  # fmt: skip
    return {"batchcomplete": True, "query": {"pages": pages}}


def test_commons(run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes) -> None:
    server.routes |= {f"/thumb/{n}.jpg": reply(200, jpeg + bytes([n])) for n in range(3)}
    server.routes["/robots.txt"] = reply(200, b"User-agent: *\nDisallow: /w/\n")
    search = reply(200, json.dumps(commons_answer(server.url, 3)).encode(), Content_Type="application/json")
    asked: list[dict[str, list[str]]] = []

    def api(request: Any) -> None:
        asked.append(parse_qs(urlsplit(request.path).query))
        search(request)

    server.routes = Routes(server.routes, "/w/api.php", api)
    (tmp_path / "d.csv").write_text('id,query,title,text,topic\nd1,"old bridge & river",T,The text,x\nd2,,T,t,y\n')
    settings = {**FETCH, "fetch": {**FETCH["fetch"], "robots": True}}  # type: ignore[dict-item]
    source, _, found = run("search", queries="d.csv", endpoint=f"{server.url}/w/api.php", **settings)
    assert asked[0]["gsrsearch"] == ["old bridge & river filetype:bitmap"] and asked[0]["gsrlimit"] == ["10"]
    row = found["d1"]
    assert [i["caption"] for i in row["images"]] == ["A & bridge 2", "A & bridge 1", "Bridge 0"]
    assert all(i["outcome"] == "ok" for i in row["images"])
    assert json.loads(row["images"][0]["extra"])["licence"] == "CC BY-SA 4.0"
    assert row["document"] == Document("T", "The text", extra='{"query":"old bridge & river","topic":"x"}')
    assert "line 3" in source.malformed[0]


class Routes(dict[str, Any]):
    """Routes whose queries are of no matter."""

    def __init__(self, routes: dict[str, Any], path: str, reply: Any) -> None:
        super().__init__(routes)
        self.path, self.reply = path, reply

    def get(self, path: str, default: Any = None) -> Any:
        return self.reply if path.startswith(self.path + "?") else super().get(path, default)


def test_a_keyed_search_keeps_its_key_to_itself(
    run: Run, store: Store, tmp_path: Path, server: Any, reply: Any, jpeg: bytes
) -> None:
    server.routes |= {f"/{n}.jpg": reply(200, jpeg + bytes([n])) for n in range(4)}
    items = [
        {
            "image": {"link": f"{server.url.replace('127.0.0.1', 'localhost')}/{n}.jpg"},
            "name": f"<b>c</b> {n}",
            "by": "me",
        }
        for n in range(4)
    ]
    found_body = json.dumps({"data": {"items": [*items, {"image": None}, 5]}}).encode()
    server.routes = Routes(server.routes, "/api", reply(200, found_body))
    (tmp_path / "d.jsonl").write_text('{"id": 1, "query": "a b"}')
    settings: dict[str, Any] = {
        "provider": "json", "endpoint": f"{server.url}/api", "results_path": "data.items", "url_path": "image.link",
        "caption_path": "name", "key_from": "MY_KEY", "count": 3, "parameters": {"safe": "on"}, **FETCH,
    }  # fmt: skip
    with pytest.raises(RecipeError, match="MY_KEY is not set"):
        run("search", queries="d.jsonl", **settings)
    _, _, found = run("search", queries="d.jsonl", environ={"MY_KEY": "s3cret"}, **settings)
    assert [i["caption"] for i in found["1"]["images"]] == ["c 0", "c 1", "c 2"]
    assert server.headers["/api?q=a+b&safe=on&count=3"]["x-api-key"] == "s3cret"
    assert "x-api-key" not in server.headers["/0.jpg"], "another host"
    log = FetchLog(store.home)
    assert not any("s3cret" in str(row) for name in log.crawls() for row in log.rows(name))
    assert not any(b"s3cret" in path.read_bytes() for path in (tmp_path / "root").rglob("*") if path.is_file())


def test_searches_that_fail_keep_what_was_good(run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes) -> None:
    server.routes |= {f"/thumb/{n}.jpg": reply(200, jpeg + bytes([n])) for n in range(3)}
    (tmp_path / "d.csv").write_text("id,query\nd1,bridge\nd2," + "bridge " * 3000)
    good = reply(200, json.dumps(commons_answer(server.url, 3)).encode())
    plain = dict(server.routes)
    settings = {"queries": "d.csv", "endpoint": f"{server.url}/w/api.php", "min_success": 0, **FETCH}
    for body, outcome in (
        (good, 3),
        (reply(503), 3),
        (reply(200, b'{"error": {"code": "maxlag"}}'), 3),
        (reply(200, b"<"), 3),
    ):
        server.routes = Routes(plain, "/w/api.php", body)
        source, _, found = run("search", **settings)
        assert len(found["d1"]["images"]) == outcome
        assert "line 3: expected words that an address can hold" in source.malformed[0]
    server.routes = Routes(plain, "/w/api.php", reply(404))
    with pytest.raises(NothingCommitted, match="http_404"):
        run("search", **{**settings, "min_success": 0.5})
    with pytest.raises(SearchFailed, match="search_maxlag") as failed:
        read_commons({"error": {"code": "maxlag"}})
    assert failed.value.transient and read_commons({"batchcomplete": True}) == ()


# --- what init suggests ------------------------------------------------------------------------------------


def test_what_init_suggests_for_these(tmp_path: Path) -> None:
    def kind(path: Path) -> str:
        found = suggest(str(path))
        source = open_source(found.settings, Path("/elsewhere"))
        source.check()
        assert found.reasons
        return f"{found.settings['kind']} {found.records}"

    address = {"image_url": "https://h.example/a.jpg", "TEXT": "x"}
    for name in ("l.csv", "l.tsv", "l.jsonl", "l.parquet", "l.csv.gz"):
        write_table(tmp_path / name, [{"n": 1, **address}])
        assert kind(tmp_path / name) == "urls None"
        assert suggest(str(tmp_path / name)).settings["caption"] == "TEXT"
    write_table(tmp_path / "q.csv", [{"id": "1", "query": "bridge"}])
    assert kind(tmp_path / "q.csv") == "search None"
    (tmp_path / "t.jsonl").write_text('{"id_str": "1", "full_text": "a #b"}\n')
    assert kind(tmp_path / "t.jsonl") == "tweets None"
    (tmp_path / "f").mkdir()
    flickr(tmp_path / "f")
    for split in ("train", "dev", "test"):
        (tmp_path / f"f/Flickr_8k.{split}Images.txt").write_text("1_a.jpg\n")
    assert kind(tmp_path / "f/F.token.txt") == "flickr None" == kind(tmp_path / "f")
    assert suggest(str(tmp_path / "f")).settings["splits"] == {
        split: str(tmp_path / f"f/Flickr_8k.{split}Images.txt") for split in ("train", "dev", "test")
    }
    (tmp_path / "w").mkdir()
    shard(tmp_path / "w/0.tar", {"a.jpg": JPEG})
    assert kind(tmp_path / "w") == "webdataset None" == kind(tmp_path / "w/0.tar")
    (tmp_path / "p").mkdir()
    pq.write_table(pa.Table.from_pylist([{"image": {"bytes": JPEG, "path": ""}}]), tmp_path / "p/0.parquet")
    assert kind(tmp_path / "p") == "parquet 1" == kind(tmp_path / "p/0.parquet")
    write_table(tmp_path / "c.csv", [{"file": "a.jpg", "caption": "x"}])
    assert suggest(str(tmp_path / "c.csv")).settings["kind"] == "folder"
