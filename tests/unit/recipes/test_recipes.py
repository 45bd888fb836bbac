"""The papers' recipes on generated data in the real formats: what is built, and the paper's table against the truth."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from light_recipes import DATASETS, LIGHT, Built, only

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.exceptions import RecipeError
from diptych.naming import record_id
from diptych.recipe import RecipeFile, load_recipe, parse_recipe
from diptych.report import statistics
from diptych.report.paper_table import DataTable
from diptych.sample.releases import RELEASES
from diptych.sample.releases.drawn import split_of
from diptych.sample_build import sample_build
from diptych.version import Version, open_version

SPLITS = ("train", "dev", "test")


def truth_of(samples: Path, name: str) -> list[dict[str, Any]]:
    folder = samples / f"{name}-12-0-1"
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


def table_of(version: Version, number: int = 0) -> DataTable:
    return statistics(version).paper[number]


def total(table: DataTable, mean: str, count: str) -> float:
    """The sum that a row of means stands for."""
    return sum((table.ours(mean, c) or 0) * (table.ours(count, c) or 0) for c in table.columns)


# --- every recipe ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RELEASES)
def test_every_recipe_builds_from_its_sample(light: Built, name: str) -> None:
    version = light(name)
    for entry in version.manifest.stages:
        assert entry.counts.failed == 0 and entry.counts.ok, entry.name
    said = statistics(version)
    recipe = parse_recipe(version.manifest.recipe)
    block = load_recipe(DATASETS / f"{name}.yaml").recipe.sample
    assert block is not None and recipe.stand_ins == block.stand_ins, "the manifest says what it was made of"
    assert recipe.sample_of == name and recipe.paper == name
    first = str(said).split("\n")[0]
    assert first.startswith(f"Sample build of {name}: generated data") and recipe.stand_ins[0] in first
    assert str(version.manifest.dataset) == f"{name}-sample"
    assert {*version.table("splits")["split"].to_pylist()} == {*SPLITS}, "models need all three"


@pytest.mark.parametrize("name", RELEASES)
def test_every_setting_of_a_recipe_is_one(name: str) -> None:
    """All stages as the paper has them; files that only its owner has are left out."""
    raw = yaml.safe_load((DATASETS / f"{name}.yaml").read_text(encoding="utf-8"))
    raw["fits"].pop("vectors", None)
    for stage in ("votes", "pair_votes"):
        raw["stages"].get(stage, {}).pop("labels", None)
        raw["stages"].get(stage, {}).pop("file", None)
    if name == "hcscl":
        raw["stages"]["relevance_scores"] |= {"scorer": "ngrams", "checkpoint": None}
    from diptych.engine.graph import load_graph
    from diptych.engine.intake import sources_of

    recipe = parse_recipe(yaml.safe_dump(raw))
    assert {s.name for s in sources_of(recipe, DATASETS)} == {s["name"] for s in raw["sources"]}
    assert {node.name for node in load_graph(recipe).stages} >= {*raw["stages"]}


def test_the_same_sample_is_written_once_and_is_the_same(samples: Path, tmp_path: Path) -> None:
    again = sample_build(load_recipe(DATASETS / "mkp.yaml"), 3, tmp_path)
    other = sample_build(load_recipe(DATASETS / "mkp.yaml"), 3, samples)
    for file in (p for p in again.folder.rglob("*") if p.is_file() and p.name != "recipe.yaml"):
        assert file.read_bytes() == (other.folder / file.relative_to(again.folder)).read_bytes(), file
    inode = (again.folder / "truth.jsonl").stat().st_ino
    assert (sample_build(load_recipe(DATASETS / "mkp.yaml"), 3, tmp_path).folder / "truth.jsonl").stat().st_ino == inode
    assert [p.name for p in tmp_path.iterdir()] == ["mkp-3-0-1"], "nothing half written is left"


def test_the_block_is_laid_over_the_recipe(tmp_path: Path) -> None:
    file = sample_build(load_recipe(DATASETS / "flickr30k.yaml"), 2, tmp_path)
    assert file.recipe.sources[0]["entities"] == f"{file.folder}/entities" and file.recipe.shards == 2
    assert file.recipe.stages["fc7"] == {"boxes": "both", "count": 19, "weights": "random:0", "side": 32}
    assert "vectors" not in file.recipe.fits and file.recipe.fits["word2vec"] == {"size": 300, "min_count": 1}
    news = sample_build(load_recipe(DATASETS / "hcscl.yaml"), 1, tmp_path).recipe.sources
    assert news == ({"kind": "folder", "name": "news", "path": str(tmp_path / "hcscl-1-0-1")},), "another kind: whole"
    assert load_recipe(file.folder / "recipe.yaml").recipe == file.recipe
    with pytest.raises(RecipeError, match="no sample: block"):
        sample_build(RecipeFile(file.recipe, file.text, tmp_path))


def test_a_recipe_reads_the_real_files_where_it_says(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("flickr30k", "coco"):
        source = sample_build(load_recipe(DATASETS / f"{name}.yaml"), 12, samples).folder
        (tmp_path / "datasets").mkdir(exist_ok=True)
        (tmp_path / "datasets" / name).symlink_to(source)
    monkeypatch.chdir(tmp_path)
    for name in ("flickr30k", "coco"):
        text = only((DATASETS / f"{name}.yaml").read_text(encoding="utf-8"), LIGHT, ("near_duplicates", "splits"))
        (tmp_path / "datasets" / f"{name}.yaml").write_text(text, encoding="utf-8")
        file = load_recipe(name)
        crawl_recipe(file.text, "data", file.folder)
        build(file.text, "data", folder=file.folder)
        found = statistics(open_version(f"data/{name}"))
        assert found.sample == "" and str(found).startswith(f"{name}@1")
        assert found.paper[0].ours("pictures", "all") == sum(1 for _ in described(samples, name))


# --- tables ------------------------------------------------------------------------------------------------


def described(samples: Path, name: str) -> list[tuple[str, dict[str, Any]]]:
    """(split, truth) of each picture of a caption set."""
    return [
        ({"val": "dev"}.get(split_of(n), split_of(n)), image)
        for n, document in enumerate(truth_of(samples, name))
        for image in document["images"]
        if image["keep"] and image["descriptions"] and image["objects"] and image["encoding"] == "jpeg"
    ]


def test_hcscl_table_2(light: Built, samples: Path) -> None:
    version, truth = light("hcscl"), truth_of(samples, "hcscl")
    table = table_of(version)
    splits = dict(zip(*(version.table("splits")[c].to_pylist() for c in ("key", "split")), strict=True))
    counts = Counter(splits[record_id("news", document["id"])] for document in truth)
    assert [table.ours("documents", c) for c in table.columns] == [counts[split] for split in SPLITS]
    sizes = {
        "words (characters) a document": sum(len("".join(d["text"].split())) for d in truth),
        "sentences a document": sum(len(d["sentences"]) for d in truth),
        "summary length (characters)": sum(len("".join(d["summary"]["text"].split())) for d in truth),
    }
    for row, expected in sizes.items():
        nearly = 0.02 if row.startswith("sentences") else 1e-6  # a program finds their ends
        assert total(table, row, "documents") == pytest.approx(expected, rel=nearly), row
    kept = {key for images in version.table("best_image")["images"].to_pylist() for key in images or ()}
    assert len(kept) == 3 * len(truth), "three pictures a document"
    assert table.rows["documents"][0].paper == 52_656 and table.rows["sentences a document"][2].paper == 19.86


def test_mkp_table_4_counts_present_keyphrases_on_the_post_alone(light: Built, samples: Path) -> None:
    from nltk.stem.porter import PorterStemmer

    stem = PorterStemmer().stem
    folder, version = samples / "mkp-12-0-1", light("mkp")
    posts, relations = statistics(version).paper
    for split, file in zip(("train", "valid", "test"), ("train", "valid", "test"), strict=True):
        lines = [line.split("<sep>") for line in (folder / f"{file}_src.txt").read_text().splitlines()]
        phrases = [phrase for line in lines for phrase in line[1].split(";")]
        present = 0
        for text, listed, _ in lines:
            words = " ".join(stem(word) for word in text.split())
            present += sum(
                f" {' '.join(stem(w) for w in phrase.split())} " in f" {words} " for phrase in listed.split(";")
            )
        assert posts.ours("posts", split) == len(lines)
        assert posts.ours("keyphrases a post", split) == pytest.approx(len(phrases) / len(lines))
        assert posts.ours("different keyphrases", split) == len({*phrases})
        assert posts.ours("% present", split) == pytest.approx(100 * present / len(phrases))
        assert posts.ours("% absent", split) == pytest.approx(100 - 100 * present / len(phrases))
        assert posts.ours("length of a post", split) == pytest.approx(
            sum(len(x[0].split()) for x in lines) / len(lines)
        )
    truth = truth_of(samples, "mkp")
    told = {d["index"]: [k["text"].lower() for k in d["keyphrases"]] for d in truth[:12]}
    assert sum(map(len, told.values())) == pytest.approx(total(posts, "keyphrases a post", "posts"))
    assert 0 < total(posts, "% present", "posts") < 100 * 12, "some are present, some absent"
    labels = Counter((row["image_adds"], row["text_is_represented"])
                     for row in rows_of(folder / "trc" / "text-image-relation.csv"))  # fmt: skip
    assert [relations.ours("posts", c) for c in relations.columns] == [
        labels[pair] for pair in (("1", "1"), ("1", "0"), ("0", "1"), ("0", "0"))
    ]


def test_information_gap_tables_1_and_2(light: Built, samples: Path) -> None:
    folder, version = samples / "information_gap-12-0-1", light("information_gap")
    labels = [row for row in rows_of(folder / "labels.csv") if row["cmi"]]
    cmi, sc, sources = statistics(version).paper
    for table, kind in ((cmi, "cmi"), (sc, "sc")):
        counted = Counter(f"{float(row[kind]):g}" for row in labels)
        assert [table.ours("samples", c) for c in table.columns] == [counted[c] for c in table.columns]
    assert len(labels) < len(rows_of(folder / "labels.csv")), "some samples are invalid"
    assert sum(c.paper or 0 for c in cmi.rows["samples"]) == sum(c.paper or 0 for c in sc.rows["samples"]) == 826
    for source in ("labelled_captions", "news", "wiki"):
        levels = [float(row["sc"]) for row in labels if row["source"] == source]
        assert sources.ours(source, "labelled") == len(levels)
        assert sources.ours(source, "mean SC") == pytest.approx(sum(levels) / len(levels))
    captions = json.loads((folder / "coco/annotations/captions_val2014.json").read_text())
    assert sources.ours("captions", "pairs") == len(captions["annotations"]), "one pair a caption"
    edits = version.table("sentences", ["edits"]).to_pylist()
    documents = {row["record"]: row for row in version.table("documents").to_pylist()}
    british = {documents[row["key"]]["source"] for row in edits if row["edits"]}
    assert british == {"news"}, "only British sources are respelt"
    assert {e["text"] for row in edits for e in row["edits"] or ()} >= {"color", "favored", "neighbors", "harbor"}


def test_ccd_table_ii(light: Built, samples: Path) -> None:
    answers = [[row[f"annotator_{n}"] for n in (1, 2, 3)] for row in rows_of(samples / "ccd-12-0-1" / "labels.csv")]
    decided = Counter(max(set(a), key=a.count) for a in answers if len(set(a)) < 3)
    table = table_of(light("ccd"))
    for name in ("explicit", "implicit", "irrelevant"):
        assert table.ours(name, "all") == decided[name] == sum(table.ours(name, s) or 0 for s in SPLITS)
    assert table.ours("all", "all") == decided.total()
    assert table.ours("no majority", "all") == len(answers) - decided.total()
    (agreement,) = statistics(light("ccd")).agreement
    assert agreement.kind == "relation" and agreement.fleiss_kappa is not None and agreement.votes == 3 * len(answers)


@pytest.mark.parametrize("name", ["flickr8k", "flickr30k", "coco"])
def test_caption_set_sizes(light: Built, samples: Path, name: str) -> None:
    truth, table = described(samples, name), table_of(light(name))
    for split in (*SPLITS, "all"):
        mine = [image for s, image in truth if split in (s, "all")]
        captions = [sentence for image in mine for sentence in image["descriptions"]]
        assert table.ours("pictures", split) == len(mine) and table.ours("captions", split) == len(captions)
        if name == "coco":
            assert table.ours("annotated boxes", split) == sum(len(image["objects"]) for image in mine)
        else:
            words = sum(len(sentence["tokens"]) for sentence in captions)
            assert table.ours("words a caption", split) == pytest.approx(words / len(captions))
        if name == "flickr30k":
            inner = [{p["text"] for s in i["descriptions"] for p in s["phrases"] if not p["nested"]} for i in mine]
            named = [
                {o for s in i["descriptions"] for p in s["phrases"] if not p["nested"] for o in p["objects"]}
                for i in mine
            ]
            assert table.ours("annotated phrases", split) == sum(map(len, inner))
            assert table.ours("annotated boxes", split) == sum(map(len, named))
    assert table.rows["pictures"][-1].paper == {"flickr8k": 8_000, "flickr30k": 31_000, "coco": 123_000}[name]
