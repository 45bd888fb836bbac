"""Parsing speed with the shipped English parser: the distinct sentences of a shard, and what a second build costs.

``python benchmarks/parse.py [--documents 120] [--coco FOLDER]``; one thread. Sentences are those of the sample site's
English documents (text, summary, captions), with the repetitions a shard has; with ``--coco`` also real captions. The
engine gives the stage each distinct sentence of a shard once, and a later build only those that are new.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from diptych.sample import Site
from diptych.stage import Batch
from diptych.stages.parse import Parse
from diptych.stages.splitting import SentenceSplitter


def site_sentences(documents: int) -> list[str]:
    """Every sentence of the English documents, with repetitions."""
    found: list[str] = []
    for truth in Site(documents, seed=3, dirt=False).truths():
        if truth.language == "en":
            found += [sentence.text for sentence in (*truth.sentences, truth.summary)]
            found += [image.caption.text for image in truth.images if image.caption]
    return found


def coco_sentences(folder: Path) -> list[str]:
    """The sentences of COCO's captions, with repetitions."""
    splitter, found = SentenceSplitter(), []
    for file in sorted((folder / "annotations").glob("captions_*.json")):
        for item in json.loads(file.read_text())["annotations"]:
            text = item["caption"].strip()
            found += [text[a:b] for a, b in splitter.split(text, "en")]
    return found


def measure(name: str, sentences: list[str], stage: Parse) -> None:
    distinct = list(dict.fromkeys(sentences))
    words = 0
    start = time.perf_counter()
    for first in range(0, len(distinct), stage.batch_size):
        part = distinct[first : first + stage.batch_size]
        out = stage.process(Batch(tuple(map(str, range(len(part)))), {"sentence.text": part}, stage))
        words += sum(len(value) for value in out.values["words"] if value)
    seconds = time.perf_counter() - start
    repeated = 1 - len(distinct) / len(sentences)
    print(
        f"{name}: {len(sentences)} sentences, {len(distinct)} distinct ({repeated:.0%} repeated), {words} words; "
        f"{seconds:.1f} s = {len(distinct) / seconds:.0f} distinct sentences/s, "
        f"{len(sentences) / seconds:.0f} sentences/s of the shard"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--coco", type=Path)
    given = parser.parse_args()
    start = time.perf_counter()
    stage = Parse()
    stage.setup("cpu")
    stage.process(Batch(("0",), {"sentence.text": ["A dog."]}, stage))
    print(f"loading: {time.perf_counter() - start:.1f} s")
    measure("sample site", site_sentences(given.documents), stage)
    if given.coco:
        measure("COCO captions", coco_sentences(given.coco), stage)
    stage.close()


if __name__ == "__main__":
    main()
