"""The proof that no group crosses splits, over versions built from files: a logo, a bridge, the bridge deleted."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.steps import close
from diptych.report.leaks import SplitProof, split_proof
from diptych.version import open_version

RECIPE = """
name: d
sources: [{kind: folder, name: site, path: site}]
shards: 2
limits: {max_shrink: 1.0}
stages: {clean: {}}
fits: {splits: {train: 0.6, dev: 0.2, test: 0.2}}
"""


def picture(seed: int, quality: int = 90) -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((80, 72), Image.Resampling.BICUBIC).save(out, "JPEG", quality=quality)
    return out.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """200 documents, each with a picture of its own and the site's logo."""
    folder = tmp_path_factory.mktemp("splits") / "site"
    (folder / "documents").mkdir(parents=True)
    (folder / "logo.jpg").write_bytes(picture(10_000))
    for n in range(200):
        (folder / f"{n}.jpg").write_bytes(picture(n))
        write(folder, str(n), f"{n}.jpg", "logo.jpg")
    yield folder.parent
    close()


def write(folder: Path, name: str, *files: str) -> None:
    text = json.dumps({"text": f"Document {name}", "images": [{"file": file} for file in files]})
    (folder / "documents" / f"{name}.json").write_text(text)


def built(place: Path) -> tuple[SplitProof, dict[str, str]]:
    """The proof of a new version and the split of each record by the name of its file, deleted ones left out."""
    crawl_recipe(RECIPE, str(place / "data"), place)
    build(RECIPE, str(place / "data"), folder=place)
    version = open_version(place / "data" / "d")
    proof = split_proof(version)
    assert proof is not None and proof.holds
    split = {row["key"]: row["split"] for row in version.table("splits").to_pylist()}
    return proof, {r["source_id"]: split[r["record"]] for r in version.snapshot.table().to_pylist()}


def test_no_group_crosses_splits_whatever_comes_and_goes(place: Path) -> None:
    proof, split = built(place)
    assert (proof.records, proof.groups, proof.joined, proof.recurring, proof.picture_groups) == (200, 200, 0, 1, 201)
    train, test = (next(name for name, own in split.items() if own == wanted) for wanted in ("train", "test"))
    write(place / "site", "bridge", f"{train}.jpg", f"{test}.jpg")
    proof, now = built(place)
    assert now["bridge"] == now[train] == "test"
    assert {n: s for n, s in now.items() if n not in ("bridge", train)} == {
        n: s for n, s in split.items() if n != train
    }
    assert (proof.records, proof.groups, proof.joined, proof.largest, proof.shared_pictures) == (201, 199, 1, 3, 2)
    (place / "site" / "documents" / "bridge.json").unlink()
    proof, after = built(place)
    assert "bridge" not in after and after == {n: s for n, s in now.items() if n != "bridge"}
    assert (proof.records, proof.groups, proof.largest, proof.shared_pictures) == (201, 199, 3, 0), (
        "the ledger keeps it"
    )
    write(place / "site", "late", f"{train}.jpg")
    assert built(place)[1]["late"] == "test"


def test_a_copy_of_a_picture_comes_back_to_its_split_when_both_had_left(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "documents").mkdir(parents=True)
    (site / "stays.jpg").write_bytes(picture(99))
    write(site, "stays", "stays.jpg")
    for n in range(12):
        for quality in (60, 90):
            (site / f"{n}-{quality}.jpg").write_bytes(picture(n, quality))
            write(site, f"{n}-{quality}", f"{n}-{quality}.jpg")
    before = built(tmp_path)[1]
    assert all(before[f"{n}-60"] == before[f"{n}-90"] for n in range(12)) and len(set(before.values())) > 1
    for n in range(12):
        for quality in (60, 90):
            (site / "documents" / f"{n}-{quality}.json").unlink()
    assert set(built(tmp_path)[1]) == {"stays"}
    for n in range(12):
        write(site, f"back {n}", f"{n}-60.jpg")
    now = built(tmp_path)[1]
    assert [now[f"back {n}"] for n in range(12)] == [before[f"{n}-60"] for n in range(12)]
