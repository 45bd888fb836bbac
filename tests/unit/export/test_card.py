"""The card says what has to be said first, and nothing from a source can become markup."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_version import Record, SmallVersion, Used, picture

from diptych.cli import main
from diptych.exceptions import UsageError
from diptych.export import ExportOptions, write_export
from diptych.export.card import card, contents_of, escape
from diptych.export.rows import ExportRecord
from diptych.export.write import WebDataset
from diptych.naming import record_id
from diptych.records import Document
from diptych.storage.exports import exports_holding, read_exports
from diptych.storage.snapshot import Forgotten


def parts_of(text: str) -> tuple[dict[str, Any], list[str]]:
    """Front matter and the lines below it."""
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body.strip().splitlines()


def test_first_lines_front_matter_and_tables(made: SmallVersion, tmp_path: Path) -> None:
    write_export(made.version, tmp_path / "out")
    front, body = parts_of((tmp_path / "out" / "README.md").read_text())
    assert body[0].startswith("> **Random weights: random:7") and "Accepted failures: 1.2 %" in body[0]
    assert front["license"] == "other" and front["language"] == ["en", "zh"] and front["size_categories"] == ["n<1K"]
    (config,) = front["configs"]
    assert config["config_name"] == "records" and [d["split"] for d in config["data_files"]] == [
        "train",
        "validation",
        "test",
    ]
    text = "\n".join(body)
    for piece in (
        "| CC BY 4.0 | 6 |",
        "| not stated | ",
        "| train | 7 |",
        made.version.manifest.input_digest,
        "## Known limits",
    ):
        assert piece in text, piece
    assert "| backbone | 1 |" in text and "random:7 \\(random\\): no licence needed" in text
    assert (
        "A small &lt;b&gt;version&lt;/b&gt;" in text
        and "<b>" not in text.replace("```", "").split("## How to rebuild")[0]
    )


@pytest.mark.parametrize(
    "text",
    ["# head", "<script>x</script>", "a | b", "[x](javascript:1)", "`code`", "**b**", "---\nx: y", "![i](http://x/y.png)",
     "http://x.example/a", "a\x1b[31mred", "line\u2028break", "&lt;b&gt;"],
)  # fmt: skip
def test_untrusted_text_makes_no_markup(text: str) -> None:
    found = escape(text)
    assert (
        "\n" not in found and "<" not in found and "\x1b" not in found and "://" not in found and "\u2028" not in found
    )
    plain = found
    for char in "\\`*_{}[]()#!|~$":
        plain = plain.replace("\\" + char, "")
    assert not set(plain) & set("`*_{}[]()|~$")


def test_sample_builds_say_so_first(made: SmallVersion) -> None:
    recipe = "name: small\nsample_of: hcscl\nstand_ins: [a drawn detector for Faster R-CNN]\n"
    version = type(made.version)(made.store, made.version.manifest.model_copy(update={"recipe": recipe}))
    _, body = parts_of(card(version, contents_of(version)))
    assert body[0].startswith("> **Sample build of hcscl: generated data") and "a drawn detector" in body[0]


def test_licence_of_the_source_is_the_default(tmp_path: Path) -> None:
    small = SmallVersion(tmp_path / "root", [Record("a", Document("T", "x", language="en"), [Used(picture(1), "c")])])
    recipe = "name: small\nsources: [{kind: folder, name: test, path: ., licence: CC BY-SA 4.0}]\n"
    version = type(small.version)(small.store, small.version.manifest.model_copy(update={"recipe": recipe}))
    contents = contents_of(version)
    assert contents.licences == {"CC BY-SA 4.0": 1}
    front, _ = parts_of(card(version, contents))
    assert front["license"] == "cc-by-sa-4.0"


def licensed(tmp_path: Path, text: str, *pictures: str) -> tuple[Any, Any, str]:
    """What card, Croissant and card's table say of a version whose texts and pictures state these licences."""
    used = [Used(picture(n), "c", extra=json.dumps({"licence": name})) for n, name in enumerate(pictures)]
    document = Document("T", "x", language="en", extra=json.dumps({"licence": text}))
    small = SmallVersion(tmp_path / "root", [Record("a", document, used)])
    write_export(small.version, tmp_path / "out")
    front, body = parts_of((tmp_path / "out" / "README.md").read_text())
    return front["license"], json.loads((tmp_path / "out" / "croissant.json").read_text())["license"], "\n".join(body)


@pytest.mark.parametrize(
    ("text", "pictures", "front", "croissant"),
    [
        ("CC BY 4.0", ["CC BY 4.0"], "cc-by-4.0", "https://spdx.org/licenses/CC-BY-4.0.html"),
        ("apache-2.0", [], "apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"),
        ("ODbL", [], "odbl", "https://spdx.org/licenses/ODbL-1.0.html"),
        ("Public domain", ["Public domain"], "other", "Public domain"),
        ("All rights reserved", ["CC BY 4.0"], "other", "All rights reserved; CC BY 4.0"),
        ("", ["CC BY 4.0"], "other", "CC BY 4.0; not stated for the rest"),
        ("", [], "other", "not stated by the sources"),
    ],
)
def test_one_licence_is_claimed_only_where_all_state_it(
    tmp_path: Path, text: str, pictures: list[str], front: str, croissant: str
) -> None:
    found = licensed(tmp_path, text, *pictures)
    assert found[:2] == (front, croissant)
    for name in {text or "not stated", *pictures}:
        row = f"| {name} | {pictures.count(name)} | {int(name == (text or 'not stated'))} |"
        assert row in found[2]


def test_the_folder_appears_whole_or_not_at_all(
    made: SmallVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not an empty folder"):
        write_export(made.version, tmp_path / "full")
    calls = iter(range(3))

    def interrupted(self: WebDataset, record: ExportRecord) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WebDataset, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_export(made.version, tmp_path / "out", ExportOptions("webdataset"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"], "nothing is left"
    (tmp_path / ".out.part-killed").mkdir()
    write_export(made.version, tmp_path / "out", ExportOptions("webdataset"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "out"], "what a killed export left goes"
    listed = json.loads((tmp_path / "out" / "export.json").read_text())
    files = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {f["path"] for f in listed["files"]} == files.keys() - {"export.json"}
    assert all(f["sha256"] == hashlib.sha256(files[f["path"]].read_bytes()).hexdigest() for f in listed["files"])
    (newest,) = [e for e in read_exports(made.store) if e.place == str(tmp_path / "out")]  # other tests export, too
    assert newest.records == 9
    text_only = record_id("test", "text-only")
    assert newest.id in [e.id for e in exports_holding(made.store, [Forgotten.hash(text_only)])]
    refused = record_id("test", "refused")
    assert exports_holding(made.store, [Forgotten.hash(refused)]) == []


@pytest.fixture
def argv(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["diptych", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().out

    yield run


def test_the_commands(made: SmallVersion, tmp_path: Path, argv: Any) -> None:
    root = str(made.store.root.url)
    code, out = argv("export", "small", "--root", root, "--to", str(tmp_path / "out"), "--format", "coco", "--json")
    assert code == 0 and json.loads(out)["records"] == 7 and (tmp_path / "out" / "annotations").is_dir()
    assert argv("export", "small", "--root", root, "--to", str(tmp_path / "out"))[0] == 2
    for wrong in (["--format", "zip"], ["--split", "x"], ["--stages", "nothing"], ["--rows", "x"], ["--format", "h5"]):
        assert argv("export", "small", "--root", root, "--to", str(tmp_path / "no"), *wrong)[0] == 2
    assert not (tmp_path / "no").exists()
    code, out = argv("card", "small", "--root", root, "--to", str(tmp_path / "c" / "README.md"))
    assert code == 0 and "# A small" in (tmp_path / "c" / "README.md").read_text()
