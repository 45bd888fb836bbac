"""A person's decisions in a build: they beat every rule, are computed for their rows alone, and are named."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.cli import main
from diptych.engine.build import BuildReport, build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.rebuild import plan_rebuild
from diptych.engine.steps import close
from diptych.exceptions import RecipeError
from diptych.naming import digest_bytes, record_id
from diptych.report import statistics
from diptych.version import Version, open_version

RECIPE = """
name: d
sources: [{kind: folder, name: site, path: site}]
shards: 2
stages: {clean: {}, clean_text: {}, clean_pairs: {}, sentences: {}}
limits: {max_shrink: 1}
"""
TEXT = "The mayor opened the new bridge over the river on Monday, and thousands of people walked across it {}."


def picture(width: int, height: int, seed: int) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


PICTURES = {
    "good.png": picture(200, 150, 1),
    "small.png": picture(40, 30, 2),
    "wide.png": picture(900, 100, 3),
    "broken.png": picture(200, 150, 4)[:900],
    "again.png": picture(200, 150, 1),
    "other.png": picture(160, 200, 5),
}
SMALL, GOOD = digest_bytes(PICTURES["small.png"]), digest_bytes(PICTURES["good.png"])
PAGE = {"a": "in the rain", "b": "until late at night", "c": ""}
RECORD = {name: record_id("site", name) for name in PAGE}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Two good documents and one whose text is too short."""
    folder = tmp_path / "site"
    (folder / "documents").mkdir(parents=True)
    shown = {"a": ["good.png", "small.png", "again.png", "wide.png"], "b": ["other.png", "broken.png"], "c": []}
    for name, data in PICTURES.items():
        (folder / name).write_bytes(data)
    for name, words in PAGE.items():
        text = TEXT.format(words) if words else "Too short"
        images = [{"file": file, "caption": file} for file in shown[name]]
        (folder / "documents" / f"{name}.json").write_text(json.dumps({"text": text, "images": images}))
    crawl_recipe(RECIPE, str(tmp_path / "data"), tmp_path)
    yield tmp_path
    close()


def decide(place: Path, *lines: str) -> BuildReport:
    (place / "data" / "d" / "overrides.csv").write_text("key,decision,reason,who\n" + "".join(f"{x}\n" for x in lines))
    return build(RECIPE, str(place / "data"), folder=place)


def version(place: Path) -> Version:
    return open_version(place / "data" / "d")


def codes(place: Path, stage: str) -> dict[str, tuple[str, str]]:
    """Status and code by file name of the picture, else by row key."""
    names = {digest_bytes(data): name for name, data in PICTURES.items() if name != "again.png"}
    found = {}
    for row in version(place).table(stage).to_pylist():
        image, _, use = row["key"].partition("/")[2].partition("#") if "/" in row["key"] else (row["key"], "", "")
        found[names.get(image, str(image)) + (f"#{use}" if use else "")] = row["status"], row["code"]
    return found


def computed(report: BuildReport) -> dict[str, int]:
    return {p.name: p.computed for p in report.progress.values() if p.kind == "stage" and p.computed}


def test_what_is_kept_passes_every_rule_and_says_so(place: Path) -> None:
    plain = build(RECIPE, str(place / "data"), folder=place)
    assert plain.committed.version == 1
    assert codes(place, "clean")["small.png"] == ("rejected", "thumbnail")
    assert codes(place, "clean_pairs")["good.png#2"] == ("rejected", "exact_duplicate")
    report = decide(
        place,
        f"{SMALL},keep,the mayor's seal,ann",  # by image key
        "file:wide.png,keep,a panorama,ben",  # by address
        f"{RECORD['c']},keep,,",  # by record id
        "file:broken.png,keep,,",
    )
    assert codes(place, "clean")["small.png"] == ("ok", "overridden:thumbnail")
    assert codes(place, "clean")["wide.png"] == ("ok", "overridden:aspect_ratio")
    assert codes(place, "clean")["broken.png"] == ("rejected", "undecodable"), "what cannot be decoded cannot be kept"
    assert codes(place, "clean")["good.png"] == ("ok", "")
    small = next(r for r in version(place).table("clean").to_pylist() if r["key"] == SMALL)
    assert small["phash"] and small["value"] == 30 and small["threshold"] == 64
    rows = codes(place, "clean_pairs")
    assert rows["small.png"][0] == rows["wide.png"][0] == "ok"
    texts = {r["key"]: (r["status"], r["code"]) for r in version(place).table("clean_text").to_pylist()}
    assert texts[RECORD["c"]] == ("ok", "overridden:short_text")
    assert RECORD["c"] in version(place).table("sentences")["key"].to_pylist()
    # three pictures and the record; the pairs of a and b; the sentences of a (two captions more) and c
    assert computed(report) == {"clean": 3, "clean_text": 1, "clean_pairs": 2, "sentences": 2}
    reasons = {(r.status, r.code): r.count for s in statistics(version(place)).stages for r in s.reasons}
    assert reasons["ok", "overridden:thumbnail"] == 1


def test_a_decision_beats_the_rules_of_pairs_too(place: Path) -> None:
    decide(place, f"{GOOD},keep,,ann")
    assert codes(place, "clean_pairs")["good.png#2"] == ("ok", "overridden:exact_duplicate")
    report = decide(place, f"{GOOD},keep,another reason,ann")
    assert computed(report) == {} and report.committed.version is not None, "a reason is no input of a row"


def test_what_is_dropped_leaves_with_its_name_in_the_snapshot(place: Path) -> None:
    build(RECIPE, str(place / "data"), folder=place)
    report = decide(place, "file:other.png,drop,sold,ben", f"{RECORD['a']},drop,wrong,ann")
    assert computed(report) == {"sentences": 1}, "only the document that lost a caption"
    rows = {r["source_id"]: r for r in version(place).snapshot.table().to_pylist()}
    assert rows["a"]["outcome"] == "dropped" and rows["a"]["override"]["who"] == "ann"
    assert rows["b"]["images"][0]["outcome"] == "dropped"
    assert set(version(place).table("clean_text")["key"].to_pylist()) == {RECORD["b"], RECORD["c"]}
    back = decide(place)
    assert computed(back) == {}, "everything stands in segments of the first version"
    assert version(place).manifest.exact_digest == open_version(place / "data" / "d", 1).manifest.exact_digest


def test_an_address_means_the_picture_wherever_it_stands(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    decide(place, "file:again.png,drop,,", "file:agian.png,drop,,")
    assert "1 keys met no record or picture: file:agian.png" in caplog.text
    rows = {r["source_id"]: r for r in version(place).snapshot.table().to_pylist()}
    assert [i["outcome"] for i in rows["a"]["images"]] == ["dropped", "ok", "dropped", "ok"]


def test_a_changed_line_computes_its_rows_alone(place: Path) -> None:
    build(RECIPE, str(place / "data"), folder=place)
    first = decide(place, f"{SMALL},keep,,", f"{RECORD['c']},keep,,")
    assert computed(first) == {"clean": 1, "clean_text": 1, "clean_pairs": 1, "sentences": 2}
    report = decide(place, f"{SMALL},keep,,")
    assert computed(report) == {}, "the row without the decision stands in a segment of the first version"
    assert RECORD["c"] not in version(place).table("sentences")["key"].to_pylist()


def test_a_rebuild_that_fetches_again_knows_them(place: Path) -> None:
    decide(place, f"{SMALL},keep,seal,ann")
    plan = plan_rebuild(str(place / "data"), "d", record=RECORD["a"], refetch=True)
    build(plan.recipe, str(place / "data"), plan.options, force=plan.force, snapshot=plan.snapshot)
    assert codes(place, "clean")["small.png"] == ("ok", "overridden:thumbnail")


@pytest.mark.parametrize("key", [SMALL, "file:small.png", RECORD["a"]])
def test_show_names_who_and_why(place: Path, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    decide(place, f"{SMALL},drop,the mayor's seal,ann", f"{RECORD['a']},keep,fine,ben")
    monkeypatch.setattr("sys.argv", ["diptych", "show", "d@latest", key, "--root", str(place / "data")])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        main()
    out = capsys.readouterr().out
    assert not end.value.code
    assert "small.png: dropped by ann (overrides.csv): the mayor's seal" in out
    assert "the record: kept by ben (overrides.csv): fine" in out


def test_a_wrong_line_is_named_and_is_exit_2(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    with pytest.raises(RecipeError, match=r"overrides\.csv, line 3, decision: expected keep or drop, found 'maybe'"):
        decide(place, f"{SMALL},keep,,", f"{GOOD},maybe,,")
    (place / "d.yaml").write_text(RECIPE)
    monkeypatch.setattr("sys.argv", ["diptych", "build", str(place / "d.yaml"), "--root", str(place / "data")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "line 3" in capsys.readouterr().err


def test_a_first_decision_changes_only_what_it_is_about(place: Path) -> None:
    assert build(RECIPE, str(place / "data"), folder=place).committed.version == 1
    assert decide(place, f"{RECORD['c']},keep,short but good,me").committed.version == 2
    there, back = version(place).diff(1), open_version(place / "data" / "d", 1).diff(2)
    assert there.records.changed == back.records.changed == (RECORD["c"],) and there.records.same == 2
    assert decide(place, f"{GOOD},drop,a private person,me").committed.version == 3
    assert version(place).diff(1).records.changed == (RECORD["a"],), "a decision about a picture is its record's"
