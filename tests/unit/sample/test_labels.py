from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from PIL import Image

from diptych.naming import pair_key, record_id
from diptych.sample import Site, write
from diptych.sample.caption_set import write_captions
from diptych.sample.labels import SOURCE, votes_of
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import open_store
from diptych.votes.answers import import_votes


def test_votes_are_about_the_records_and_pairs_that_the_folder_gives(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "data"), "labels")
    write(Site(12), tmp_path, static=False)
    source = open_source({"kind": "folder", "name": SOURCE, "path": "."}, tmp_path)
    crawl(store, [source])
    pairs: dict[str, str] = {}
    keys: dict[str, set[str]] = {}
    for row in cut_snapshot(store, [source]).iter_rows():
        seen: Counter[str] = Counter()
        for image in row["images"] or ():
            if image["key"]:
                seen[image["key"]] += 1
                pairs[pair_key(row["record"], image["key"], seen[image["key"]])] = image["url"]
                keys.setdefault(row["record"], set()).add(image["key"])
    found = import_votes(tmp_path / "votes.csv")
    assert not found.refused and len(found.votes) > 50
    truths = {record_id(SOURCE, f"d{t.index:05d}"): t for t in Site(12).truths()}
    by_item: dict[tuple[str, str], Counter[str]] = {}
    for vote in found.votes:
        assert vote.item in (keys if vote.kind == "best_image" else pairs)
        by_item.setdefault((vote.kind, vote.item), Counter())[vote.value] += 1
        if vote.kind == "best_image":
            assert vote.value in keys[vote.item]
    right = 0
    relations = [(item, counts) for (kind, item), counts in by_item.items() if kind == "relation"]
    for item, counts in relations:
        truth = truths[item.partition("/")[0]]
        (image,) = (i for i in truth.images if i.path.rsplit("/", 1)[-1] == pairs[item].rsplit("/", 1)[-1])
        right += counts.most_common(1)[0][0] == image.relevance
        assert counts.total() == 3
    assert right >= 0.95 * len(relations)


def test_the_same_site_gives_the_same_votes() -> None:
    assert list(votes_of(Site(4))) == list(votes_of(Site(4)))
    assert list(votes_of(Site(4))) != list(votes_of(Site(4, seed=1)))


def test_levels_can_be_asked_of_some_pairs_only() -> None:
    whole = list(votes_of(Site(8)))
    some = list(votes_of(Site(8), levels=0.5))
    assert [v for v in some if v.kind not in ("cmi", "sc")] == [v for v in whole if v.kind not in ("cmi", "sc")]
    asked, judged = ({v.item for v in votes if v.kind == "cmi"} for votes in (some, whole))
    assert asked < judged and len(judged) / 4 < len(asked) < 3 * len(judged) / 4
    assert {v.item for v in some if v.kind == "sc"} <= asked


def test_a_caption_set_has_boxes_within_the_picture_and_the_phrases_that_name_them(tmp_path: Path) -> None:
    count = write_captions(Site(6, 1, dirt=False), tmp_path)
    files = sorted((tmp_path / "documents").glob("*.json"))
    assert len(files) == count == json.loads((tmp_path / "done.json").read_text())["pictures"] > 0
    named = 0
    for file in files:
        (entry,) = json.loads(file.read_text(encoding="utf-8"))["images"]
        with Image.open(tmp_path / entry["file"]) as picture:
            width, height = picture.size
        assert len(entry["boxes"]) == len(entry["phrases"]) > 0
        for (left, top, right, bottom), phrases in zip(entry["boxes"], entry["phrases"], strict=True):
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            named += bool(phrases)
            assert all(phrase in entry["caption"] for phrase in phrases)
        assert len(entry["caption"].splitlines()) == 5
    assert named > 0
