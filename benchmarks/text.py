"""What each stage of text and annotation costs: rows and pictures a second, and how much need not be computed.

``python benchmarks/text.py [--documents 60] [--all]`` builds the sample site as a folder with the sample recipe's
stages and those of text (``--all``: with its vision stages, for the sum of all an image), then builds it again.
Rows a second are of rows that were computed; "repeated" is the share of sentences (or of uses of pictures) that stand
several times in a shard and are computed once. Start-up (imports, weights) is in the first build's seconds of a stage,
and is measured apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import yaml

from diptych.engine.build import BuildReport, build
from diptych.engine.context import BuildOptions
from diptych.engine.crawling import crawl_recipe
from diptych.engine.steps import close
from diptych.naming import sentence_key
from diptych.sample import Site, write
from diptych.stages import STAGES
from diptych.stages.schema import load_stage
from diptych.version import Version, open_version

TEXT = {
    "sentences": {}, "parse": {}, "bert": {"model": "minilm"}, "relevance_scores": {"scorer": "minilm"},
    "relevance": {}, "ocr": {"limit_side_len": 320}, "entity_labels": {},
}  # fmt: skip
CLEAN = ("clean", "clean_text", "clean_documents", "clean_pairs")
LOADED = ("parse", "bert", "relevance_scores", "ocr", "regions", "backbone")


def recipe(everything: bool) -> str:
    """The sample's recipe over a folder, with the stages of text."""
    sample = yaml.safe_load((Path(__file__).parents[1] / "datasets" / "sample.yaml").read_text(encoding="utf-8"))
    wanted = sample["stages"] if everything else {n: sample["stages"][n] for n in (*CLEAN, "regions")}
    stages = {**wanted, **{n: settings for n, settings in TEXT.items() if n in STAGES}}
    source = {"kind": "folder", "name": "site", "path": "site"}
    fits = {**sample["fits"], "vectors": {}, "vocabulary": {}}
    return yaml.safe_dump({"name": "text", "sources": [source], "shards": 2, "stages": stages, "fits": fits})


def start_up(text: str) -> dict[str, float]:
    """Seconds until a stage is ready, of those that load something."""
    found = {}
    for name, settings in yaml.safe_load(text)["stages"].items():
        if name in LOADED:
            cls = load_stage(name)
            stage = cls(cls.Config(**(settings or {})))
            start = time.perf_counter()
            stage.setup("cpu")
            found[name] = time.perf_counter() - start
            stage.close()
    return found


def show(report: BuildReport, images: int, title: str) -> float:
    """One line a stage; the seconds of all stages."""
    print(f"\n{title}\n{'stage':18} {'rows':>7} {'computed':>9} {'seconds':>8} {'rows/s':>8} {'s/image':>8}")
    total = 0.0
    for p in report.progress.values():
        total += p.seconds
        rate = f"{p.computed / p.seconds:8.0f}" if p.computed and p.seconds else " " * 8
        print(f"{p.name:18} {p.rows:7} {p.computed:9} {p.seconds:8.2f} {rate} {p.seconds / images:8.4f}")
    print(f"{'sum':18} {'':7} {'':9} {total:8.2f} {'':8} {total / images:8.4f}")
    return total


def repeated(version: Version) -> None:
    """How many sentences and pictures stand several times in the version."""
    items = version.table("sentences", ["items"], state=False)["items"].to_pylist()
    keys = [sentence_key(i["text"]) for row in items for i in row or ()]
    pairs = [r["key"].partition("/")[2].partition("#")[0] for r in version.table("clean_pairs", []).to_pylist()]
    for name, found in (("sentences", keys), ("uses of pictures", pairs)):
        share = 1 - len(set(found)) / max(1, len(found))
        print(f"{len(found)} {name}, {len(set(found))} distinct: {share:.0%} repeated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--all", action="store_true", help="with the sample's vision stages")
    given = parser.parse_args()
    text = recipe(given.all)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(Site(given.documents), folder / "site", static=False)
        ready = start_up(text)
        crawl_recipe(text, place, folder)
        for title in ("first build", "second build: nothing changed"):
            start, used = time.perf_counter(), time.process_time()
            report = build(text, place, BuildOptions(), folder=folder)
            wall, cpu = time.perf_counter() - start, time.process_time() - used
            images = next(p.rows for p in report.progress.values() if p.name == "ocr")
            show(report, images, f"{title}: {images} images, {wall:.1f} s, {cpu:.1f} s of this process's CPU")
        repeated(open_version(Path(place) / "text"))
        print("start-up, seconds: " + ", ".join(f"{n} {s:.1f}" for n, s in ready.items()))
    close()


if __name__ == "__main__":
    main()
