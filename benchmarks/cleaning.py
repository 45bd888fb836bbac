"""Every cleaning rule against the truth of the sample site, which is crawled over loopback HTTP.

``python benchmarks/cleaning.py [--documents 600]`` prints precision and recall of each rule, recall of each kind of
copy, how many pages came out exactly, and what the server saw of the crawler's manners. Exit code 1 when a target of
precision .99, recall .97 (large crops apart) or 99 % exact pages is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.report.truth import KEPT, RuleScore, TruthScore, read_truth, score
from diptych.sample import Faults, Server, Site
from diptych.version import open_version

PER_HOST = 4
RECIPE = """
name: cleaning
contact: https://example.org/benchmarks
sources:
  - kind: web
    name: site
    start: ["{url}/"]
    fetch: {{allow_private: true, per_host: {per_host}, timeout: 2, backoff: 0.05}}
shards: 8
stages: {{clean: {{min_side: 64}}, clean_text: {{}}, clean_documents: {{}}, clean_pairs: {{}}}}
"""


def measure(documents: int, folder: Path) -> tuple[TruthScore, Server, float, float]:
    """Crawl and build the site; the scores, the server with its counts, and the seconds of both."""
    with Server(Site(documents), faults=Faults(slow_seconds=0.3, stall_seconds=4)) as server:
        recipe = RECIPE.format(url=server.url, per_host=PER_HOST)
        start = time.perf_counter()
        crawl_recipe(recipe, str(folder), folder)
        crawled = time.perf_counter() - start
        start = time.perf_counter()
        build(recipe, str(folder), folder=folder)
        built = time.perf_counter() - start
    server.site.write_truth(folder / "truth.jsonl")
    return score(open_version(folder / "cleaning"), read_truth(folder / "truth.jsonl")), server, crawled, built


def main() -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=600)
    documents = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as place:
        found, server, crawled, built = measure(documents, Path(place))
    print(f"{documents} documents: crawled in {crawled:.0f} s, built in {built:.0f} s\n")
    print("| rule | expected | recall | rejected | precision |\n| --- | --- | --- | --- | --- |")
    for rule in found.rules:
        print(f"| {rule.rule} | {rule.expected} | {rule.recall:.3f} | {rule.found} | {rule.precision:.3f} |")
    print("\n| copies | expected | recall |\n| --- | --- | --- |")
    for change in found.changes:
        print(f"| {change.rule} | {change.expected} | {change.recall:.3f} |")
    pages = found.pages
    print(f"\npages {pages.pages}: title {pages.title}, text {pages.text}, captions {pages.captions}, all {pages.all}")
    print(f"accepted documents that are none: {found.others}")
    most = max(server.counts.most_parallel.values())
    print(f"pictures of the frame, named by no document: {found.unnamed}")
    print(f"requests into the robots area: {len(server.counts.robots_area)}; at most {most} in parallel of {PER_HOST}")
    for line in found.wrong[:60]:
        print("wrong:", line, file=sys.stderr)
    good = all(_good(rule) for rule in found.rules) and pages.all >= 0.99 * pages.pages and not found.others
    return 0 if good and not server.counts.robots_area and most <= PER_HOST else 1


def _good(rule: RuleScore) -> bool:
    return rule.precision >= 0.99 and (rule.recall >= 0.97 or rule.rule == KEPT)


if __name__ == "__main__":
    sys.exit(main())
