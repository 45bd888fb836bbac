"""What a small change costs: rows computed and bytes written by a second build, as shares of the first.

The sample site as a folder of documents, real stages with stored features (grid and pooled, about 128 kB an
image; random weights, which cost the same as trained ones). ``python benchmarks/change.py [--documents 300]``
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from diptych.engine.build import BuildReport, build
from diptych.engine.crawling import crawl_recipe
from diptych.sample import Site, write

RECIPE = """
name: change
sources: [{kind: folder, name: site, path: site}]
shards: 64
stages:
  clean: {min_side: 64}
  clean_text: {}
  clean_pairs: {}
  sentences: {}
  backbone: {model: efficientnet_lite0, weights: "random:0", grid: true}
fits: {word_counts: {}}
"""


def stored(root: Path) -> int:
    """Bytes of everything but fetched blobs."""
    return sum(f.stat().st_size for f in root.rglob("*") if f.is_file() and "blobs" not in f.parts)


def run(root: Path, folder: Path) -> tuple[BuildReport, float]:
    start = time.perf_counter()
    crawl_recipe(RECIPE, str(root), folder)
    return build(RECIPE, str(root), folder=folder), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300)
    documents = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as place:
        folder, root = Path(place), Path(place) / "data"
        write(Site(documents), folder / "site", static=False)
        first, seconds = run(root, folder)
        size = stored(root)
        print(f"{documents} documents: {first.computed} rows computed, {size / 1e6:.1f} MB stored, {seconds:.1f} s")
        again, seconds_again = run(root, folder)
        print(f"unchanged: {again.computed} rows computed, {(stored(root) - size) / 1e6:.3f} MB, {seconds_again:.1f} s")
        size = stored(root)
        changed = max(1, documents // 100)
        site = Site(documents).with_changes(dict.fromkeys(range(2, 2 + changed), "add_image"))
        write(site, folder / "site", static=False)
        for file in sorted((folder / "site" / "documents").glob("*.json"))[10 : 10 + changed]:
            raw = json.loads(file.read_text())
            file.write_text(json.dumps({**raw, "text": raw["text"] + " The end."}))
        second, seconds_changed = run(root, folder)
        grown = stored(root) - size
        print(
            f"{2 * changed} documents changed ({2 * changed / documents:.1%}; {changed} with a new picture): "
            f"{second.computed} rows computed ({second.computed / first.computed:.2%}), "
            f"{grown / 1e6:.2f} MB written ({grown / size:.2%} of what is stored), {seconds_changed:.1f} s"
        )


if __name__ == "__main__":
    main()
