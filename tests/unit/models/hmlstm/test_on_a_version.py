"""HM-LSTM on a committed version, through the reader and the loop."""

from __future__ import annotations

import io
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import diptych
from diptych.cli import app
from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.exceptions import DiptychError, Unfinished
from diptych.training.folder import RunFolder
from diptych.training.options import RunOptions
from diptych.training.train import Order, continue_run, start_run, train
from diptych.version import Version

sys.path.insert(0, str(Path(__file__).parent))

import toy_stages
from samples import sample
from toy_stages import COUNT

RECIPE = """
name: toy
sources: [{kind: folder, name: toy, path: site}]
shards: 2
stages:
  clean: {min_side: 8}
  sentences: {}
  parse: {use: "toy_stages:ToyParse"}
  fc7: {use: "toy_stages:ToyFc7"}
fits:
  near_duplicates: {}
  splits: {}
  word2vec: {size: 12, min_count: 1, epochs: 1}
"""
SETTINGS = {"word": 12, "batch_size": 12, "judged_images": 3}
QUIET = RunOptions(tensorboard=False)


def invoke(*args: str, code: int = 0) -> str:
    """What a command prints; of one that is refused the message."""
    done = CliRunner().invoke(app, list(args))
    if done.exit_code != code and isinstance(done.exception, DiptychError):
        assert done.exception.exit_code == code, done.exception
        return str(done.exception)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if not code else done.output


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    pytest.importorskip("gensim")
    place = tmp_path_factory.mktemp("hmlstm")
    for folder in ("documents", "images"):
        (place / "site" / folder).mkdir(parents=True)
    for number in range(COUNT):
        data = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(data, "PNG")
        (place / "site" / "images" / f"{number}.png").write_bytes(data.getvalue())
        one = sample(number)
        picture = {"file": f"images/{number}.png", "captions": one["pairs.caption"].split("\n")}
        document = {
            "id": str(number),
            "language": "en",
            "split": ("train", "train", "train", "test", "dev", "train")[number % 6],
            "images": [picture | json.loads(one["pairs.extra"])],
        }
        (place / "site" / "documents" / f"{number}.json").write_text(json.dumps(document))
    crawl_recipe(RECIPE, str(place / "data"), place)
    build(RECIPE, str(place / "data"), folder=place)
    return diptych.open(place / "data" / "toy")


@pytest.fixture(scope="module")
def run(version: Version) -> RunFolder:
    """A fitted run."""
    return train(version, Order("hmlstm", "debug", SETTINGS), QUIET)


def site_of(version: Version) -> Path:
    return Path(version.store.home.url).parent.parent / "site"


def test_a_run_stopped_after_every_step_ends_like_one_that_was_not(version: Version, run: RunFolder) -> None:
    order, whole = Order("hmlstm", "debug", SETTINGS), run
    stopped = start_run(version, order)
    for _ in range(100):
        try:
            continue_run(stopped, RunOptions(tensorboard=False, max_hours=1e-9))
            break
        except Unfinished:
            continue
    for name in ("weights.safetensors", "predictions-test.jsonl"):
        files = [Path(version.store.home.url) / folder.path / name for folder in (whole, stopped)]
        assert files[0].read_bytes() == files[1].read_bytes()
    metrics = json.loads((Path(version.store.home.url) / whole.path / "metrics.json").read_text())
    assert metrics["test"]["phrases_linked"] > 0 and metrics["test"]["i2t_r10"] == 1


@pytest.mark.parametrize("order", [Order("hmlstm", "debug", SETTINGS, ablation="chain"),
                                   Order("hmlstm", "debug", SETTINGS, baseline="random")])  # fmt: skip
def test_an_ablation_and_a_baseline(version: Version, order: Order) -> None:
    folder = train(version, order, QUIET)
    lines = (Path(version.store.home.url) / folder.path / "predictions-test.jsonl").read_text().splitlines()
    assert len(lines) == COUNT // 6 and all(json.loads(line)["gold"] for line in lines)


def test_what_is_missing_is_said_before_any_work(version: Version) -> None:
    with pytest.raises(DiptychError, match=r"regions: \{|no regions"):
        start_run(version, Order("hmlstm", "sample", {"word": 12}))
    with pytest.raises(DiptychError, match="feature_size: 20, or null"):
        start_run(version, Order("hmlstm", "debug", {**SETTINGS, "feature_size": 4096}))


def test_raw_documents_are_said_the_same_of_as_those_of_the_version(
    version: Version, run: RunFolder, tmp_path: Path
) -> None:
    raw, root = tmp_path / "raw", str(Path(version.store.home.url).parent)
    for name in ("documents/0.json", "documents/3.json", "images/0.png", "images/3.png"):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(site_of(version) / name, raw / name)
    bad = {"small": [{"file": "images/small.png", "caption": "x"}], "lost": [{"file": "images/no.png"}], "bare": []}
    for name, images in bad.items():
        (raw / "documents" / f"{name}.json").write_text(json.dumps({"images": images}))
    (raw / "documents" / "broken.json").write_text("{")
    Image.new("RGB", (4, 4)).save(raw / "images" / "small.png")
    said = invoke("predict", run.run, "--input", str(raw), "--root", root, "--pictures", str(tmp_path / "drawn"))
    rows = {line["input"]: line for line in map(json.loads, said.splitlines())}
    known = {
        line["id"].split("/")[1]: line
        for line in map(json.loads, invoke("predict", run.run, "--input", "toy@1", "--root", root).splitlines())
    }
    assert len(known) == COUNT
    for number in (0, 3):
        line = rows[f"documents/{number}.json"]
        assert line["image_file"] == f"images/{number}.png"
        same = known[line["id"].split("/")[1]]
        for mine, other in zip(line["phrases"], same["phrases"], strict=True):
            assert mine["phrase"] == other["phrase"] and mine["box"] == other["box"]
            assert mine["score"] == pytest.approx(other["score"], abs=1e-5)
        regions = line["region_phrases"]
        assert regions and all(p["score"] >= q["score"] for r in regions for p, q in pairwise(r["phrases"]))
        with Image.open(tmp_path / "drawn" / f"{line['id'].replace('/', '-')}.png") as drawn:
            assert drawn.width > 100
    assert rows["documents/small.json"]["failed"].startswith("clean: rejected thumbnail (4 against 8)")
    assert rows["documents/lost.json"]["failed"] == "the picture: gone"
    assert rows["documents/bare.json"]["failed"] == "the document has no picture"
    assert rows["documents/broken.json"]["failed"] == "the document: failed:malformed"
    alone = json.loads(invoke("predict", run.run, "--input", str(raw / "documents/3.json"), "--root", root, "--quiet"))
    assert [p["phrase"] for p in alone["phrases"]] == [p["phrase"] for p in rows["documents/3.json"]["phrases"]]
    picture = json.loads(invoke("predict", run.run, "--input", str(raw / "images/small.png"), "--root", root))
    assert picture["failed"].startswith("clean: rejected")


def test_pictures_that_cannot_be_read_are_rows_however_many(version: Version, run: RunFolder, tmp_path: Path) -> None:
    root, to = str(Path(version.store.home.url).parent), tmp_path / "out.jsonl"
    (tmp_path / "one.jpg").write_text("no picture")
    one = ["--input", str(tmp_path / "one.jpg"), "--to", str(to), "--pictures", str(tmp_path / "drawn"), "--quiet"]
    said = invoke("predict", run.run, *one, "--root", root)
    assert said == f"wrote 1 row to {to}, 1 of them without a prediction: see `failed`\n"
    line = json.loads(to.read_text())
    assert (line["image_file"], line["failed"]) == ("one.jpg", "the picture: failed:not_an_image")
    several = tmp_path / "several"
    for name in ("documents/0.json", "images/0.png"):
        (several / name).parent.mkdir(parents=True)
        shutil.copy(site_of(version) / name, several / name)
    for number in range(1, 4):
        (several / "images" / f"{number}.png").write_text("no picture")
        document = {"images": [{"file": f"images/{number}.png", "caption": "x"}]}
        (several / "documents" / f"{number}.json").write_text(json.dumps(document))
    lines = map(json.loads, invoke("predict", run.run, "--input", str(several), "--root", root).splitlines())
    assert {line["input"] for line in lines if "failed" in line} == {f"documents/{n}.json" for n in range(1, 4)}


def test_raw_documents_need_the_stages_that_the_run_was_trained_on(
    version: Version, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(Path(version.store.home.url).parent)
    monkeypatch.setattr(toy_stages.ToyFc7, "version", 2)
    said = invoke("predict", run.run, "--input", str(site_of(version)), "--root", root, code=2)
    assert "stage fc7 has another version, weights or defaults here than in version 1 of toy" in said
    for source, what in (("toy@9", "9"), ("no/such/folder", "neither a folder or file nor DATASET@VERSION")):
        assert what in invoke("predict", run.run, "--input", source, "--root", root, code=2)
    (tmp_path / "empty").mkdir()
    said = invoke("predict", run.run, "--input", str(tmp_path / "empty"), "--root", root, code=2)
    assert said.startswith("--input") and "no pictures" in said
