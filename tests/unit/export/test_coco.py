"""COCO's ids mean the same in every file, and metadata that are no boxes stop nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_version import Record, SmallVersion, Used, picture

from diptych.export import ExportOptions, write_export
from diptych.naming import digest_bytes
from diptych.records import Document

COCO = "name: small\nsources: [{kind: coco, name: test, captions: c.json, images: i}]\n"


def boxes(*names: str, **more: Any) -> str:
    """A picture's metadata with one box for each name."""
    return json.dumps({"boxes": [[1, 2, 30, 40]] * len(names), "classes": names, "crowd": [0] * len(names), **more})


def exported(
    tmp_path: Path, records: list[Record], recipe: str = "", split: str | None = None
) -> dict[str, dict[str, Any]]:
    """Every annotation file of an export by its name; what ``export.json`` says is ``export``."""
    version = SmallVersion(tmp_path / "root", records, shards=1).version
    if recipe:
        version = type(version)(version.store, version.manifest.model_copy(update={"recipe": recipe}))
    write_export(version, tmp_path / "out", ExportOptions("coco", stages=("regions",), split=split))
    found = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "out" / "annotations").iterdir()}
    return found | {"export": json.loads((tmp_path / "out" / "export.json").read_text())}


def record(name: str, extra: str, split: str = "train") -> Record:
    """One record with one picture of its own."""
    data = picture(sum(name.encode()))
    return Record(name, Document("T", "Text.", language="en"), [Used(data, "A cap.", extra=extra)], split=split)


def test_an_id_means_the_same_in_every_split(tmp_path: Path) -> None:
    found = exported(
        tmp_path,
        [
            record("a", boxes("cat", "dog", licence="CC BY 4.0")),
            record("b", boxes("dog", "bus", licence="MIT"), "dev"),
            record("c", boxes("bus", licence="CC BY 4.0"), "test"),
        ],
    )
    for kind, names in (("instances", {"cat", "dog", "bus"}), ("regions", {"cat", "ball"})):
        files = [found[f"{kind}_{split}"] for split in ("train", "validation", "test")]
        assert files[0]["categories"] == files[1]["categories"] == files[2]["categories"]
        assert files[0]["licenses"] == files[1]["licenses"] == files[2]["licenses"]
        assert kind == "regions" or {c["name"] for c in files[0]["categories"]} == names
        called = {c["id"]: c["name"] for c in files[0]["categories"]}
        assert all(a["category_id"] in called for f in files for a in f["annotations"])
    called = {c["id"]: c["name"] for c in found["instances_test"]["categories"]}
    drawn = {s: [called[a["category_id"]] for a in found[f"instances_{s}"]["annotations"]] for s in ("train", "test")}
    assert drawn == {"train": ["cat", "dog"], "test": ["bus"]}
    names = {entry["id"]: entry["name"] for entry in found["captions_test"]["licenses"]}
    assert [names[i["license"]] for i in found["captions_test"]["images"]] == ["CC BY 4.0"]


def test_an_export_of_one_split_has_the_ids_of_one_of_all(tmp_path: Path) -> None:
    records = [
        record("a", boxes("cat", "dog", licence="CC BY 4.0")),
        record("b", boxes("dog", "bus", licence="MIT"), "dev"),
        record("c", boxes("bus", licence="CC0"), "test"),
    ]
    whole = exported(tmp_path / "all", records)
    for split, name in (("train", "train"), ("dev", "validation"), ("test", "test")):
        alone = exported(tmp_path / split, records, split=split)
        assert {n for n in alone if n != "export"} == {f"{k}_{name}" for k in ("captions", "instances", "regions")}
        for kind in ("captions", "instances", "regions"):
            one, among = alone[f"{kind}_{name}"], whole[f"{kind}_{name}"]
            assert one["licenses"] == among["licenses"] and len(one["images"]) == 1
            if kind != "captions":
                assert one["categories"] == among["categories"] and len(one["categories"]) >= 2
                assert [a["category_id"] for a in one["annotations"]] == [
                    a["category_id"] for a in among["annotations"]
                ]
    assert alone["export"]["records"] == 1


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ('[{"x": 1}]', 0), ('"abc"', 0), ("[[1, 2, 3]]", 0), ('{"a": 1}', 0), ("[[null, null, null, null]]", 0),
        ("7", 0), ("[[1, 2, 3, NaN]]", 0), ("[[1, 2, 3, 1e999]]", 0), ("[[true, 2, 3, 4]]", 0), ('["1234"]', 0),
        (f"[[1, 2, 3, {10**400}]]", 0), ("[[1, 2, 3, 4], [1, 2]]", 1),
    ],
)  # fmt: skip
def test_boxes_of_another_shape_are_left_out_and_counted(tmp_path: Path, value: str, kept: int) -> None:
    found = exported(tmp_path, [record("a", f'{{"boxes": {value}}}'), record("b", boxes("cat"))])
    assert len(found["instances_train"]["annotations"]) == kept + 1 and len(found["captions_train"]["images"]) == 2
    assert found["export"]["boxes_left_out"] == 1
    assert "1 annotated boxes were not four numbers" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("more", [{"classes": 7}, {"classes": "abc"}, {"crowd": [None]}, {"crowd": {"a": 1}}])
def test_names_and_crowds_of_another_shape_are_none(tmp_path: Path, more: dict[str, Any]) -> None:
    found = exported(tmp_path, [record("a", json.dumps({"boxes": [[1, 2, 3, 4]], **more}))])
    (box,) = found["instances_train"]["annotations"]
    assert box["iscrowd"] == 0 and found["export"]["boxes_left_out"] == 0


def test_own_ids_stay_and_repeated_ones_count_above_them(tmp_path: Path) -> None:
    own: list[Any] = [9, 9, 9, 1, 2, -5, True, None]
    records = [record(f"r{n}", json.dumps({"id": value})) for n, value in enumerate(own)]
    found = exported(tmp_path, records, COCO)
    ids = sorted(i["id"] for i in found["captions_train"]["images"])
    assert ids == [1, 2, 9, 10, 11, 12, 13, 14]
    assert sorted(a["image_id"] for a in found["captions_train"]["annotations"]) == ids
    assert {a["image_id"] for a in found["regions_train"]["annotations"]} == set(ids)
    keys = {i["image_key"]: i["id"] for i in found["captions_train"]["images"]}
    for number, used in ((1, records[3]), (2, records[4])):
        assert keys[digest_bytes(used.images[0].data or b"")] == number


def test_ids_count_from_one_without_a_source_of_coco(tmp_path: Path) -> None:
    found = exported(tmp_path, [record("a", '{"id": 70}'), record("b", ""), record("c", "", "dev")])
    ids = [i["id"] for split in ("train", "validation") for i in found[f"captions_{split}"]["images"]]
    assert sorted(ids) == [1, 2, 3]


def test_croissant_describes_thousands_of_files_by_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    croissant = pytest.importorskip("mlcroissant")
    monkeypatch.setattr("diptych.export.croissant._LISTED", 3)
    exported(tmp_path, [record(name, boxes("cat")) for name in "abc"])
    file = tmp_path / "out" / "croissant.json"
    found = {d["@id"]: d["@type"] for d in json.loads(file.read_text())["distribution"]}
    sets = ("annotations/*.json", "images/train/*.jpg")
    assert found == {"README.md": "cr:FileObject", **dict.fromkeys(sets, "cr:FileSet")}
    assert not croissant.Dataset(jsonld=str(file)).metadata.issues.errors
