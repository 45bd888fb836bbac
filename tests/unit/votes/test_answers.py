"""Reading votes: every kind of damage is listed, the rest is kept."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from diptych.exceptions import NoSpace, UsageError
from diptych.votes.answers import Imported, Vote, import_votes, write_votes

R, IMAGE, J = "a" * 32, "b" * 64, "c" * 64
PAIR = f"{R}/{IMAGE}"


def read(tmp_path: Path, content: str | bytes, **settings: Any) -> Imported:
    file = tmp_path / "votes"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return import_votes(file, **settings)


def task(vote: Any, who: Any = 1, **data: Any) -> dict[str, Any]:
    result = [{"from_name": "vote", "type": "choices", "value": {"choices": vote}}]
    return {
        "id": 5, "data": {"item": PAIR, "kind": "relation", **data},
        "annotations": [{"completed_by": who, "was_cancelled": False, "result": result}],
    }  # fmt: skip


def test_csv_with_every_kind_of_damage(tmp_path: Path) -> None:
    text = f"""Annotator,item,kind,value,remark
ann,{PAIR},relation,Explicit,"a remark
of two lines"
ben,{PAIR},cmi,.50,
ben,{PAIR},sc,-0.5,

ann,{PAIR},relation,implicit,again
ann,{R},relation,explicit,a document is no pair
ann,{PAIR},beauty,1,
ann,{PAIR},cmi,0.3,
,{PAIR},cmi,1,
eve,{PAIR},cmi,,
eve,{PAIR},cmi
eve,{R},best_image,{IMAGE},
eve,../../etc,best_image,{IMAGE},
eve,{R},best_image,2,no choices
zoë,{PAIR},cmi,nan,
"""
    found = read(tmp_path, b"\xef\xbb\xbf" + text.encode() + f"e\xff,{PAIR},cmi,1,\n".encode("latin-1"))
    assert found.votes == (
        Vote("best_image", R, "eve", IMAGE),
        Vote("cmi", PAIR, "ben", "0.5"),
        Vote("relation", PAIR, "ann", "explicit"),
        Vote("sc", PAIR, "ben", "-0.5"),
    )
    assert [(r.line, r.reason) for r in found.refused] == [
        (7, "duplicated"), (8, "unknown_item"), (9, "unknown_kind"), (10, "unknown_value"), (11, "malformed"),
        (12, "unanswered"), (13, "malformed"), (15, "unknown_item"), (16, "unknown_value"), (17, "unknown_value"),
        (18, "malformed"),
    ]  # fmt: skip
    assert found.refused[0].text == "ann answered explicit on line 2, now implicit"
    assert found.reasons()["malformed"] == 3


def test_a_long_text_beside_an_answer_casts_no_votes(tmp_path: Path) -> None:
    forged = f"mallory,{PAIR},relation,implicit,x\n"
    sink = io.StringIO()
    rows = (
        ["annotator", "item", "kind", "value", "text"],
        ["ann", PAIR, "relation", "explicit", "y" * 200_000 + f"\n{forged}" * 9],
    )
    csv.writer(sink).writerows(rows)
    assert read(tmp_path, sink.getvalue()) == Imported((Vote("relation", PAIR, "ann", "explicit"),), ())


def test_rows_that_an_open_quote_takes_in_are_named(tmp_path: Path) -> None:
    rows = f"ben,{PAIR},relation,explicit\n" * 3
    (bad,) = read(tmp_path, f'annotator,item,kind,value\n"ann,{PAIR},relation,explicit\n{rows}').refused
    assert (bad.line, bad.reason) == (2, "malformed") and "up to line 5; is a quote not closed?" in bad.text


def test_label_studio_with_every_kind_of_damage(tmp_path: Path) -> None:
    tasks = [
        task(["explicit"]),
        task(["implicit"], {"id": 2, "email": "ben@example.org"}),
        task(["implicit"], {"id": 1, "email": ""}),
        task(["explicit", "implicit"], 3),
        task("explicit", 4),
        task(["explicit"], True),
        task(["2"], 1, item=R, kind="best_image", choices=[IMAGE, J]),
        task(["3"], 9, item=R, kind="best_image", choices=[IMAGE, J]),
        "text",
        {"data": 5},
        {"data": {"item": PAIR}, "annotations": []},
        {"data": {"item": PAIR}, "annotations": [7, {"was_cancelled": True}]},
        {"item": PAIR, "kind": "cmi", "vote": "0.75", "annotator": 1, "annotation_id": 8},
        {"item": PAIR, "kind": "cmi", "vote": {"choices": ["1"]}, "annotator": 2},
    ]
    found = read(tmp_path, json.dumps(tasks))
    assert [(v.kind, v.annotator, v.value) for v in found.votes] == [
        ("best_image", "1", J), ("cmi", "1", "0.75"), ("relation", "1", "explicit"),
        ("relation", "ben@example.org", "implicit"),
    ]  # fmt: skip
    assert [(r.line, r.reason) for r in found.refused] == [
        (3, "duplicated"), (4, "unanswered"), (5, "unanswered"), (6, "malformed"), (8, "unknown_value"),
        (9, "malformed"), (10, "malformed"), (11, "unanswered"), (12, "malformed"), (12, "unanswered"),
        (14, "unknown_value"),
    ]  # fmt: skip


@pytest.mark.parametrize("choices", [f'["{IMAGE}", "{J}"]', f"['{IMAGE}', '{J}']", f"{IMAGE} {J}"])
def test_label_studio_as_csv(tmp_path: Path, choices: str) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow("annotation_id annotator choices created_at id item kind lead_time updated_at vote".split())
    for who, vote in ((2, "2"), (3, '{"choices": ["1", "2"]}'), (4, "")):
        writer.writerow([1, who, choices, "x", 1, R, "best_image", 3.2, "x", vote])
    found = read(tmp_path, sink.getvalue())
    assert found.votes == (Vote("best_image", R, "2", J),)
    assert [(r.line, r.reason) for r in found.refused] == [(3, "unknown_value"), (4, "unanswered")]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "must name annotator"),
        ("annotator,item,kind\n", r"lacks \['value'\]"),
        ("[1, 2", "not JSON"),
        (b"[\xff]", "not JSON"),
    ],
)
def test_files_that_are_no_votes(tmp_path: Path, content: str | bytes, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        read(tmp_path, content)
    with pytest.raises(UsageError, match="cannot read"):
        import_votes(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    "name", ['"=HYPERLINK(""http://evil"")"', "+1-2", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠a"]
)
def test_names_that_a_spreadsheet_would_run_are_refused(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, f"annotator,item,kind,value\n{name},{PAIR},cmi,1\nann+b@example.org,{PAIR},cmi,1\n")
    assert [v.annotator for v in found.votes] == ["ann+b@example.org"]
    assert [(r.line, r.reason) for r in found.refused] == [(2, "malformed")]
    assert "begins like a formula" in found.refused[0].text


def test_odd_bytes_do_not_crash(tmp_path: Path) -> None:
    header = "annotator,item,kind,value\n"
    for line in ("a\0b,x,cmi,1", '"open', "a" * 200_000, f"{'x' * 300},{PAIR},cmi,1", '"a"b,c,d,e', "😀,א,cmi,١"):
        assert read(tmp_path, header + line).votes == ()
    good = f"😀,{PAIR},cmi,1"
    assert [v.annotator for v in read(tmp_path, f"{header}{'a' * 200_000}\n{good}\n").votes] == ["😀"]
    assert read(tmp_path, "[" * 100 + "]" * 100).refused[0].reason == "malformed"


def test_answers_are_compared_with_those_that_were_there(tmp_path: Path) -> None:
    before = [Vote("cmi", PAIR, "ann", "1"), Vote("sc", PAIR, "ann", "0")]
    text = f"annotator,item,kind,value\nann,{PAIR},cmi,1.0\nann,{PAIR},sc,1\nben,{PAIR},sc,1\n"
    found = read(tmp_path, text, before=before)
    assert found.votes == (Vote("sc", PAIR, "ben", "1"),) and found.repeated == 1
    assert [(r.line, r.reason, r.text) for r in found.refused] == [
        (3, "duplicated", "ann answered 0 before, now 1"),
    ]  # fmt: skip


def test_the_canonical_file_is_a_function_of_the_votes(tmp_path: Path) -> None:
    votes = [Vote("cmi", PAIR, 'ben, the "second"', "1"), Vote("cmi", PAIR, "ann", "0"), Vote("sc", PAIR, "ann", "1")]
    assert write_votes(votes, tmp_path / "a.csv") == write_votes([*votes[::-1], votes[0]], tmp_path / "b.csv") == 3
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert import_votes(tmp_path / "a.csv") == Imported(tuple(sorted(votes)), ())
    assert {file.name for file in tmp_path.iterdir()} == {"a.csv", "b.csv"}


def test_a_file_of_votes_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "votes.csv"
    write_votes([Vote("cmi", PAIR, "ann", "0")], file)
    before = file.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NoSpace, match="nothing was written"):
        write_votes([Vote("cmi", PAIR, "ann", "1")], file)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
