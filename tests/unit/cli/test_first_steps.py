"""What a newcomer does first, and what the command line says when it does not go well."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.commands import building
from diptych.sources.tally import counted
from diptych.storage.fetch_log import FetchLog

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten pictures and no text."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "pictures").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(folder / "pictures" / f"p{number}.jpg")
    return folder


RECIPE = """
name: s
sources:
  - {kind: folder, name: pictures, path: pictures, layout: pictures}
shards: 2
stages:
  clean: {}
  clean_text: {}
  sentences: {}
"""


def test_show_names_the_rule_that_left_a_record_out(diptych: Run, place: Path) -> None:
    (place / "s.yaml").write_text(RECIPE)
    assert diptych("build", "s.yaml")[0] == 0
    code, out, err = diptych("show", "s", "p1.jpg")
    assert code == 0, err
    assert "left out by clean_text: empty_text: 0 against the threshold 1; no title, text or summary" in out
    assert out.count("file:p1.jpg") == 2  # the record's own line, and one fetch


def test_show_finds_a_picture_by_its_file(diptych: Run, place: Path) -> None:
    (place / "told" / "documents").mkdir(parents=True)
    images = [{"file": "my 100% dog.jpg"}, {"file": "a b/x.jpg"}]
    (place / "told" / "documents" / "d.json").write_text(json.dumps({"title": "Two", "images": images}))
    (place / "told" / "a b").mkdir()
    for number, image in enumerate(images):
        (place / "told" / image["file"]).write_bytes((place / "pictures" / f"p{number}.jpg").read_bytes())
    (place / "told.yaml").write_text(
        RECIPE.replace("name: s\n", "name: told\n").replace("path: pictures, layout: pictures", "path: told")
    )
    assert diptych("build", "told.yaml")[0] == 0
    found = {diptych("show", "told", key)[1].splitlines()[0] for key in ("my 100% dog.jpg", "x.jpg", "a b/x.jpg")}
    assert len(found) == 1 and "told@1 record" in found.pop()


def test_diff_takes_both_versions_as_they_are_named_elsewhere(diptych: Run, place: Path) -> None:
    (place / "s.yaml").write_text(RECIPE.replace("clean_text: {}", "clean_text: {min_characters: 0}"))
    assert diptych("build", "s.yaml")[0] == 0
    code, out, err = diptych("diff", "s@2", "s@1")
    assert code == 0 and "version 1 -> 2" in out, err
    assert diptych("diff", "s@2", "1")[1] == out
    code, _, err = diptych("diff", "s@2", "t@1")
    assert code == 2 and "t and s are two datasets" in err


@pytest.mark.parametrize(
    ("settings", "option", "said"),
    [
        ("{model: nosuchnet}", "cpu", "no classifier named 'nosuchnet'"),
        ("{model: resnet152, weights: resnet152}", "cpu", "run: diptych weights pull resnet152"),
        ('{weights: "random:x"}', "cpu", "expected random:<seed>"),
        ('{weights: "random:1"}', "meta", "device meta: torch cannot use it here"),
        ('{weights: "random:1"}', "", "'torchvision' is not installed; run: pip install 'diptych[vision]'"),
    ],
)
def test_a_network_that_cannot_run_stops_before_anything_is_done(
    diptych: Run, place: Path, settings: str, option: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIPTYCH_WEIGHTS", raising=False)
    monkeypatch.setattr("diptych.weights._cache", place / "no-weights")
    (place / "n.yaml").write_text(f"{RECIPE}  backbone: {settings}\n".replace("name: s", "name: n"))
    if not option:
        monkeypatch.setattr(
            "diptych.releases.find_spec", lambda name: None if name == "torchvision" else find_spec(name)
        )
    code, _, err = diptych("build", "n.yaml", "--device", option or "cpu")
    assert code in (1, 2) and said in err
    assert not (place / "data" / "n").exists()


def test_init_of_pictures_and_captions_writes_a_recipe_that_keeps_them(diptych: Run, place: Path) -> None:
    (place / "captions").mkdir()
    for picture in (place / "pictures").iterdir():
        (place / "captions" / picture.name).write_bytes(picture.read_bytes())
    lines = "".join(f"p{number}.jpg,a dog {number}\n" for number in range(10))
    (place / "captions" / "captions.csv").write_text(f"file,caption\n{lines}")
    for name, least in (("pictures", 0), ("captions", 1)):
        assert diptych("init", name, "--from", name)[0] == 0
        assert f"min_characters: {least}" in (place / f"{name}.yaml").read_text()
        code, _, err = diptych("build", f"{name}.yaml")
        assert code == 0 and "rejected" not in err, err


@pytest.mark.parametrize("where", ["", "datasets"])
def test_what_init_wrote_is_found_by_its_name(
    diptych: Run, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / where).mkdir(exist_ok=True)
    path = f"{where}/news.yaml".lstrip("/")
    code, out, err = diptych("init", "news", "--from", str(place / "pictures"))
    assert code == 0 and out == f"wrote {path}; next: diptych build {path}\n", err
    text = (tmp_path / path).read_text()
    assert text.startswith(f"# Build with: diptych build {path}\n")
    (tmp_path / "news").mkdir()  # as `--to news` of an export leaves it
    for name in ("news", "news.yaml", path):
        code, _, err = diptych("build", name)
        assert code == 0, err
    code, _, err = diptych("build", "new")
    assert code == 2 and "no recipe file new" in err


def test_init_says_which_languages_stay_and_where_paths_start(diptych: Run, place: Path) -> None:
    for name in ("pictures", "."):
        (place / "one" / "documents").mkdir(parents=True, exist_ok=True)
        (place / "one" / "documents" / "d.json").write_text('{"text": "Ein Text."}')
        code, out, err = diptych("init", "l", "--from", "one" if name == "." else name, "--dry-run")
        assert code == 0 and "languages other than en, zh (languages: [] keeps all)" in out, err
        assert "paths of stages and fits start where the command is run" in out
        assert all(len(line) <= 120 for line in out.splitlines())


def test_init_refuses_what_is_no_name_and_offers_one(diptych: Run, place: Path) -> None:
    for wrong, offered in (("My Data", "my-data"), ("a/b", "a-b"), ("Été", "t")):
        code, out, err = diptych("init", wrong, "--from", "pictures")
        assert code == 2 and f"diptych init {offered} --from pictures" in err and not out
    assert not list(place.glob("My*"))
    assert diptych("init", "2024", "--from", "pictures")[0] == 0  # YAML would read a number
    assert diptych("build", "2024.yaml")[0] == 0


def test_control_c_is_one_line_and_the_same_command_goes_on(
    diptych: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    (place / "i.yaml").write_text(RECIPE.replace("name: s\n", "name: i\n"))
    for place_of_it in ((FetchLog, "roll"), (building, "build")):
        with monkeypatch.context() as patch:
            patch.setattr(*place_of_it, interrupted)
            code, out, err = diptych("build", "i.yaml")
        assert code == 130 and not out
        assert err.splitlines()[-1] == (
            "diptych: interrupted; what was finished is kept, the same command goes on from there"
        )
    assert diptych("build", "i.yaml")[0] == 0


def test_control_c_while_the_program_is_loaded_leaves_no_traceback() -> None:
    program = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "diptych.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from diptych.__main__ import main
assert "pyarrow" not in sys.modules
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "diptych: interrupted; nothing had begun\n")


def test_what_a_crawl_refused_no_build_after_it_commits_unasked(diptych: Run, place: Path) -> None:
    (place / "low.csv").write_text("url,caption\nhttp://127.0.0.1:9/1.jpg,dog\n")
    source = "{kind: urls, name: list, path: low.csv, contact: me@example.org}"
    text = RECIPE.replace("name: s\n", "name: low\n").replace(
        "{kind: folder, name: pictures, path: pictures, layout: pictures}", source
    )
    (place / "low.yaml").write_text(text)
    for _ in range(2):
        code, _, err = diptych("build", "low.yaml")
        assert code == 3 and "source 'list': 0.0% of its URLs were fetched well" in err
        assert "'diptych crawl RECIPE --retry-failed'" in err and "'diptych build RECIPE --no-crawl'" in err
    assert diptych("crawl", "low.yaml", "--retry-failed")[0] == 0
    assert "committed version 1" in diptych("build", "low.yaml")[1]
    (place / "low.csv").write_text("url,caption\nhttp://127.0.0.1:9/1.jpg,dog\nhttp://127.0.0.1:9/2.jpg,dog\n")
    assert diptych("crawl", "low.yaml")[0] == 3 and diptych("build", "low.yaml")[0] == 3
    assert "committed version 2" in diptych("build", "low.yaml", "--no-crawl")[1]


def test_a_build_says_which_pictures_never_came_and_which_stage_kept_nothing(diptych: Run, place: Path) -> None:
    (place / "urls.csv").write_text("url,caption\n" + "".join(f"http://127.0.0.1:9/{n}.jpg,dog\n" for n in range(3)))
    source = "{kind: urls, name: list, path: urls.csv, contact: me@example.org, min_success: 0}"
    text = RECIPE.replace("name: s\n", "name: u\n").replace(
        "{kind: folder, name: pictures, path: pictures, layout: pictures}", source
    )
    (place / "u.yaml").write_text(text)
    code, _, err = diptych("build", "u.yaml")
    assert code == 0 and "host 127.0.0.1:9 failed throughout: 3 URLs" in err
    said = (
        "3 of 3 pictures missing: robots_unreachable 3",
        "`diptych crawl u.yaml --retry-failed`",
        "clean_text kept none of 3 rows: short_text 3",
        "`diptych stats u`",
    )
    assert all(words in err for words in said)
    code, _, err = diptych("build", "u.yaml")  # no crawl, nothing new: it is still so
    assert code == 0 and all(words in err for words in said)


def test_a_folder_is_counted_in_files(diptych: Run, place: Path) -> None:
    (place / "f.yaml").write_text(RECIPE.replace("name: s\n", "name: f\n"))
    code, _, err = diptych("build", "f.yaml")
    assert code == 0 and "10 files (10 ok)" in err and "addresses" not in err
    assert counted(1, "address", "addresses") == "1 address" and counted(0, "file") == "0 files"


def test_votes_that_nobody_filled_in_are_counted_and_none_is_an_error(diptych: Run, place: Path) -> None:
    text = RECIPE.replace("name: s\n", "name: v\n").replace("clean_text: {}", "clean_text: {min_characters: 0}")
    (place / "v.yaml").write_text(text.replace("  sentences: {}", "  clean_pairs: {}"))
    assert diptych("build", "v.yaml")[0] == 0
    assert diptych("votes", "export", "v", "relation", "--to", "tasks.csv", "--format", "csv")[0] == 0
    code, out, err = diptych("votes", "import", "v", "tasks.csv", "--to", "votes.csv")
    assert code == 2 and not out and "10 rows unanswered, 0 refused" in err and "annotator and value" in err
    assert not (place / "votes.csv").exists()
    lines = (place / "tasks.csv").read_text("utf-8-sig").splitlines()
    for number, value in ((1, "explicit"), (2, "perhaps")):
        cells = lines[number].split(",")
        lines[number] = ",".join(["ann", *cells[1:3], value, *cells[4:]])
    (place / "tasks.csv").write_text("\n".join(lines))
    code, out, err = diptych("votes", "import", "v", "tasks.csv", "--to", "votes.csv")
    assert code == 0 and "wrote 1 vote to votes.csv; 1 refused, 8 unanswered" in out
    assert err.startswith("line 3: unknown_value") and len(err.splitlines()) == 1
    first = (place / "votes.csv").read_text()
    (place / "bob.csv").write_text((place / "tasks.csv").read_text().replace("\nann,", "\nbob,"))
    code, out, err = diptych("votes", "import", "v", "bob.csv", "--to", "votes.csv")
    assert code == 0 and "wrote 2 votes to votes.csv: 1 was there, 1 is new; 1 refused" in out
    assert (place / "votes.csv").read_text() == first + first.splitlines()[1].replace(",ann,", ",bob,") + "\n"
    (place / "again.csv").write_text((place / "bob.csv").read_text().replace(",explicit,", ",implicit,"))
    code, out, err = diptych("votes", "import", "v", "again.csv", "--to", "votes.csv")
    assert code == 2 and "line 2: duplicated: bob answered explicit before, now implicit" in err
    code, out, err = diptych("votes", "import", "v", "bob.csv", "--to", "votes.csv")
    assert code == 0 and "wrote 2 votes to votes.csv: 2 were there, 0 are new; 1 refused" in out
    code, out, err = diptych("votes", "import", "v", "votes.csv", "--to", "votes.csv")
    assert code == 0 and "wrote 2 votes to votes.csv; 0 refused" in out, "a file is checked and written in its place"
    with (place / "votes.csv").open("a") as file:
        file.write("of-another-version,relation,ann,explicit\n")
    there = (place / "votes.csv").read_text()
    code, out, err = diptych("votes", "import", "v", "votes.csv", "--to", "votes.csv")
    assert code == 2 and "1 line would be lost" in err and "line 4: " in err, "only said, not written"
    assert (place / "votes.csv").read_text() == there
    (place / "votes.csv").write_text("annotator,item,kind,value\nann,x,cmi,1\n")
    code, out, err = diptych("votes", "import", "v", "bob.csv", "--to", "votes.csv")
    assert code == 2 and "votes.csv: expected votes, found 1 line that is none, the first is line 2" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file;caption\np0.jpg;a dog\n", "line 1: expected columns separated by ',', found 'file;caption'"),
        ("url;caption\nhttp://x.example/0.jpg;a dog\n", "separated by ';'; save it with ','"),
        ("a,b\n1,2\n", "expected a column of addresses (http...) or one of files (file, image,"),
        ("", "found no rows"),
    ],
)
def test_init_says_what_a_list_lacks(diptych: Run, place: Path, content: str, said: str) -> None:
    (place / "list.csv").write_text(content)
    code, out, err = diptych("init", "list", "--from", "list.csv")
    assert code in (1, 2) and said in err and not out
    assert not (place / "list.yaml").exists()


def test_a_captions_file_names_what_is_wrong_with_it(diptych: Run, place: Path) -> None:
    text = RECIPE.replace("name: s\n", "name: w\n").replace("layout: pictures", "captions: wrong.csv")
    (place / "w.yaml").write_text(text)
    file = place / "pictures" / "wrong.csv"
    for content, status, said in (
        ("file;caption\np0.jpg;a dog\n", 1, "found 'file;caption', separated by ';'"),
        ("file,caption\np0.jpg,a dog, running\n", 1, "line 2: expected 2 columns, found 3; a value with ','"),
        ("file,caption\nnone.jpg,a dog\n", 3, "missing 1 (as file:none.jpg)"),
        ("file,caption\n", 3, "a first version needs at least one record, found was none (its sources named none)"),
        ("file,caption\np0.jpg,a dog\nnone.jpg,a dog\n", 0, "1 of 2 pictures missing: gone 1"),
    ):
        file.write_text(content)
        code, _, err = diptych("build", "w.yaml")
        assert code == status and said in err, err
        assert "diptych crawl w.yaml" not in err, "a folder is read by every build"
    code, out, err = diptych("build", "w.yaml", "--retry-failed")
    assert code == 0 and "nothing changed" in out, err
    file.unlink()


def test_version_and_usage_name_the_program(diptych: Run) -> None:
    code, out, _ = diptych("--version")
    assert code == 0 and out.startswith("diptych 0.") and len(out.split()) == 2
    code, _, err = diptych("show")
    assert code == 2 and "Usage: diptych show" in re.sub(r"\x1b\[[0-9;]*m", "", err)  # coloured where CI says so
