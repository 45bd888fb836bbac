from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Document
from diptych.sources.cmkp import Cmkp
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import Store

ADDRESS = "https://pbs.example.org/media"


def plain(number: int, keyphrases: str) -> str:
    return f"post {number} says hello<sep>{keyphrases}<sep>{ADDRESS}/{number}.jpg"


def full(number: int) -> str:
    read = f"post {number} <seg> BIG SALE <seg> dog ; tree"
    return (
        f"{read} <sep>sale; big dog <sep>{ADDRESS}/{number}.jpg<sep>tensor([[9.9e-01, 1.7e-02]])<sep>1<sep>dog ; tree"
    )


def write(folder: Path) -> dict[str, str]:
    (folder / "train.txt").write_text(
        "\n".join(
            [plain(1, "wild flower hour;garden"), "", "no separators at all", plain(2, " ; "), plain(9, "leaked"),
             full(3), full(4).replace("tensor", "exec"), full(5).replace("<sep>1<sep>", "<sep>2<sep>"),
             "post<sep>a<sep>not an address"]
        ), encoding="utf-8",
    )  # fmt: skip
    (folder / "test.txt").write_text("\ufeff" + plain(9, "été;été") + "\r\n", encoding="utf-8")
    return {"train": "train.txt", "test": "test.txt"}


def crawled(store: Store, folder: Path, **settings: Any) -> tuple[Cmkp, dict[str, dict[str, Any]]]:
    source = open_source(
        {"kind": "cmkp", "name": "mkp", "contact": "me@example.org", "pictures": "none", **settings}, folder
    )
    assert isinstance(source, Cmkp)
    crawl(store, [source])
    rows = {str(row["source_id"]).rsplit("/", 1)[-1]: row for row in cut_snapshot(store, [source]).iter_rows()}
    for row in rows.values():
        row["document"] = Document.from_bytes(store.blobs.get(row["content"]))
    return source, rows


def test_both_forms_are_read_and_bad_lines_are_named(store: Store, tmp_path: Path) -> None:
    source, rows = crawled(store, tmp_path, splits=write(tmp_path))
    assert sorted(rows) == ["1.jpg", "3.jpg", "9.jpg"]
    assert rows["1.jpg"]["document"].text == "post 1 says hello"
    assert rows["1.jpg"]["document"].keyphrases == ("wild flower hour", "garden")
    assert rows["1.jpg"]["split"] == "train" and not rows["1.jpg"]["images"]
    assert rows["9.jpg"]["split"] == "test" and rows["9.jpg"]["document"].keyphrases == ("été",)
    read = rows["3.jpg"]["document"]
    assert read.text == "post 3" and read.keyphrases == ("sale", "big dog")
    assert json.loads(read.extra) == {
        "ocr": "BIG SALE", "entities": ["dog", "tree"], "image_adds": 1, "matching_score": 0.017,
    }  # fmt: skip
    told = [line.split(": ")[1] for line in source.malformed]
    assert told == ["line 3", "line 4", "line 5", "line 7", "line 8", "line 9"]
    assert "each picture's address once" in source.malformed[2]


def test_pictures_come_from_a_folder_by_the_addresss_last_part(store: Store, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "1.jpg").write_bytes(b"\xff\xd8\xff\xe0 picture")
    (tmp_path / "train.txt").write_text(plain(1, "a"), encoding="utf-8")
    _, rows = crawled(store, tmp_path, splits={"train": "train.txt"}, pictures="folder", images="media")
    (image,) = rows["1.jpg"]["images"]
    assert image["outcome"] == "ok" and image["caption"] == "post 1 says hello"


def test_what_cannot_be_read_at_all_is_refused(store: Store, tmp_path: Path) -> None:
    files = write(tmp_path)
    for settings in ({"splits": {}}, {"splits": {"train": "none.txt"}}, {"splits": files, "pictures": "folder"}):
        with pytest.raises(RecipeError):
            crawled(store, tmp_path, **settings)
    with pytest.raises(SourceError, match="more than 1 malformed"):
        crawled(store, tmp_path, splits=files, max_malformed=1)


@pytest.mark.data("DIPTYCH_CMKP")
def test_the_public_release(store: Store) -> None:
    folder = Path(os.environ["DIPTYCH_CMKP"])
    splits = {"train": "train_src.txt", "dev": "valid_src.txt", "test": "test_src.txt"}
    source, rows = crawled(store, folder, splits=splits)
    lines = sum(bool(x.strip()) for name in splits.values() for x in (folder / name).open(encoding="utf-8"))
    assert len(rows) + len(source.malformed) == lines
    assert len(source.malformed) <= lines // 100
    authors, read = crawled(store, folder, name="authors", splits={"test": "ocr_entities_sample.txt"})
    assert not authors.malformed and len(read) == 400
