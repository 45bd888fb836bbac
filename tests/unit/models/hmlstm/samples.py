"""Samples as the reader gives them: captions of drawn things with their parses, features that know the things."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from diptych.models.hmlstm.config import HMLSTMConfig
from diptych.models.hmlstm.task import HMLSTMTask
from diptych.models.parser.flat import flatten
from diptych.models.parser.tree import read_brackets
from diptych.naming import sentence_key
from diptych.training.config import make_config
from diptych.training.task import State

THINGS = ("bus", "dog", "ball", "tree", "house", "bird", "chair", "boat")
COLOURS = ("red", "green", "blue", "white", "black", "grey", "brown", "pink")
WORDS = ("a", "on", "is", "sees", *THINGS, *COLOURS)
FEATURE, WORD = 20, 12


def pair(number: int) -> tuple[int, int]:
    """The two things of picture ``number``; no two pictures below 8 share a noun phrase."""
    return number % 8, (3 * number + 1) % 8


def phrase(thing: int, colour: int) -> str:
    return f"(NP (DT a) (JJ {COLOURS[colour]}) (NN {THINGS[thing]}))"


def brackets(number: int) -> list[str]:
    """Two captions of one picture."""
    first, second = pair(number)
    a, b = phrase(first, number % 8), phrase(second, (number + 4) % 8)
    return [
        f"(ROOT (S {a} (VP (VBZ is) (PP (IN on) {b})) (. .)))",
        f"(ROOT (S {b} (VP (VBZ sees) {a}) (. .)))",
    ]


def sample(number: int, *, regions: int = 3, lines: list[str] | None = None, choice: int | None = 0) -> dict[str, Any]:
    """A pair; ``lines`` are captions in Penn brackets. Row 0 of the features is the picture, then its proposals."""
    draw = np.random.default_rng(number)
    trees = [read_brackets(line) for line in (brackets(number) if lines is None else lines)]
    texts = [" ".join(tree.leaves()) for tree in trees]
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1].tolist()
    items = [
        {"field": "caption", "paragraph": 0, "text": text, "start": start, "end": start + len(text),
         "tokens": text.split()}
        for text, start in zip(texts, starts, strict=True)
    ]  # fmt: skip
    flats = [flatten(tree, tree.leaves()) for tree in trees]
    features = draw.normal(size=(1 + regions, FEATURE)) / 4
    for row, (thing, colour) in enumerate(zip(pair(number), (number % 8, (number + 4) % 8), strict=True), start=1):
        if row < len(features):
            features[row, [thing, 8 + colour]] += 2.0
            features[0, [thing, 8 + colour]] += 1.0
    boxes = [[0, 0, 90, 60], *([10.0 * n, 0, 10.0 * n + 10, 20] for n in range(regions))]
    names = [[" ".join(tree.leaves())] for tree in map(read_brackets, (phrase(t, c) for t, c in zip(
        pair(number), (number % 8, (number + 4) % 8), strict=True)))]  # fmt: skip
    found = {
        "key": f"{number:032x}/{number:064x}",
        "pairs.caption": "\n".join(texts),
        "pairs.extra": json.dumps({"boxes": boxes[1:3], "phrases": names[: max(0, len(boxes) - 1)][:2]}),
        "sentences.items": items,
        "parse.key": [sentence_key(text) for text in texts],
        "parse.words": [tree.leaves() for tree in trees],
        **{f"parse.{n}": [list(getattr(f, n)) for f in flats] for n in ("parent", "start", "end", "noun_phrase")},
        "fc7.features": features.astype(np.float16),
        "fc7.kinds": ["picture"] + ["proposal"] * regions,
        "fc7.boxes": boxes,
    }
    return found if choice is None else {**found, "choice": choice}


def make_task(**settings: Any) -> HMLSTMTask:
    config = make_config(HMLSTMConfig, HMLSTMTask.presets["debug"], {"word": WORD, **settings})
    assert isinstance(config, HMLSTMConfig)
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), WORD)).astype(np.float32)
    values: Mapping[str, Any] = {"words": list(WORDS), "region": FEATURE, "image": FEATURE}
    return HMLSTMTask(config, State({"vectors": vectors}, values))
