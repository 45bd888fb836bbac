"""Tasks for annotators, and the way of one answer back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from diptych.exceptions import UsageError
from diptych.naming import record_id, split_pair_key
from diptych.votes.answers import import_votes
from diptych.votes.kinds import KINDS
from diptych.votes.tasks import export_tasks, known_items, label_page, no_formula

TWO, ONE, FOUR = (record_id("test", name) for name in ("two", "one", "four"))


def test_choosing_a_picture(version: Any, tmp_path: Path) -> None:
    done = export_tasks(version, "best_image", tmp_path / "tasks.json")
    assert (done.tasks, done.left_out) == (2, 1)
    tasks = {t["data"]["item"]: t["data"] for t in json.loads((tmp_path / "tasks.json").read_text("utf-8"))}
    assert set(tasks) == {TWO, FOUR}
    assert len(tasks[TWO]["choices"]) == 2 and tasks[TWO]["image3"] == "" and len(tasks[FOUR]["choices"]) == 3
    assert tasks[TWO]["title"] == "Title 1." and tasks[TWO]["caption2"] == "=A boat."
    for name in (tasks[FOUR][f"image{n}"] for n in (1, 2, 3)):
        assert (tmp_path / "images" / name.rpartition("/")[2]).read_bytes()[:2] == b"\xff\xd8"
    assert all(file.is_file() for file in done.files)


def test_questions_about_pairs(version: Any, tmp_path: Path) -> None:
    for kind in ("relation", "cmi", "sc"):
        done = export_tasks(version, kind, tmp_path / kind / "tasks.json", split="train", limit=4)
        tasks = json.loads((tmp_path / kind / "tasks.json").read_text("utf-8"))
        assert done.tasks == len(tasks) == 4 and all(KINDS[kind].is_item(t["data"]["item"]) for t in tasks)
    assert export_tasks(version, "relation", tmp_path / "all.json").tasks == 6


def test_an_answer_in_label_studio_comes_back(version: Any, tmp_path: Path) -> None:
    export_tasks(version, "best_image", tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text("utf-8"))
    result = [{"from_name": "vote", "to_name": "image1", "type": "choices", "value": {"choices": ["2"]}}]
    for task in tasks:
        task["annotations"] = [{"id": 1, "completed_by": 7, "was_cancelled": False, "result": result}]
    (tmp_path / "done.json").write_text(json.dumps(tasks), "utf-8")
    found = import_votes(tmp_path / "done.json", known_items(version))
    assert found.refused == () and {v.item: v.value for v in found.votes} == {
        t["data"]["item"]: t["data"]["choices"][1] for t in tasks
    }


def test_a_table_filled_in_comes_back(version: Any, tmp_path: Path) -> None:
    file = tmp_path / "tasks.csv"
    export_tasks(version, "best_image", file, "csv")
    rows = list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))
    assert "'=A boat." in {row["caption2"] for row in rows}
    for row in rows:
        row["annotator"], row["value"] = "ann", "1"
    with file.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.DictWriter(sink, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(UsageError, match=rf"{len(rows)} answers stand in it"):
        export_tasks(version, "best_image", file, "csv")
    found = import_votes(file, known_items(version))
    assert found.refused == () and [v.value for v in found.votes] == [
        r["choices"].split()[0] for r in sorted(rows, key=lambda r: r["item"])
    ]


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@a", "\n=1", "\t=1", "\r\n =1", "\ta", "\ra", "＝1", "＋1", "－1", "＠a"]
)
def test_texts_that_a_spreadsheet_would_run_are_quoted(text: str) -> None:
    assert no_formula(text) == "'" + text
    assert no_formula("a" + text) == "a" + text and no_formula("") == "" and no_formula(" ") == " "


def test_what_is_not_in_the_version_is_unknown(version: Any, tmp_path: Path) -> None:
    known = known_items(version)
    advertisement = next(r["key"] for r in version.table("clean_pairs").to_pylist() if r["status"] != "ok")
    image = split_pair_key(advertisement)[1]
    lines = [f"ann,{advertisement},cmi,1", f"ann,{FOUR},best_image,{image}", f"ann,{'0' * 32},best_image,{image}"]
    (tmp_path / "v.csv").write_text("\n".join(["annotator,item,kind,value", *lines]), "utf-8")
    found = import_votes(tmp_path / "v.csv", known)
    assert found.votes == () and [r.reason for r in found.refused] == ["unknown_item", "unknown_value", "unknown_item"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_offers_every_answer(kind: str) -> None:
    page = ElementTree.fromstring(label_page(kind))
    offered = [choice.get("value") for choice in page.iter("Choice")]
    own = ("1", "2", "3") if kind == "best_image" else (*"12345678", "none")
    assert offered == list(KINDS[kind].values or own)
    assert {c.get("toName") for c in page.iter("Choices")} <= {i.get("name") for i in page.iter("Image")}


def test_unknown_questions_and_formats_are_refused(version: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are best_image, relation, cmi, sc, region, region_right"):
        export_tasks(version, "beauty", tmp_path / "x.json")
    with pytest.raises(UsageError, match="there are label-studio, csv"):
        export_tasks(version, "cmi", tmp_path / "x.json", "xlsx")  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_named(version: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "x.json"):
        with pytest.raises(UsageError, match=f"--to {place}: .*another"):
            export_tasks(version, "best_image", place)
