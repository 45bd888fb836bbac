"""Whatever stops an export, the dataset knows of it or nothing stands there; and errors name the target."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_version import Record, SmallVersion, Used, picture

from diptych.exceptions import NoSpace, StoreError, UsageError
from diptych.export import ExportOptions, write_export
from diptych.export import write as writing
from diptych.export.rows import ExportImage, ExportRecord, StageColumn
from diptych.export.target import Target
from diptych.export.webdataset import WebDataset
from diptych.export.write import Format, HuggingFace
from diptych.naming import record_id
from diptych.records import Document
from diptych.storage.exports import place_of, read_exports
from diptych.storage.forgetting import Asked, find
from diptych.storage.root import LocalRoot
from diptych.storage.store import open_store
from diptych.version import Version


@pytest.fixture
def version(made: SmallVersion, tmp_path: Path) -> Version:
    """A copy whose exports are this test's alone."""
    shutil.copytree(str(made.store.home.url), tmp_path / "root" / made.store.name)
    shutil.rmtree(tmp_path / "root" / made.store.name / "exports", ignore_errors=True)
    return Version(open_store(tmp_path / "root", made.store.name), made.version.manifest)


def named_by_forget(version: Version) -> list[str]:
    """What `forget` says of the exports that hold a record."""
    asked = Asked(records=(record_id("test", "text-only"),))
    return [holder.text for holder in find(version.store, asked).holders if holder.kind == "export"]


def refuses(*prefixes: str, number: int = errno.EROFS) -> Any:
    """``LocalRoot.put`` on a disk that refuses such files."""
    put = LocalRoot.put

    def refused(root: LocalRoot, path: str, data: bytes, durable: bool = True) -> None:
        if path.startswith(prefixes):
            raise OSError(number, os.strerror(number), f"{root.url}/.tmp-1")
        put(root, path, data, durable)

    return refused


def test_a_read_only_dataset_is_refused_before_anything_is_written(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalRoot, "put", refuses("exports/"))
    with pytest.raises(
        StoreError, match=r"nothing was exported.*root/small/exports.*Read-only file system.*copy the dataset"
    ):
        write_export(version, tmp_path / "away" / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root"]


def test_a_note_that_cannot_be_written_leaves_no_export(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "check_writable", lambda store: None)  # the disk fills up only now
    monkeypatch.setattr(LocalRoot, "put", refuses("exports/", number=errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_export(version, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root"] and named_by_forget(version) == []


def test_an_export_that_does_not_appear_is_forgotten_again(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(target: Target) -> None:
        assert [Path(e.place) for e in read_exports(version.store)] == [target.path], "noted before"
        raise KeyboardInterrupt

    monkeypatch.setattr(Target, "publish", refused)
    with pytest.raises(KeyboardInterrupt):
        write_export(version, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root"]
    assert read_exports(version.store) == [] and not version.store.home.exists("exports")


def test_a_kill_at_any_time_leaves_no_export_that_forget_does_not_name(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out"
    for moment in ("before", "after"):
        publish = Target.publish

        def killed(target: Target, moment: str = moment, publish: Any = publish) -> None:
            if moment == "after":
                publish(target)
            os._exit(9)

        child = os.fork()
        if not child:
            Target.publish = killed  # type: ignore[method-assign]
            write_export(version, place)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        said = named_by_forget(version)
        assert (place / "export.json").exists() == (moment == "after")
        if moment == "before":
            [part] = tmp_path.glob(".out.part-*")
            assert said == [f"{place} (huggingface): it was not finished, and {part} is left of it"]
        else:
            assert said == [f"{place} (huggingface)"] * 2
    shutil.rmtree(place)
    assert all("not there now" in text for text in named_by_forget(version))


def test_what_another_export_left_is_not_touched(version: Version, tmp_path: Path) -> None:
    other, own = tmp_path / ".out1.part-012345", tmp_path / ".out[1].part-012345"
    for part in (other, own):
        part.mkdir()
    place = write_export(version, tmp_path / "out[1]").place
    assert other.exists() and not own.exists()
    shutil.rmtree(place)
    own.mkdir()
    assert place_of(read_exports(version.store)[0]).endswith(f"and {own} is left of it")


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_a_folder_leads_there(version: Version, tmp_path: Path, there: bool) -> None:
    (tmp_path / "link").symlink_to("disk")
    if there:
        (tmp_path / "disk").mkdir()
    assert write_export(version, tmp_path / "link").place == tmp_path / "disk"
    assert (tmp_path / "link" / "export.json").is_file()


@pytest.mark.parametrize("kind", ["huggingface", "webdataset", "coco"])
def test_half_a_character_in_metadata_stops_nothing(tmp_path: Path, kind: Format) -> None:
    extra = json.dumps({"author": "J\ud83d", "licence": "CC \ud83d", "boxes": [[1, 2, 3, 4]], "classes": ["\ud83d"]})
    record = Record("a", Document("T", "Text.", language="en", extra=extra), [Used(picture(1), "One.", extra=extra)])
    version = SmallVersion(tmp_path / "root", [record]).version
    for redact in (False, True):
        report = write_export(version, tmp_path / f"out-{redact}", ExportOptions(kind, redact=redact))
        about = json.loads((report.place / "export.json").read_text(encoding="utf-8"))
        assert about["licences"] == {"CC ?": 1}


def test_bytes_of_a_stage_are_hex_in_the_json_of_tar_shards(tmp_path: Path) -> None:
    values = {"clean_thumbnail": b"\0\xff", "own_day": date(2026, 1, 2)}
    image = ExportImage("k", "k", bytes, "", (), "", {}, "", "", values)
    writer = WebDataset(tmp_path, "records")
    writer.add(ExportRecord("r", "r", "s", "s", "", "", "", "en", Document(), "", "", (image,)))
    (name,) = writer.close()["train"]
    with tarfile.open(tmp_path / name) as tar:
        file = tar.extractfile("r.json")
        assert file is not None and json.load(file)["images"][0].items() >= {
            ("clean_thumbnail", "00ff"),
            ("own_day", "2026-01-02"),
        }


def test_tensors_count_in_the_size_of_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.export.huggingface._GROUP_BYTES", 100_000)
    column = StageColumn("grid", "grid", "image", (10, 100), "float16")
    kind = pa.list_(pa.list_(pa.float32()))
    image = ExportImage("k", "k", bytes, "", (), "", {}, "", "", {column.label: np.ones((10, 100), np.float16)})
    record = ExportRecord("r", "r", "s", "s", "", "", "", "en", Document(), "", "", (image,))
    for rows in ("records", "pairs"):
        writer = HuggingFace(tmp_path, rows, [column], {column.label: kind})
        for _ in range(60):
            writer.add(record)
        (path,) = writer.close()["train"]
        found = pq.ParquetFile(tmp_path / path).metadata
        assert [found.row_group(n).num_rows for n in range(found.num_row_groups)] == [25, 25, 10]


def test_a_picture_that_cannot_be_decoded_is_no_fault_of_the_target(tmp_path: Path) -> None:
    record = Record("a", Document("T", "Text.", language="en"), [Used(b"no picture", "One.")])
    version = SmallVersion(tmp_path / "root", [record], ("clean_text",)).version
    for options in (ExportOptions("coco"), ExportOptions("webdataset", redact=True)):
        with pytest.raises(UsageError, match=f"record {record_id('test', 'a')}: one of its pictures .* clean"):
            write_export(version, tmp_path / "out", options)
    assert write_export(version, tmp_path / "out").images == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_errors_name_the_target_and_the_remedy(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(self: HuggingFace, record: object) -> None:
        raise OSError(number, f"Error writing bytes to file. Detail: [errno {number}]")

    monkeypatch.setattr(HuggingFace, "add", full)
    with pytest.raises(NoSpace if number == errno.ENOSPC else UsageError) as caught:
        write_export(version, tmp_path / "away" / "out")
    said = str(caught.value)
    assert f"--to {tmp_path / 'away' / 'out'}: " in said and os.strerror(number) in said
    assert "nothing was written" in said and "another place" in said and ".part-" not in said


def test_an_unreadable_file_of_the_store_is_no_fault_of_the_target(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(self: HuggingFace, record: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", f"{tmp_path}/root/small/raw/blobs/ab/abc")

    monkeypatch.setattr(HuggingFace, "add", unreadable)
    with pytest.raises(PermissionError, match="raw/blobs"):
        write_export(version, tmp_path / "out")


def test_a_split_may_be_named_as_its_files_are(version: Version, tmp_path: Path) -> None:
    found = write_export(version, tmp_path / "out", ExportOptions(split="validation"))
    same = write_export(version, tmp_path / "same", ExportOptions(split="dev"))
    assert found.records == same.records == 1
    listed = json.loads((tmp_path / "out" / "export.json").read_text())
    assert listed["splits"] == {"validation": 1} and listed["options"]["split"] == "dev"
    with pytest.raises(UsageError, match=r"has dev \(in files: validation\), test, train"):
        write_export(version, tmp_path / "no", ExportOptions(split="eval"))
