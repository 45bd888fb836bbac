"""Documents as long as the papers', written and built as two versions: Chinese news and English posts.

News: 20 sentences of 49 characters and a summary of 37 (HCSCL, Table 2), three pictures. Posts: 27 words and 1.3
keyphrases (MM-MKP, Table 4), one picture with five captions of about 11 words (the caption sets of HM-LSTM).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.version import Version, open_version

__all__ = ["RECIPES", "make_version", "write_documents"]

RECIPES = {
    "news": """
name: news
sources: [{kind: folder, name: news, path: news}]
shards: 2
stages:
  clean: {min_side: 8}
  sentences: {}
  inception: {use: "paper_sizes.stages:PaperInception"}
  pixels: {side: 300}
  regions: {use: "paper_sizes.stages:PaperRegions"}
  scene_graph: {}
  bert: {use: "paper_sizes.stages:PaperBert"}
  relevance_scores: {}
  relevance: {}
  votes: {}
  best_image: {use: "paper_sizes.stages:Best"}
  pair_votes: {use: "paper_sizes.stages:Labels"}
fits:
  near_duplicates: {}
  word2vec: {size: 300, min_count: 1, epochs: 1}
""",
    "posts": """
name: posts
sources: [{kind: folder, name: posts, path: posts}]
shards: 2
stages:
  clean: {min_side: 8}
  sentences: {}
  grid: {use: "paper_sizes.stages:PaperGrid"}
  ocr: {use: "paper_sizes.stages:PaperOcr"}
  entities: {use: "paper_sizes.stages:Entities"}
  regions: {use: "paper_sizes.stages:PaperRegions"}
  bert: {use: "paper_sizes.stages:PaperBert"}
  pair_votes: {use: "paper_sizes.stages:Labels"}
  parse: {}
  fc7: {use: "paper_sizes.stages:PaperFc7"}
fits:
  near_duplicates: {}
  word2vec: {size: 300, min_count: 1, epochs: 1}
  vectors: {file: VECTORS}
""",
}
_THINGS = "dog cat man woman child horse car boat tree house bird ball table bench kite train bear bus lamp".split()
_KINDS = "red blue small large old young white black wooden green yellow tall brown grey dark bright".split()
_PLACES = "on under beside behind near".split()


def write_documents(folder: Path, name: str, count: int) -> None:
    """``count`` documents of one kind; nine tenths are for training."""
    chance = np.random.default_rng(7)
    for sub in ("documents", "images"):
        (folder / name / sub).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        made = _news(chance) if name == "news" else _post(chance)
        images = []
        for place, caption in enumerate(made.pop("captions")):
            file = f"images/{number}-{place}.jpg"
            noise = chance.integers(0, 255, (45, 60, 3), np.uint8)
            Image.fromarray(noise).resize((480, 360)).save(folder / name / file)
            images.append({"file": file, "captions": caption})
        split = "dev" if number % 20 == 18 else "test" if number % 20 == 19 else "train"
        document = {**made, "images": images, "split": split}
        (folder / name / "documents" / f"{number:05d}.json").write_text(json.dumps(document), encoding="utf-8")
    lines = [f"{w} {' '.join(f'{v:.3f}' for v in chance.normal(size=200))}" for w in (*_THINGS, *_KINDS, "word1")]
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n")


def _news(chance: np.random.Generator) -> dict[str, object]:
    def sentence(characters: int) -> str:
        return "".join(chr(0x4E00 + n) for n in chance.integers(0, 3000, characters)) + "。"

    text = "".join(sentence(48) for _ in range(20))
    return {"text": text, "summary": sentence(36), "language": "zh", "captions": [[sentence(20)] for _ in range(3)]}


def _post(chance: np.random.Generator) -> dict[str, object]:
    def phrase() -> str:
        return f"{chance.choice(_KINDS)} {chance.choice(_THINGS)}"

    words = [f"word{n}" for n in chance.integers(0, 500, 27)]
    captions = [f"A {phrase()} is {chance.choice(_PLACES)} the {phrase()} {chance.choice(_PLACES)} a {phrase()}."
                for _ in range(5)]  # fmt: skip
    keyphrases = [phrase() for _ in range(1 + int(chance.random() < 0.3))]
    return {"text": " ".join(words), "language": "en", "keyphrases": keyphrases,
            "image_adds": int(chance.integers(2)), "captions": [captions]}  # fmt: skip


def make_version(folder: Path, name: str, count: int) -> Version:
    """The version, built unless it is there."""
    if not (folder / "data" / name / "log").exists():
        write_documents(folder, name, count)
        recipe = RECIPES[name].replace("VECTORS", str(folder / "vectors.txt"))
        crawl_recipe(recipe, str(folder / "data"), folder)
        build(recipe, str(folder / "data"), folder=folder)
    return open_version(folder / "data" / name)
