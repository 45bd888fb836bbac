"""Exports are read by the tools they are for, and come back as the same records through our own sources."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_version import Record, SmallVersion, Used, picture

from diptych.export import ExportOptions, write_export
from diptych.export.arrays import H5, Npz
from diptych.export.rows import ExportImage, ExportRecord, StageColumn, iter_records
from diptych.records import Document
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.storage.exports import read_exports
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import open_store

Options = ExportOptions


@pytest.fixture(scope="session")
def truth(made: SmallVersion) -> dict[str, ExportRecord]:
    return {record.id: record for record in iter_records(made.version)}


def imported(kind: str, folder: Path, root: Path, **settings: Any) -> dict[str, dict[str, Any]]:
    """What our source reads from an export: rows of a snapshot by source id, with their documents."""
    store = open_store(root, "again")
    source = open_source({"kind": kind, "name": "s", **settings}, folder)
    crawl(store, [source])
    found = {}
    for row in cut_snapshot(store, [source]).iter_rows():
        content = row["content"]
        found[row["source_id"]] = row | {"document": Document.from_bytes(store.blobs.get(content)) if content else None}
    return found


def check_records(found: dict[str, dict[str, Any]], truth: dict[str, ExportRecord]) -> None:
    assert found.keys() == truth.keys()
    for key, record in truth.items():
        row = found[key]
        assert row["document"].title == record.document.title and row["document"].text == record.document.text
        assert (
            row["document"].summary == record.document.summary
            and row["document"].keyphrases == record.document.keyphrases
        )
        assert row["document"].language == record.language and (row["split"] or "") == record.split
        assert [i["key"] for i in row["images"]] == [i.key for i in record.images]
        assert [i["caption"] for i in row["images"]] == ["\n".join(i.captions) for i in record.images]
        assert [json.loads(i["extra"] or "{}") for i in row["images"]] == [dict(i.extra) for i in record.images]


def test_what_is_exported(truth: dict[str, ExportRecord]) -> None:
    titles = Counter(record.document.title for record in truth.values())
    assert titles == Counter([f"Title {n}" for n in range(6)] + ["Alone", "<b>`T`</b> | x", "T"]), (
        "a refused one is not"
    )
    pictures = {r.document.title: len(r.images) for r in truth.values()}
    assert pictures["Title 0"] == 2 and pictures["Alone"] == 0 and pictures["T"] == 0
    assert {i.licence for r in truth.values() for i in r.images} == {"CC BY 4.0", ""}


def test_hugging_face_reads_records_and_they_come_back(
    made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    folder = tmp_path / "out"
    report = write_export(made.version, folder, Options(stages=("regions", "backbone", "ocr")))
    assert report.records == len(truth) == 9 and report.images == sum(len(r.images) for r in truth.values())
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 7, "validation": 1, "test": 1}  # type: ignore[union-attr]
    streamed = datasets.load_dataset(str(folder), streaming=True)
    for part in (loaded, streamed):
        row = next(iter(part["test"]))  # type: ignore[index]
        record = truth[row["id"]]
        assert row["title"] == "Title 5" and [i.size for i in row["images"]] == [(120, 90), (40, 30)]
        assert row["image_captions"] == [["Caption one of 5.", "Caption two."], []]
        assert row["image_licence"] == ["CC BY 4.0", ""] and row["image_key"] == [i.key for i in record.images]
        assert row["regions_boxes"][0] == [[5.0, 5.0, 50.0, 60.0], [60.0, 20.0, 110.0, 80.0]]
        assert row["ocr_lines"][0][0]["text"] == "FRESH <COFFEE>" and len(row["backbone_pooled"][0]) == 8
    check_records(imported("parquet", folder, tmp_path / "root", path="records"), truth)


def test_pairs_have_one_row_a_picture(made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path) -> None:
    import datasets

    write_export(made.version, tmp_path / "out", Options(rows="pairs", split="train", stages=("clean_text",)))
    rows = list(datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True))
    expected = sorted(i.key for r in truth.values() if r.split == "train" for i in r.images)
    assert sorted(row["image_key"] for row in rows) == expected
    assert {row["caption"] for row in rows} >= {"Caption one of 0. Caption two."} and rows[0]["clean_text_characters"]


def test_pairs_of_a_split_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    records = [
        Record("a", Document("T", "Text.", language="en"), [Used(picture(1), "One.")]),
        Record("b", Document("T", "Text.", language="en"), []),
        Record("c", Document("T", "Text.", language="en"), [], split="test"),
    ]
    version = SmallVersion(tmp_path / "root", records).version
    for kind, rows in (("huggingface", "pairs"), ("webdataset", "pairs"), ("coco", "records")):
        folder = tmp_path / f"{kind}-{rows}"
        report = write_export(version, folder, Options(kind, rows=rows))  # type: ignore[arg-type]
        about = json.loads((folder / "export.json").read_text())
        assert report.records == about["records"] == 1 and about["splits"] == {"train": 1}
        assert "1 records, 1 pictures" in (folder / "README.md").read_text()
        assert {e.records for e in read_exports(version.store) if e.place == str(folder)} == {1}
    loaded = datasets.load_dataset(str(tmp_path / "huggingface-pairs"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 1}  # type: ignore[union-attr]


def test_lists_of_a_record_without_pictures_are_empty(made: SmallVersion, tmp_path: Path) -> None:
    write_export(made.version, tmp_path / "out", Options(stages=("regions", "backbone", "clean_text")))
    rows = [row for p in (tmp_path / "out" / "records").iterdir() for row in pq.read_table(p).to_pylist()]
    (alone,) = [row for row in rows if row["title"] == "Alone"]
    for name in ("images", "image_key", "regions_boxes", "regions_classes", "backbone_pooled"):
        assert alone[name] == [], name
    assert alone["clean_text_characters"] == len("No picture at all.")


def test_a_text_keeps_its_licence_beside_that_of_its_pictures(tmp_path: Path) -> None:
    extra = {name: json.dumps({"licence": name}) for name in ("All rights reserved", "CC BY 4.0")}
    document = Document("T", "Text.", language="en", extra=extra["All rights reserved"])
    used = [Used(picture(1), "One.", extra=extra["CC BY 4.0"])]
    small = SmallVersion(tmp_path / "root", [Record("a", document, used)])
    plain = SmallVersion(tmp_path / "plain", [Record("a", Document("T", "Text.", language="en"), used)])
    recipe = "name: small\nsources: [{kind: folder, name: test, path: ., licence: All rights reserved}]\n"
    default = type(plain.version)(plain.store, plain.version.manifest.model_copy(update={"recipe": recipe}))
    for place, version in (("own", small.version), ("given", default)):
        for kind, settings in (("huggingface", {"path": "records"}), ("webdataset", {"path": "."})):
            folder = tmp_path / f"{place}-{kind}"
            write_export(version, folder, Options(kind))  # type: ignore[arg-type]
            source = "parquet" if kind == "huggingface" else kind
            (row,) = imported(source, folder, tmp_path / f"{place}-{kind}-root", **settings).values()
            assert json.loads(row["document"].extra)["licence"] == "All rights reserved"
            assert json.loads(row["images"][0]["extra"])["licence"] == "CC BY 4.0"


def test_webdataset_reads_shards_and_they_come_back(
    made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path
) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder = tmp_path / "out"
    write_export(made.version, folder, Options("webdataset", stages=("backbone", "regions")))
    shards = sorted(str(p) for p in folder.glob("*.tar"))
    assert [Path(s).name for s in shards] == ["test-000000.tar", "train-000000.tar", "validation-000000.tar"]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert {s["__key__"] for s in samples} == truth.keys()
    sample = next(s for s in samples if s["json"]["title"] == "Title 5")
    assert sample["0.jpg"].size == (120, 90) and sample["1.png"].size == (40, 30)
    assert sample["0.backbone_pooled.npy"].shape == (8,) and sample["json"]["images"][0]["licence"] == "CC BY 4.0"
    check_records(imported("webdataset", folder, tmp_path / "root", path="."), truth)
    write_export(made.version, tmp_path / "pairs", Options("webdataset", rows="pairs", split="test"))
    pairs = webdataset.WebDataset(str(tmp_path / "pairs" / "test-000000.tar"), shardshuffle=False).decode()
    assert [set(s) - {"__key__", "__url__", "__local_path__"} for s in pairs] == [
        {"jpg", "json", "txt"},
        {"png", "json", "txt"},
    ]


def test_pycocotools_reads_captions_boxes_and_regions(
    made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    folder = tmp_path / "out"
    write_export(made.version, folder, Options("coco", stages=("regions",)))
    captions = coco.COCO(str(folder / "annotations" / "captions_test.json"))
    (first,) = [i for i in captions.loadImgs(captions.getImgIds()) if i["file_name"].endswith(".jpg")]
    assert [a["caption"] for a in captions.loadAnns(captions.getAnnIds(first["id"]))] == [
        "Caption one of 5.",
        "Caption two.",
    ]
    licences = {entry["id"]: entry["name"] for entry in captions.dataset["licenses"]}
    assert licences[first["license"]] == "CC BY 4.0" and first["record"] in truth
    with Image.open(folder / "images" / "test" / first["file_name"]) as image:
        assert image.size == (first["width"], first["height"]) == (120, 90)
    instances = coco.COCO(str(folder / "annotations" / "instances_test.json"))
    boxes = {
        instances.loadCats(a["category_id"])[0]["name"]: (a["bbox"], a["iscrowd"])
        for a in instances.loadAnns(instances.getAnnIds(first["id"], iscrowd=None))
    }
    assert boxes == {"cat": ([1.0, 2.0, 29.0, 38.0], 0), "dog": ([5.0, 5.0, 5.0, 5.0], 1)}
    regions = coco.COCO(str(folder / "annotations" / "regions_test.json"))
    assert [a["bbox"] for a in regions.loadAnns(regions.getAnnIds(first["id"]))][0] == [5.0, 5.0, 45.0, 55.0]
    found = imported(
        "coco", folder, tmp_path / "root", images="images/train", split="train",
        captions="annotations/captions_train.json", instances="annotations/instances_train.json",
    )  # fmt: skip
    expected = {i.key: i for r in truth.values() if r.split == "train" for i in r.images}
    assert {row["images"][0]["key"] for row in found.values()} == expected.keys()
    for row in found.values():
        image = expected[row["images"][0]["key"]]
        assert row["images"][0]["caption"] == "\n".join(image.captions) and row["split"] == "train"
        if image.extra.get("boxes"):
            assert json.loads(row["images"][0]["extra"])["boxes"] == [[1.0, 2.0, 30.0, 40.0], [5.0, 5.0, 10.0, 10.0]]


def test_croissant_is_valid_and_iterates_offline(
    made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path
) -> None:
    croissant = pytest.importorskip("mlcroissant")
    folder = tmp_path / "out"
    write_export(made.version, folder, Options(stages=("clean_text", "regions", "ocr")))
    dataset = croissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not dataset.metadata.issues.errors
    rows = list(dataset.records("records"))
    assert len(rows) == len(truth)
    titles = {row["records/title"].decode() for row in rows}
    assert titles == {r.document.title for r in truth.values()}
    (five,) = [row for row in rows if row["records/title"] == b"Title 5"]
    assert [i.size for i in five["records/images"]] == [(120, 90), (40, 30)]
    assert five["records/image_captions"] == [[b"Caption one of 5.", b"Caption two."], []]
    assert five["records/regions_boxes"][0][0] == [5.0, 5.0, 50.0, 60.0]
    for file in json.loads((folder / "croissant.json").read_text())["distribution"][:-1]:
        assert file["sha256"] == hashlib.sha256((folder / file["contentUrl"]).read_bytes()).hexdigest()
    for kind in ("webdataset", "coco"):
        write_export(made.version, tmp_path / kind, Options(kind))  # type: ignore[arg-type]
        assert not croissant.Dataset(jsonld=str(tmp_path / kind / "croissant.json")).metadata.issues.errors


def test_features_as_npz_and_h5(made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    stages = ("regions", "backbone")
    write_export(made.version, tmp_path / "npz", Options("npz", stages=stages))
    write_export(made.version, tmp_path / "h5", Options("h5", stages=stages))
    keys = {i.key for r in truth.values() if r.split == "train" for i in r.images}
    assert {p.stem for p in (tmp_path / "npz" / "regions" / "train").iterdir()} == keys
    with h5py.File(tmp_path / "h5" / "train.h5") as file:
        index = json.loads((tmp_path / "h5" / "train_index.json").read_text())
        assert {k.decode() for k in file["image_ids"][:]} == keys == index.keys()
        for key, row in index.items():
            with np.load(tmp_path / "npz" / "regions" / "train" / f"{key}.npz", allow_pickle=False) as one:
                start, end = file["pos_boxes"][row]
                np.testing.assert_array_equal(file["image_bb"][start:end], one["bbox"])
                assert one["num_bbox"] == 2 and one["bbox"].dtype == np.float32
            with np.load(tmp_path / "npz" / "backbone" / "train" / f"{key}.npz", allow_pickle=False) as one:
                np.testing.assert_array_equal(file["backbone/pooled"][row], one["pooled"])


def test_h5_keeps_types_and_says_what_is_missing(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    big = 2**53 + 1
    columns = [
        StageColumn("pixels", "pixels", "image", (2, 3), "uint8"), StageColumn("ids", "ids", "image", (2,), "int64"),
        StageColumn("grid", "grid", "image", (2, 4), "float16"), StageColumn("rag", "x", "image", (None, 3), "int32"),
    ]  # fmt: skip
    there = {
        "pixels_pixels": np.full((2, 3), 200, np.uint8), "ids_ids": np.array([big, 1]),
        "grid_grid": np.ones((2, 4), np.float16), "rag_x": np.ones((2, 3), np.int32),
    }  # fmt: skip
    nothing: dict[str, Any] = dict.fromkeys(there)

    def image(key: str, values: dict[str, Any]) -> ExportImage:
        return ExportImage(key, key, bytes, "", (), "", {}, "", "", values)

    def record(split: str, *images: ExportImage) -> ExportRecord:
        return ExportRecord("r", "r", "s", "s", "", "", split, "en", Document(), "", "", images)

    writer = H5(tmp_path, columns)
    assert writer.add(record("train", image("a", there), image("b", nothing)))
    assert writer.add(record("test", image("a", nothing), image("b", there)))
    assert not writer.add(record("test"))
    writer.close()
    for split, ok in (("train", [True, False]), ("test", [False, True])):
        with h5py.File(tmp_path / f"{split}.h5") as file:
            row, lost = ok.index(True), ok.index(False)
            for column in columns:
                name = f"{column.stage}/{column.name}"
                assert file[name].dtype == column.dtype and file[f"{name}_ok"][:].tolist() == ok
            assert file["ids/ids"][row].tolist() == [big, 1] and file["ids/ids"][lost].tolist() == [0, 0]
            assert np.isnan(file["grid/grid"][lost]).all() and (file["pixels/pixels"][lost] == 0).all()
            assert file["rag/x"].shape == (2, 3)
            assert file["rag/x_pos"][row].tolist() == [0, 2] and len(set(file["rag/x_pos"][lost].tolist())) == 1


def test_npz_counts_what_has_a_file(tmp_path: Path) -> None:
    column = StageColumn("grid", "grid", "image", (2,), "int32")
    images = [ExportImage(k, k, bytes, "", (), "", {}, "", "", {"grid_grid": v}) for k, v in (("a", 1), ("b", None))]
    for image, expected in zip(images, (True, False), strict=True):
        record = ExportRecord("r", "r", "s", "s", "", "", "", "en", Document(), "", "", (image,))
        writer = Npz(tmp_path, [column])
        assert writer.add(record) is writer.add(record) is expected
        assert writer.close() == ({"train": ["grid/train"]} if expected else {})
    assert [p.name for p in tmp_path.rglob("*.npz")] == ["a.npz"]


def test_h5_says_which_pictures_have_no_regions(made: SmallVersion, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_export(made.version, tmp_path / "out", Options("h5", stages=("regions", "backbone")))
    with h5py.File(tmp_path / "out" / "train.h5") as file:
        assert file["regions_ok"][:].all() and file["backbone/pooled_ok"][:].all()
        assert file["backbone/pooled"].dtype == np.float16


def test_a_stage_that_is_named_twice_goes_along_once(made: SmallVersion, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    stages = ("backbone", "clean_text", "backbone")
    write_export(made.version, tmp_path / "h5", Options("h5", stages=stages))
    with h5py.File(tmp_path / "h5" / "train.h5") as file:
        assert len(file["backbone/pooled"]) == len(file["backbone/pooled_ok"]) == len(file["image_ids"])
    write_export(made.version, tmp_path / "out", Options(stages=stages, split="test"))
    (path,) = (tmp_path / "out" / "records").iterdir()
    assert pq.read_schema(path).names.count("backbone_pooled") == 1


def test_equal_content_gives_equal_bytes(made: SmallVersion, tmp_path: Path) -> None:
    for options in (Options(), Options("webdataset"), Options("coco"), Options("npz", stages=("backbone",))):
        places = [tmp_path / f"{options.format}{n}" for n in range(2)]
        for place in places:
            write_export(made.version, place, options)
        names = [sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()) for place in places]
        assert names[0] == names[1]
        assert all((places[0] / name).read_bytes() == (places[1] / name).read_bytes() for name in names[0])


def test_pictures_are_the_fetched_bytes(made: SmallVersion, truth: dict[str, ExportRecord], tmp_path: Path) -> None:
    write_export(made.version, tmp_path / "out", Options("coco", split="test"))
    found = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / "out" / "images" / "test").iterdir()}
    assert found == {i.original for r in truth.values() if r.split == "test" for i in r.images}
    assert all(Image.open(io.BytesIO(i.read())).size for r in truth.values() for i in r.images)
