"""Label, split and phrase files of public releases as they are published; malformed lines with their number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.exceptions import RecipeError, SourceError, StageError
from diptych.naming import record_id
from diptych.records import Document
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import Store
from diptych.votes.labels import LabelFile, read_labels

JPEG = b"\xff\xd8\xff\xe0" + b"picture"
Run = Callable[..., tuple[Any, dict[str, dict[str, Any]]]]


@pytest.fixture
def run(store: Store, tmp_path: Path) -> Run:
    """Crawl one source; it and its rows by source id, with ``document``."""

    def go(kind: str, **settings: object) -> tuple[Any, dict[str, dict[str, Any]]]:
        source = open_source({"kind": kind, "name": "s", **settings}, tmp_path)
        crawl(store, [source])
        found = {row["source_id"]: row for row in cut_snapshot(store, [source]).iter_rows()}
        for row in found.values():
            row["document"] = Document.from_bytes(store.blobs.get(row["content"])) if row["content"] else None
        return source, found

    return go


def lines_of(source: Any) -> list[str]:
    return [line.split(": ")[1] for line in source.malformed]


# --- TRC ---------------------------------------------------------------------------------------------------


def trc(folder: Path) -> None:
    (folder / "media").mkdir()
    tweets = []
    for n in (11, 12, 13):
        (folder / "media" / f"{n}.jpg").write_bytes(JPEG + bytes([n]))
        media = [{"media_url_https": f"https://pbs.example.org/{n}.jpg"}]
        tweets.append({"id_str": str(n), "full_text": f"post {n} #tag", "extended_entities": {"media": media}})
    (folder / "tweets.jsonl").write_text("\n".join(json.dumps(t) for t in tweets) + "\n{broken\n")
    rows = [
        "tweet_id,image_adds,text_is_represented",
        "12,1,0",
        "11,0,1",
        "99,1,1",
        "13,2,0",
        "11,1,1",
        "13,0",
        "a,1,1",
    ]
    (folder / "trc.csv").write_text("\n".join(rows) + "\n")


def test_trc_joins_the_published_labels_with_the_posts_at_hand(run: Run, tmp_path: Path) -> None:
    trc(tmp_path)
    settings = {"contact": "me@example.org", "path": "tweets.jsonl", "labels": "trc.csv", "pictures": "folder"}
    source, found = run("trc", images="media", train_rows=1, **settings)
    good = {name: row for name, row in found.items() if row["document"]}
    assert {name: (row["split"], json.loads(row["document"].extra)) for name, row in good.items()} == {
        "11": ("dev", {"image_adds": 0, "text_is_represented": 1}),
        "12": ("train", {"image_adds": 1, "text_is_represented": 0}),
    }
    assert [row["images"][0]["outcome"] for row in good.values()] == ["ok", "ok"]
    assert good["11"]["document"].keyphrases == (), "a hashtag of these posts is no keyphrase of the task"
    assert found["99"]["outcome"] == "gone", "a labelled post that is not at hand"
    told = [line.split(": ")[:2] for line in source.malformed]
    assert told == [["trc.csv", f"line {n}"] for n in (5, 6, 7, 8)] + [["tweets.jsonl", "line 4"]]
    with pytest.raises(RecipeError, match="needs the folder"):
        run("trc", **settings)
    (tmp_path / "trc.csv").write_text("id,adds\n1,1\n")
    with pytest.raises(SourceError, match="text_is_represented"):
        run("trc", images="media", **settings)


# --- Flickr30k Entities ------------------------------------------------------------------------------------


def entities(folder: Path) -> None:
    (folder / "images").mkdir()
    for n in (1, 2, 3):
        (folder / f"images/{n}.jpg").write_bytes(JPEG + bytes([n]))
    (folder / "f.token").write_text("".join(f"{n}.jpg#0\tTwo men and a dog .\n" for n in (1, 2, 3)))
    for part in ("Annotations", "Sentences"):
        (folder / "entities" / part).mkdir(parents=True)
    first = folder / "entities" / "Sentences" / "1.txt"
    first.write_text(
        "[/EN#7/people Two men] and [/EN#8/animals a dog] in [/EN#0/notvisual the open] .\n"
        "[/EN#7/people/clothing Young  men] walk .\n"
        "[/EN#8/animals a dog barks .\n"
    )
    box = "<bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
    objects = [
        f"<object><name>7</name>{box.format(1)}</object>",
        f"<object><name>7</name><name>9</name>{box.format(5)}</object>",
        f"<object><name>8</name>{box.format(50)}</object>",
        f"<object><name>8</name>{box.format('x')}</object>",
        "<object><name>0</name><scene>1</scene><nobndbox>0</nobndbox></object>",
        f"<object><name>8</name>{box.format(9)}</object>",
    ]
    page = "\n".join(["<annotation>", "<size><width>64</width><height>48</height></size>", *objects, "</annotation>"])
    (folder / "entities/Annotations/1.xml").write_text(page)
    (folder / "entities/Sentences/2.txt").write_text("nothing marked .\n")
    hostile = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n<annotation><object><name>&e;</name>\n<bad'
    (folder / "entities/Annotations/2.xml").write_text(hostile)


def test_flickr30k_entities_give_each_box_its_phrases(run: Run, tmp_path: Path) -> None:
    entities(tmp_path)
    source, found = run("flickr", images="images", captions="f.token", entities="entities")
    assert json.loads(found["1.jpg"]["images"][0]["extra"]) == {
        "width": 64, "height": 48, "boxes": [[1, 2, 30, 40], [5, 2, 30, 40], [9, 2, 30, 40]],
        "phrases": [["Two men", "Young men"], ["Two men", "Young men"], ["a dog"]],
    }  # fmt: skip
    told = [line.split(": ")[:2] for line in source.malformed]
    assert told == [
        ["1.txt", "line 3"], ["1.xml", "line 5"], ["1.xml", "line 6"], ["2.xml", "line 3"],
        ["3.xml", "the file"], ["3.txt", "the file"],
    ]  # fmt: skip
    assert "root:" not in str(source.malformed)
    with pytest.raises(RecipeError, match="Sentences"):
        (tmp_path / "other" / "Annotations").mkdir(parents=True)
        run("flickr", images="images", captions="f.token", entities="other")


# --- COCO with Karpathy's splits ---------------------------------------------------------------------------


def coco(folder: Path) -> None:
    (folder / "images").mkdir()
    images = []
    for n in (5, 6, 7):
        (folder / f"images/COCO_{n}.jpg").write_bytes(JPEG + bytes([n]))
        images.append({"id": n, "file_name": f"COCO_{n}.jpg", "width": 8, "height": 8})
    captions = [
        {"image_id": n, "id": 10 * n + k, "caption": f"caption {k} of {n}"} for n in (5, 6, 7) for k in range(4)
    ]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    listed = [
        {"filename": f"COCO_{n}.jpg", "cocoid": n, "split": split, "sentences": []}
        for n, split in ((5, "restval"), (6, "val"), (7, "test"))
    ]
    (folder / "dataset_coco.json").write_text(json.dumps({"images": [*listed, {"cocoid": 8}], "dataset": "coco"}))


def test_karpathys_splits_of_coco_go_by_image_id(run: Run, tmp_path: Path) -> None:
    coco(tmp_path)
    source, found = run("coco", images="images", captions="captions.json", karpathy="dataset_coco.json")
    assert {name: row["split"] for name, row in found.items()} == {"5": "train", "6": "dev", "7": "test"}
    assert lines_of(source) == ["images[3]"]


def test_a_record_a_caption_and_a_record_of_some_captions(run: Run, tmp_path: Path) -> None:
    coco(tmp_path)
    settings = {"images": "images", "captions": "captions.json"}
    _, each = run("coco", per="caption", **settings)
    assert sorted(each) == [f"{n}#{k}" for n in (5, 6, 7) for k in range(4)]
    assert each["6#2"]["document"].text == each["6#2"]["images"][0]["caption"] == "caption 2 of 6"
    _, some = run("coco", per="subset", seed=1, **settings)
    texts = {name: row["document"].text.split("\n") for name, row in some.items()}
    assert texts == {
        name: row["document"].text.split("\n") for name, row in run("coco", per="subset", seed=1, **settings)[1].items()
    }
    assert all(0 < len(lines) <= 4 and lines == sorted(lines) for lines in texts.values())
    assert {len(lines) for lines in texts.values()} != {4}


# --- labels ------------------------------------------------------------------------------------------------


def test_labels_of_several_annotators_and_of_several_sources(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("tweet_id,a,b,c\n1,E,E,irrelevant\n2,,E,\n")
    columns = {"relation": ("a", "b", "c")}
    given = LabelFile(file=str(file), source="s", id="tweet_id", columns=columns, values={"E": "explicit"})
    votes = list(read_labels(given))
    assert [(v.item, v.annotator, v.value) for v in votes] == [
        (record_id("s", "1"), "a", "explicit"), (record_id("s", "1"), "b", "explicit"),
        (record_id("s", "1"), "c", "irrelevant"), (record_id("s", "2"), "b", "explicit"),
    ]  # fmt: skip
    assert "file" not in given.model_dump() and given.file_sha256, "its place is no part of a key, its content is"
    file.write_text("source,id,cmi,sc\nnews,x,.50,-1\nwiki,x,,0.5\n")
    levels = LabelFile(file=str(file), columns={"cmi": ("cmi",), "sc": ("sc",)})
    assert [(v.kind, v.item, v.value) for v in read_labels(levels)] == [
        ("cmi", record_id("news", "x"), "0.5"), ("sc", record_id("news", "x"), "-1"),
        ("sc", record_id("wiki", "x"), "0.5"),
    ]  # fmt: skip


def test_bad_labels_are_named_by_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("source,id,cmi\nnews,1,0.5\nnews,1,1\n,2,1\nnews,3,0.6\nnews,4\nnews,5,1\n")
    levels = LabelFile(file=str(file), columns={"cmi": ("cmi",)})
    with pytest.raises(StageError, match="4 lines") as raised:
        list(read_labels(levels))
    assert [f"line {n}" in str(raised.value) for n in range(2, 8)] == [False, True, True, True, True, False]
    with pytest.raises(StageError, match="no column"):
        list(read_labels(LabelFile(file=str(file), columns={"sc": ("sc",)})))
    with pytest.raises(ValueError, match="no question with fixed answers"):
        LabelFile(file=str(file), columns={"best_image": ("cmi",)})


# --- an encyclopedia ---------------------------------------------------------------------------------------

PAGE = """<html lang="en"><head><title>{title}</title></head><body><main><h1>{title}</h1>
<figure><img src="/lead.jpg"><figcaption>The lead picture</figcaption></figure>
<p>{lead} is a town at the water. It has a harbour, an old mill and a market that people visit on Sundays.</p>
<h2>History</h2><p>The mill was built long ago by people who came over the river with their boats and stones.</p>
{mill}<h3>Later</h3><p>It burnt down and was built again.</p>
<h2>Market</h2><p>Every Sunday the market sells fish, bread, flowers and things that nobody needs but many want.</p>
<p><img src="/market.jpg" alt="The market"></p><h2>Empty</h2><img src="/none.jpg"></main></body></html>"""
MILL = '<figure><img src="/mill.jpg"><figcaption>The mill</figcaption></figure>'


def test_wiki_makes_a_record_of_each_illustrated_section(
    run: Run, tmp_path: Path, server: Any, reply: Any, jpeg: bytes
) -> None:
    def page(**parts: str) -> Any:
        text = PAGE.format(**{"title": "Harbour", "lead": "Harbour", "mill": MILL, **parts})
        return reply(200, text.encode(), Content_Type="text/html; charset=utf-8")

    server.routes |= {f"/{n}.jpg": reply(200, jpeg + n.encode(), Content_Type="image/jpeg")
                      for n in ("lead", "mill", "market", "none")}  # fmt: skip
    index = b'<html><body><a href="/wiki/Harbour">Harbour</a></body></html>'
    server.routes |= {"/": reply(200, index, Content_Type="text/html"), "/wiki/Harbour": page()}
    settings = {"contact": "me@example.org", "start": [f"{server.url}/"], "include": ["/wiki/"],
                "fetch": {"allow_private": True, "backoff": 0.01, "robots": False}}  # fmt: skip
    _, found = run("wiki", **settings)
    at = f"{server.url}/wiki/Harbour#{server.url}/"
    assert sorted(found) == [at + "lead.jpg", at + "market.jpg", at + "mill.jpg"]
    lead, mill = found[at + "lead.jpg"], found[at + "mill.jpg"]
    assert lead["document"].title == "Harbour" and "market sells fish" in lead["document"].text, "the whole article"
    assert mill["document"].title == "Harbour - History" and mill["images"][0]["caption"] == "The mill"
    assert mill["document"].text.startswith("The mill was built") and "burnt down" in mill["document"].text
    assert "market" not in mill["document"].text and [i["url"] for i in mill["images"]] == [f"{server.url}/mill.jpg"]
    before = {name: row["content"] for name, row in found.items()}
    assert {n: r["content"] for n, r in run("wiki", **settings)[1].items()} == before, "nothing changed"
    server.routes["/wiki/Harbour"] = page(mill="")
    assert sorted(run("wiki", **settings)[1]) == [at + "lead.jpg", at + "market.jpg"]
    server.routes["/wiki/Harbour"] = reply(500)
    kept = run("wiki", **settings)[1]
    assert sorted(kept) == [at + "lead.jpg", at + "market.jpg"] and all(r["document"] for r in kept.values())
