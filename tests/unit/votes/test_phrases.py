"""Questions about phrases of captions and regions of pictures, and their answers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from diptych.exceptions import UsageError
from diptych.naming import sentence_key, split_pair_key
from diptych.votes.answers import import_votes
from diptych.votes.tasks import export_tasks, known_items

CAR = "A red car near a tree."
TREE = {
    "words": ["A", "red", "car", "near", "a", "tree", "."], "start": [0, 0, 3, 3, 4], "end": [6, 3, 6, 4, 6],
    "noun_phrase": [False, True, False, False, True],
}  # fmt: skip


class Told:
    """The votes' small version with a parse, regions, and what people linked before."""

    def __init__(self, version: Any, links: dict[str, Any] | None = None) -> None:
        self._version, self._links = version, links
        self.stages = (*version.stages, "parse", "regions", *(["pair_votes"] if links else []))
        images = [split_pair_key(r["key"])[1] for r in version.table("clean_pairs").to_pylist()]
        box = [[1.2, 2.0, 40.0, 50.4], [60.0, 5.0, 110.0, 80.0]]
        self._tables = {
            "parse": [{"key": sentence_key(CAR), "status": "ok", **TREE}],
            "regions": [{"key": i, "status": "ok", "boxes": box, "class_names": ["car", "N/A"]} for i in images],
            "pair_votes": [{"key": k, "status": "ok", "regions": v} for k, v in (links or {}).items()],
        }

    def table(self, stage: str, columns: Any = None, **options: Any) -> Any:
        if stage not in self._tables:
            found = self._version.table(stage, columns, **options)
            return (
                pa.Table.from_pylist([_with_caption(r) for r in found.to_pylist()]) if stage == "sentences" else found
            )
        return pa.Table.from_pylist(self._tables[stage])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._version, name)


def _with_caption(row: dict[str, Any]) -> dict[str, Any]:
    """Every picture is captioned with the car."""
    items = [{"field": "caption", "paragraph": n, "text": CAR} for n in range(4)]
    return {**row, "items": [{"field": "text", "paragraph": 0, "text": CAR}, *items]}


@pytest.fixture
def told(version: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    import diptych.storage.reader_records as records

    plain = records.Records
    monkeypatch.setattr(records, "Records", lambda v, *args, **kw: plain(getattr(v, "_version", v), *args, **kw))
    return Told(version)


def test_each_phrase_is_linked_to_a_numbered_region(told: Any, tmp_path: Path) -> None:
    done = export_tasks(told, "region", tmp_path / "tasks.json")
    tasks = [t["data"] for t in json.loads((tmp_path / "tasks.json").read_text("utf-8"))]
    assert done.tasks == len(tasks) == 12 and done.left_out == 0  # two phrases of each of six accepted pairs
    assert {t["phrase"] for t in tasks} == {"A red car", "a tree"} and {t["sentence"] for t in tasks} == {CAR}
    assert tasks[0]["choices"] == ["1,2,40,50", "60,5,110,80", "none"]
    assert tasks[0]["item"].endswith(f"@{sentence_key(CAR)}:0-9")
    with Image.open(tmp_path / "images" / tasks[0]["image1"].rpartition("/")[2]) as shown:
        pixels = np.asarray(shown.convert("RGB")).astype(int)
    assert np.abs(pixels[30, 1] - (0xE6, 0x19, 0x4B)).max() < 90  # the left edge of the first box
    for task in tasks:
        choice = "1" if "car" in task["phrase"] else "none"
        result = [{"from_name": "vote", "type": "choices", "value": {"choices": [choice]}}]
        task["answer"] = {"data": dict(task), "annotations": [{"completed_by": 1, "result": result}]}
    (tmp_path / "done.json").write_text(json.dumps([t["answer"] for t in tasks]), "utf-8")
    known = known_items(told)
    found = import_votes(tmp_path / "done.json", known)
    assert found.refused == () and {v.value for v in found.votes} == {"1,2,40,50", "none"}
    item = tasks[0]["item"]
    lines = [f"ann,{item},region,5", f'ann,{item},region,"9,9,9,9"', f"ann,{item}1,region,none", "ann,x,region,none"]
    (tmp_path / "v.csv").write_text("\n".join(["annotator,item,kind,value", *lines]), "utf-8")
    found = import_votes(tmp_path / "v.csv", known)
    assert [r.reason for r in found.refused] == ["unknown_value", "unknown_value", "unknown_item", "unknown_item"]


def test_links_are_judged(told: Any, version: Any, tmp_path: Path) -> None:
    export_tasks(told, "region_right", tmp_path / "tasks.csv", "csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tasks.csv").read_text("utf-8-sig"))))
    assert {r["item"].partition("=")[2] for r in rows} == {"1,2,40,50"} and {r["phrase"] for r in rows} == {"A red car"}
    for row in rows:
        row["annotator"], row["value"] = "ann", "Yes"
    with (tmp_path / "tasks.csv").open("w", newline="", encoding="utf-8") as sink:
        writer = csv.DictWriter(sink, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = import_votes(tmp_path / "tasks.csv", known_items(told))
    assert found.refused == () and {(v.kind, v.value) for v in found.votes} == {("region_right", "yes")}
    pair = rows[0]["item"].partition("@")[0]
    linked = [{"sentence": sentence_key(CAR), "start": 15, "end": 21, "box": [60.0, 5.0, 110.0, 80.0]}]
    export_tasks(Told(version, {pair: linked}), "region_right", tmp_path / "more.json")
    items = [t["data"]["item"] for t in json.loads((tmp_path / "more.json").read_text("utf-8"))]
    assert f"{pair}@{sentence_key(CAR)}:15-21=60,5,110,80" in items


def test_without_a_parse_the_recipe_lines_are_named(version: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="add `parse: {}`, `regions: {}` under stages"):
        export_tasks(version, "region", tmp_path / "tasks.json")
    assert known_items(version)["region"] == {}
