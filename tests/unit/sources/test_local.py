"""Folders, COCO files and the look that init takes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.exceptions import RecipeError, SourceError, UsageError
from diptych.records import Document
from diptych.sample import Site, write
from diptych.sources.coco import Coco
from diptych.sources.crawl import crawl
from diptych.sources.documents import read_document
from diptych.sources.inspect import suggest
from diptych.sources.json_stream import stream_arrays
from diptych.sources.registry import open_source
from diptych.storage.snapshot import Snapshot, cut_snapshot
from diptych.storage.store import Store

JPEG = b"\xff\xd8\xff\xe0" + b"picture"


def age(folder: Path, seconds: float = 100) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


@pytest.fixture
def build(store: Store) -> Callable[..., tuple[Any, Snapshot]]:
    def run(folder: Path, refresh: bool = False, **settings: object) -> tuple[Any, Snapshot]:
        source = open_source({"kind": "folder", "name": "f", "path": str(folder), **settings}, Path())
        return crawl(store, [source], refresh=refresh), cut_snapshot(store, [source])

    return run


def texts(store: Store, snapshot: Snapshot) -> dict[str, Document]:
    return {
        r["source_id"]: Document.from_bytes(store.blobs.get(r["content"])) for r in snapshot.iter_rows() if r["content"]
    }


def test_the_sample_folder(store: Store, tmp_path: Path, build: Any) -> None:
    site = Site(6, images_per_document=(1, 2), dirt=False)
    write(site, tmp_path / "in", static=False)
    age(tmp_path / "in")
    report, snapshot = build(tmp_path / "in")
    found = texts(store, snapshot)
    for truth in site.truths():
        document = found[truth.id]
        assert (document.title, document.text, document.summary) == (truth.title, truth.text, truth.summary.text)
        assert (document.language, list(document.keyphrases)) == (truth.language, [k.text for k in truth.keyphrases])
        row = next(r for r in snapshot.iter_rows() if r["source_id"] == truth.id)
        assert [i["caption"] for i in row["images"]] == [
            i.caption.text if i.caption else "" for i in truth.images if i.place == "article"
        ]
        assert all(i["outcome"] == "ok" for i in row["images"])
    assert report.counts["file"].keys() == {"ok"}
    again, same = build(tmp_path / "in")
    assert again.counts["file"].keys() == {"not_modified"} and same.digest == snapshot.digest
    assert build(tmp_path / "in", refresh=True)[0].counts["file"].keys() == {"ok"}
    (tmp_path / "in/documents/d00002.json").unlink()
    after = build(tmp_path / "in")[1]
    assert after.records == 5 and "d00002" not in texts(store, after)


def test_a_file_written_just_now_is_read_again(tmp_path: Path, build: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(JPEG)
    build(tmp_path / "in")
    assert build(tmp_path / "in")[0].counts["file"] == {"ok": 1}, "it could have changed within the clock's tick"


def test_malformed_documents_are_rows_and_keep_what_was_good(store: Store, tmp_path: Path, build: Any) -> None:
    folder = tmp_path / "in/documents"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"title": "t", "text": "one", "level": 3}')
    (folder / "b.json").write_text("{")
    (folder / "e.json").write_text('{"id": "5", "text": "one", "caption": "c", "captions": ["d"], "alt": "e"}')
    (folder / "f.json").write_text('{"caption": "c"}')
    (folder / "c.json").write_text('{"text": 5}')
    (folder / "d.json").write_text(
        '{"text": "x", "images": [{"file": "../../etc/passwd"}, {"file": "none.jpg"}, {"file": "t.jpg"}]}'
    )
    (tmp_path / "in/t.jpg").write_text("<html>")
    report, snapshot = build(tmp_path / "in", min_success=0)
    outcomes = {r["source_id"]: r["outcome"] for r in snapshot.iter_rows()}
    assert outcomes == {"a": "ok", "b": "failed:malformed", "c": "failed:malformed", "d": "ok", "e": "ok", "f": "ok"}
    row = next(r for r in snapshot.iter_rows() if r["source_id"] == "d")
    assert [i["outcome"] for i in row["images"]] == ["failed:bad_path", "gone", "failed:not_an_image"]
    assert texts(store, snapshot)["a"].extra == '{"level":3}'
    assert texts(store, snapshot)["e"].extra == '{"alt":"e","caption":"c","captions":["d"]}'
    assert (texts(store, snapshot)["f"].text, texts(store, snapshot)["f"].extra) == ("c", "")
    (folder / "a.json").write_text("oops")
    assert texts(store, build(tmp_path / "in", min_success=0)[1])["a"].text == "one"
    assert report.documents["missed:failed_permanent"] == 2


def test_pictures_with_sidecars(store: Store, tmp_path: Path, build: Any) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.JPG", "c.png", "桥 %.jpg", ".hidden.jpg"):
        (folder / name).write_bytes(JPEG + name.encode())
    (folder / "a.txt").write_text("A caption\n")
    (folder / "sub/b.json").write_text('{"caption": "Another", "title": "T", "keyphrases": "x, y"}')
    snapshot = build(folder)[1]
    found = {r["source_id"]: r["images"][0]["caption"] for r in snapshot.iter_rows()}
    assert found == {"a.jpg": "A caption", "sub/b.JPG": "Another", "c.png": "", "桥 %.jpg": ""}
    assert texts(store, snapshot)["sub/b.JPG"] == Document(title="T", text="Another", keyphrases=("x", "y"))
    assert all(r["images"][0]["outcome"] == "ok" for r in snapshot.iter_rows())


def test_links_that_lead_back_are_not_followed(tmp_path: Path, build: Any) -> None:
    for name in ("in/sub", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / f"{name}/a.jpg").write_bytes(JPEG)
    for place, target in (("in/me", "."), ("in/sub/up", ".."), ("in/sub/out", "../.."), ("in/far", "../other")):
        (tmp_path / place).symlink_to(target)
    (tmp_path / "other/back").symlink_to("../in")
    found = {row["source_id"] for row in build(tmp_path / "in")[1].iter_rows()}
    assert found == {"sub/a.jpg", "far/a.jpg"}, "but a link to another folder is"


def test_the_language_of_a_document_is_a_code_without_region() -> None:
    said = {"en": "en", "en-US": "en", "zh_CN": "zh", "yue": "yue", "": "de", None: "de"}
    found = {tag: read_document(json.dumps({"text": "x", "language": tag}).encode(), "de")[0] for tag in said}
    assert {tag: document.language for tag, document in found.items()} == said


def test_a_name_that_is_no_utf8(tmp_path: Path, build: Any) -> None:
    (tmp_path / "in").mkdir()
    with open(os.fsencode(tmp_path) + b"/in/\xff.jpg", "wb") as file:
        file.write(JPEG)
    row = next(build(tmp_path / "in")[1].iter_rows())
    assert (row["images"][0]["url"], row["images"][0]["outcome"]) == ("file:%FF.jpg", "ok")


@pytest.mark.parametrize("name", ["captions.csv", "captions.jsonl", "my.tsv"])
def test_caption_files(tmp_path: Path, build: Any, name: str) -> None:
    folder = tmp_path / "in"
    (folder / "pics").mkdir(parents=True)
    for picture in ("a.jpg", "b.jpg"):
        (folder / "pics" / picture).write_bytes(JPEG + picture.encode())
    rows = [
        {"file": "b.jpg", "caption": "one, two", "split": "test"},
        {"file": "a.jpg", "caption": "桥"},
        {"file": "b.jpg", "caption": "more"},
    ]
    if name.endswith("jsonl"):
        (folder / name).write_text("\n".join(json.dumps(row) for row in rows))
    else:
        tab = "\t" if name.endswith("tsv") else ","
        lines = [tab.join(("file", "caption", "split"))] + [
            tab.join((r["file"], f'"{r["caption"]}"', r.get("split", ""))) for r in rows
        ]
        (folder / name).write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    snapshot = build(folder, images="pics", captions=name)[1]
    found = {
        r["source_id"]: (r["images"][0]["caption"], r["split"], r["images"][0]["outcome"]) for r in snapshot.iter_rows()
    }
    assert found == {"b.jpg": ("one, two\nmore", "test", "ok"), "a.jpg": ("桥", None, "ok")}


def test_folders_that_cannot_be(tmp_path: Path, build: Any) -> None:
    with pytest.raises(RecipeError, match="'f', path: expected an existing"):
        build(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures"):
        build(tmp_path / "empty")
    (tmp_path / "empty/captions.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="line 1: expected a column file"):
        build(tmp_path / "empty")


def coco(folder: Path, **change: Any) -> Path:
    (folder / "annotations").mkdir(parents=True)
    (folder / "train2017").mkdir()
    for n in (1, 2):
        (folder / f"train2017/{n}.jpg").write_bytes(JPEG + bytes([n]))
    licence = [{"id": 3, "name": "CC BY"}]
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 8, "license": 3} for n in (1, 2)]
    captions = [
        {"id": 1, "image_id": 2, "caption": " two\nlines "},
        {"id": 2, "image_id": 1, "caption": "one"},
        {"id": 3, "image_id": 2, "caption": "zwei"},
    ]
    boxes = [
        {"id": 7, "image_id": 2, "bbox": [1, 2, 3.5, 4], "category_id": 5, "iscrowd": 1, "segmentation": [[1] * 9]}
    ]
    given = {"info": {"x": [1, {"y": "]}"}]}, "licenses": licence, "images": images, "annotations": captions, **change}
    (folder / "annotations/captions_train2017.json").write_text(json.dumps(given, indent=1))
    instances = {"annotations": boxes, "categories": [{"id": 5, "name": "cat"}]}
    (folder / "annotations/instances_train2017.json").write_text(json.dumps(instances))
    return folder


def coco_source(folder: Path, **settings: object) -> Coco:
    given = {"kind": "coco", "name": "c", "captions": "annotations/captions_train2017.json", "images": "train2017"}
    found = open_source({**given, "instances": "annotations/instances_train2017.json", **settings}, folder)
    assert isinstance(found, Coco)
    return found


def test_coco_records(store: Store, tmp_path: Path) -> None:
    source = coco_source(coco(tmp_path / "c"), split="train")
    crawl(store, [source])
    snapshot = cut_snapshot(store, [source])
    found = {r["source_id"]: r for r in snapshot.iter_rows()}
    assert texts(store, snapshot)["2"].text == found["2"]["images"][0]["caption"] == "two lines\nzwei"
    assert json.loads(found["2"]["images"][0]["extra"]) == {
        "id": 2, "width": 9, "height": 8, "licence": "CC BY",
        "boxes": [[1, 2, 4.5, 6]], "classes": ["cat"], "crowd": [1], "annotations": [7],
    }  # fmt: skip
    assert found["1"]["split"] == "train" and found["1"]["images"][0]["outcome"] == "ok" and source.malformed == []


def test_malformed_coco_entries_are_named(store: Store, tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "1.jpg"},
        {"id": 2},
        {"id": 1, "file_name": "1.jpg"},
        {"id": 3, "file_name": "none.jpg"},
    ]
    folder = coco(tmp_path / "c", images=images, annotations=[{"image_id": 1, "caption": "x"}, {"caption": "y"}, 5])
    source = coco_source(folder, min_success=0)
    crawl(store, [source])
    assert [line.split(": ")[1] for line in source.malformed] == [
        "images[1]",
        "annotations[1]",
        "annotations[2]",
        "image 1",
    ]
    row = {r["source_id"]: r for r in cut_snapshot(store, [source]).iter_rows()}["3"]
    assert row["outcome"] == "ok" and row["images"][0]["outcome"] == "gone"
    with pytest.raises(SourceError, match=r"more than 2 malformed(?s:.*)images\[1\]"):
        crawl(store, [coco_source(folder, max_malformed=2)])
    (folder / "annotations/captions_train2017.json").write_text('{"images": [{"id": 1}')
    with pytest.raises(SourceError, match="character 21"):
        crawl(store, [coco_source(folder)])


@pytest.mark.data("DIPTYCH_COCO")
def test_real_coco(store: Store) -> None:
    """80 images of train2017 with their captions and boxes."""
    suggested = suggest(os.environ["DIPTYCH_COCO"])
    source = open_source(suggested.settings, Path())
    report = crawl(store, [source])
    snapshot = cut_snapshot(store, [source])
    assert report.success_rate == 1.0 and snapshot.records == suggested.records
    for row in snapshot.iter_rows():
        extra = json.loads(row["images"][0]["extra"])
        assert len(row["images"][0]["caption"].split("\n")) >= 4 and len(extra["boxes"]) == len(extra["classes"])


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
def test_json_is_read_in_any_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("diptych.sources.json_stream._CHUNK", chunk)
    value = {
        "skip": {"a": [1, "]"]},
        "n": 12345,
        "x": [1, -2.5e3, 'é\\"]', None, {"b": [{}]}],
        "empty": [],
        "y": [True],
    }
    path = tmp_path / "a.json"
    for text in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False)):
        path.write_text(text, encoding="utf-8")
        found = list(stream_arrays(path, frozenset({"x", "y", "empty"})))
        assert found == [("x", n, item) for n, item in enumerate(value["x"])] + [("y", 0, True)]  # type: ignore[arg-type]
        for cut in (1, len(text) // 3, len(text) - 1):
            path.write_text(text[:cut], encoding="utf-8")
            with pytest.raises(SourceError, match="character"):
                list(stream_arrays(path, frozenset({"x"})))


def test_what_init_suggests(tmp_path: Path) -> None:
    folder = coco(tmp_path / "c")
    found = suggest(str(folder))
    assert (found.settings["kind"], found.records, found.settings["instances"]) == (
        "coco",
        2,
        str(folder / "annotations/instances_train2017.json"),
    )
    assert suggest(str(folder / "annotations/captions_train2017.json")).settings == found.settings
    pictures = suggest(str(folder / "train2017"))
    assert (pictures.settings["layout"], pictures.records) == ("pictures", 2)
    write(Site(2, dirt=False), tmp_path / "site", static=False)
    documents = suggest(str(tmp_path / "site"))
    assert (documents.settings["layout"], documents.records) == ("documents", 2)
    (folder / "train2017/captions.csv").write_text("file,caption\n1.jpg,x\n")
    assert suggest(str(folder / "train2017")).settings["captions"] == "captions.csv"
    for address, key in (
        ("http://h.example/", "start"),
        ("http://h.example/sitemap.xml", "sitemaps"),
        ("http://h.example/feed.xml", "feeds"),
    ):
        web = suggest(address).settings
        assert web["kind"] == "web" and web[key] == [address] and "fetch" not in web
        open_source(web, Path())
    for suggestion in (found, pictures, documents):
        open_source(suggestion.settings, Path("/elsewhere")).check()
    (tmp_path / "nothing").mkdir()
    for wrong in (tmp_path / "nothing", tmp_path / "absent"):
        with pytest.raises(UsageError, match="--from"):
            suggest(str(wrong))
