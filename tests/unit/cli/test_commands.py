"""The command line on a small folder dataset: what each command prints, its JSON, its exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.commands.console import table
from diptych.sample import Site, write

RECIPE = """
name: news
sources:
  - {kind: folder, name: site, path: site}
shards: 4
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
fits:
  word_counts: {}
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write(Site(12), folder / "site", static=False)
    (folder / "news.yaml").write_text(RECIPE)
    return folder


def value(diptych: Run, *arguments: str) -> Any:
    code, out, err = diptych(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_build_twice_then_an_edited_word(diptych: Run, place: Path) -> None:
    first = value(diptych, "build", "news.yaml")
    assert first["version"] == 1 and first["computed"] > 50
    second = value(diptych, "build", "news.yaml")
    assert second["version"] is None and second["computed"] == 0 and "nothing changed" in second["reason"]
    document = place / "site" / "documents" / "d00004.json"
    raw = json.loads(document.read_text())
    before = raw["text"]
    raw["text"] = before.replace(" the ", " this ", 1)
    assert raw["text"] != before
    document.write_text(json.dumps(raw))
    assert value(diptych, "crawl", "news.yaml")["documents"]["changed"] == 1
    dry = value(diptych, "build", "news.yaml", "--dry-run")
    assert {s["name"]: s["missing"] for s in dry["stages"]}["clean_text"] == 1
    third = value(diptych, "build", "news.yaml")
    computed = {name: s["computed"] for name, s in third["stages"].items() if s["computed"]}
    assert third["version"] == 2 and computed["clean_text"] == computed["sentences"] == 1
    assert set(computed) == {"clean_text", "sentences"}
    changed = value(diptych, "diff", "news")
    stages = {s["stage"]: s for s in changed["stages"]}
    assert len(stages["sentences"]["changed"]) == 1 and stages["clean"]["same"] > 10
    assert len(changed["records"]["changed"]) == 1


def test_reading_commands(diptych: Run) -> None:
    versions = value(diptych, "versions")
    assert [v["version"] for v in versions] == [1, 2] and versions[1]["parent"] == 1
    assert value(diptych, "tag", "news@1", "trial", "--dry-run")["version"] == 1
    assert diptych("show", "news@trial", "d00004.json")[0] == 2
    assert value(diptych, "tag", "news@1", "production")["version"] == 1
    shown = value(diptych, "show", "news@production", "d00004.json")
    assert shown["version"] == 1 and {r["stage"] for r in shown["rows"]} == {
        "clean",
        "clean_text",
        "clean_pairs",
        "sentences",
    }
    assert shown["fetches"] and all(f["fetched_at"].startswith("20") for f in shown["fetches"])
    assert value(diptych, "verify", "news")["problems"] == []
    assert sum(value(diptych, "splits", "news").values()) == 12
    assert value(diptych, "gc", "news", "--dry-run")["deleted"] == []
    assert value(diptych, "stats", "news")
    assert value(diptych, "doctor")["store"]["conditional put"] == "ok"


def test_a_table_prints_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table("", ["place"], [["out/news[red]"], ["out/[/x]"]])
    out = capsys.readouterr().out
    assert "out/news[red]" in out and "out/[/x]" in out


def test_show_prints_nothing_that_a_terminal_obeys(diptych: Run, tmp_path: Path) -> None:
    (tmp_path / "site" / "documents").mkdir(parents=True)
    hostile = {"title": "A\x1b]0;owned\x07 title \u202eabc", "text": "One. Two."}
    (tmp_path / "site" / "documents" / "a.json").write_text(json.dumps(hostile))
    source = f"{{kind: folder, name: odd, path: {tmp_path}/site}}"
    recipe = f"name: odd\nsources: [{source}]\nstages: {{clean_text: {{min_characters: 1}}}}\n"
    (tmp_path / "odd.yaml").write_text(recipe)
    code, _, err = diptych("build", str(tmp_path / "odd.yaml"))
    assert code == 0, err
    code, out, err = diptych("show", "odd", "a.json")
    assert code == 0 and r"A\x1b]0;owned\x07 title \u202eabc" in out, err
    assert all(c.isprintable() or c == "\n" for c in out)


def test_a_rejected_picture_shows_rule_value_and_threshold(diptych: Run, place: Path) -> None:
    found = None
    for number in range(12):
        shown = value(diptych, "show", "news", f"d{number:05d}.json")
        found = found or next(
            (r for r in shown["rows"] if r["status"] == "rejected" and r["threshold"] is not None), None
        )
    assert found and found["code"] and found["value"] is not None and found["segment"].startswith("parts/")


def test_rebuild_names_rows_and_commits_only_changes(diptych: Run) -> None:
    done = value(diptych, "rebuild", "news", "--record", "d00004.json", "--stage", "sentences")
    assert done["outcome"] == {"equal": 1} and done["version"] is None
    done = value(diptych, "rebuild", "news", "--shard", "2")
    assert set(done["outcome"]) == {"equal"} and done["version"] is None
    code, _, err = diptych("rebuild", "news")
    assert code == 2 and "exactly one of" in err
    code, _, err = diptych("rebuild", "news", "--shard", "9")
    assert code == 2 and "0 to 3" in err


def test_reshard_by_reference_keeps_every_row(diptych: Run) -> None:
    before = value(diptych, "stats", "news")
    done = value(diptych, "reshard", "news", "8")
    assert done["computed"] == 0 and done["shards"] == 8 and done["version"] == 3
    assert value(diptych, "verify", "news")["problems"] == []
    after = value(diptych, "stats", "news")
    assert before["records"] == after["records"]


def test_usage_errors_exit_2_and_name_what_is_allowed(diptych: Run, place: Path) -> None:
    for arguments, words in (
        (("show", "nosuch", "x"), "datasets"),
        (("show", "news@77", "x"), "versions: 1, 2"),
        (("show", "news", "x"), "no record 'x'"),
        (("build", "nosuch.yaml"), "no recipe file"),
        (("build", "news.yaml", "--stages", "bogus"), "clean, clean_text"),
        (("build", "news.yaml", "--shards", "8"), "the dataset has shards 0 to"),
        (("refit", "news", "bogus"), "word_counts"),
        (("refit", "typo", "word_counts"), "no dataset 'typo' in"),
        (("rebuild", "typo", "--failed"), "no dataset 'typo' in"),
    ):
        code, out, err = diptych(*arguments)
        assert code == 2 and (words in err or words.rstrip("s") in err), (arguments, err)
        assert "Traceback" not in err and not out
    (place / "bad.yaml").write_text(RECIPE.replace("path: site", "path: nosuch"))
    code, _, err = diptych("build", "bad.yaml")
    assert code == 2 and "nosuch" in err and "path" in err
    (place / "bad.yaml").write_text("name: [")
    code, _, err = diptych("build", "bad.yaml")
    assert code == 2 and "line 1" in err


def test_removed_documents_above_the_limit_commit_nothing(diptych: Run, place: Path) -> None:
    gone = sorted((place / "site" / "documents").glob("*.json"))[:4]
    kept = {path: path.read_bytes() for path in gone}
    for path in gone:
        path.unlink()
    code, _, err = diptych("build", "news.yaml")
    assert code == 3 and "max_shrink" in err and "--allow-shrink" in err
    for path, data in kept.items():
        path.write_bytes(data)
        os.utime(path)
    assert value(diptych, "build", "news.yaml")["version"] is None


def test_init_writes_a_recipe_that_builds(diptych: Run, place: Path) -> None:
    shown = value(diptych, "init", "mine", "--from", "site", "--to", "mine.yaml", "--dry-run")
    assert not (place / "mine.yaml").exists()
    code, out, err = diptych("init", "mine", "--from", "site", "--to", "mine.yaml")
    assert code == 0, err
    assert (place / "mine.yaml").read_text() == shown["recipe"]
    assert "#" in (place / "mine.yaml").read_text()
    assert value(diptych, "build", "mine.yaml")["version"] == 1
    code, _, err = diptych("init", "mine", "--from", "site", "--to", "mine.yaml")
    assert code == 2 and "--force" in err


def test_wrong_settings_name_the_recipe_s_file(diptych: Run, place: Path) -> None:
    (place / "wrong.yaml").write_text(RECIPE.replace("min_side: 64", "min_sides: 64"))
    for command in (["build", "wrong.yaml"], ["plan", "wrong.yaml"]):
        code, _, error = diptych(*command)
        assert code == 2
        assert "wrong.yaml: the recipe is wrong:\n  stages.clean.min_sides: unknown key" in error
    (place / "source.yaml").write_text(RECIPE.replace("name: site, ", "").replace("kind: folder", "kind: folder, a: 1"))
    for command in (["build", "source.yaml"], ["build", "source.yaml", "--dry-run"], ["plan", "source.yaml"]):
        code, _, error = diptych(*command)
        assert code == 2
        assert "source.yaml: the recipe is wrong:\n  sources[0]." in error, command
    (place / "merged.yaml").write_text("base: &base {min_side: 8}\n" + RECIPE.replace("{min_side: 64}", "{<<: *base}"))
    assert "base: unknown key" in diptych("build", "merged.yaml")[2], "merged keys are no duplicates"
    (place / "trains.yaml").write_text(RECIPE + "train_on_commit: [{model: hcsl}]\n")
    assert (
        "trains.yaml: train_on_commit.0.model: no model 'hcsl'; there are ananet" in diptych("build", "trains.yaml")[2]
    )
    for wrong, said in (
        ("preset: papr", "0.preset: model gap has no preset 'papr'; it has debug, paper, sample"),
        ("ablation: no_text", "0.ablation: model gap has no ablation 'no_text'; it has no_autoencoder"),
        ("ablation: _a", "0.ablation: String should match pattern"),
    ):
        (place / "trains.yaml").write_text(RECIPE + f"train_on_commit: [{{model: gap, {wrong}}}]\n")
        code, _, error = diptych("plan", "trains.yaml")
        assert code == 2 and f"train_on_commit.{said}" in error, error


def test_a_dry_run_and_a_plan_write_nothing(diptych: Run, place: Path) -> None:
    (place / "site" / "documents" / "d00002.json").unlink()
    assert value(diptych, "crawl", "news.yaml", "--allow-shrink")["documents"]["ok"] == 11

    def files() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (place / "data").rglob("*")}

    before = files()
    dry = value(diptych, "build", "news.yaml", "--dry-run")
    assert {s["name"]: s["rows"] for s in dry["stages"]}["clean_text"] == 11 and dry["bytes"] >= 0
    assert {s["stage"]: s["rows"] for s in value(diptych, "plan", "news.yaml")["next"]}["clean_text"] == 11
    assert files() == before and not (place / "data" / "news" / "snapshots" / f"{dry['snapshot']}.parquet").exists()
    code, _, err = diptych("build", "news.yaml", "--root", "")
    assert code == 2 and "the root is empty" in err and not (place / "news").exists()


def test_doctor_fails_where_nothing_can_be_committed(diptych: Run, place: Path) -> None:
    code, out, _ = diptych("doctor", "--root", str(place / "news.yaml"))
    assert code == 1 and "conditional put failed" in out
    code, out, _ = diptych("doctor", "--root", "", "--json")
    assert code == 1 and "the root is empty" in json.loads(out)["store"]["conditional put"]


def test_an_empty_variable_is_no_root(diptych: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIPTYCH_ROOT", "")
    assert "news" in {v["dataset"] for v in value(diptych, "versions")}, "as if it were not set"


def test_reports_and_ledgers_say_where_they_cannot_go(diptych: Run, place: Path) -> None:
    for command in ("report", "card", "splits"):
        code, _, err = diptych(command, "news", "--to", "site")
        assert code == 2 and "--to site: it is a folder, expected a file's name" in err
        code, _, err = diptych(command, "news", "--to", "news.yaml/x")
        assert code == 2 and "a part of this path is a file" in err
    assert diptych("splits", "news", "--to", "ledger/splits.csv")[0] == 0
    assert (place / "ledger" / "splits.csv").read_text().startswith('"key","group","split","official"\n')
