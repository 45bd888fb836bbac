"""Scores for predictions of any system: ``diptych score keyphrases | summaries | retrieval | classes``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from diptych.commands.console import JsonFlag, emit, table
from diptych.exceptions import UsageError
from diptych.metrics.bleu import bleu
from diptych.metrics.classes import class_scores
from diptych.metrics.files import (
    CaptionLine,
    ClassLine,
    KeyphrasesLine,
    SummaryLine,
    read_lines,
    read_pairs,
    read_similarity,
)
from diptych.metrics.keyphrases import Kind, Post, keyphrase_scores
from diptych.metrics.retrieval import caption_retrieval, chance
from diptych.metrics.rouge import rouge
from diptych.metrics.text import unit_of

__all__ = ["app"]

app = typer.Typer(help="Score predictions of any system; shares stand in [0, 1].", no_args_is_help=True)
Lines = Annotated[Path, typer.Option("--predictions", help="JSONL, one object a line with id and predicted")]
Gold = Annotated[
    Path | None, typer.Option("--gold", help="JSONL with id and gold; without it, gold stands in the predictions")
]


@app.command("keyphrases")
def keyphrases(predictions: Lines, gold: Gold = None, as_json: JsonFlag = False) -> None:
    """F1@1, F1@3, F1@5 and MAP@5 of ranked lists; present and absent ones too when every line has a source."""
    pairs = read_pairs(KeyphrasesLine, predictions, gold)
    posts = [Post(p.predicted or [], g.gold or [], g.source if g.source is not None else p.source) for p, g in pairs]
    kinds: tuple[Kind, ...] = ("all",)
    if all(post.source is not None for post in posts):
        kinds = ("all", "present", "absent")
    found = {kind: asdict(keyphrase_scores(posts, kind)) for kind in kinds}
    _print(found, as_json, "keyphrases")


@app.command("summaries")
def summaries(
    predictions: Lines,
    gold: Gold = None,
    unit: Annotated[
        Literal["auto", "words", "characters"], typer.Option(help="auto: characters when most letters are Han")
    ] = "auto",
    as_json: JsonFlag = False,
) -> None:
    """ROUGE-1, ROUGE-2, ROUGE-L (F1, as rouge-score without stemming) and BLEU-1 to BLEU-4 (as sacrebleu)."""
    pairs = read_pairs(SummaryLine, predictions, gold)
    ours, theirs = [p.predicted or "" for p, _ in pairs], [g.gold or "" for _, g in pairs]
    chosen = unit_of(theirs) if unit == "auto" else unit
    found = rouge(ours, theirs, chosen) | bleu(ours, theirs, chosen)
    _print({chosen: {**found, "documents": len(pairs)}}, as_json, "counted in")


@app.command("retrieval")
def retrieval(
    predictions: Annotated[
        Path, typer.Option("--predictions", help=".npy similarity, images x captions, k captions per image in order")
    ],
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="JSONL with id and caption, one a column: equal captions then count as correct"),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """R@1, R@5, R@10 and median rank both ways; ties between different captions count against the system."""
    scores = read_similarity(predictions)
    images, captions = scores.shape
    owner = [column // (captions // images) for column in range(captions)]
    found: dict[str, Mapping[str, float]] = {}
    found["i2t, chance"] = asdict(chance(captions, captions // images, images))
    found["t2i, chance"] = asdict(chance(images, 1, captions))
    texts: dict[str, list[str] | None] = {"distinct": None}
    if gold is not None:
        lines = [line.caption for line in read_lines(CaptionLine, gold)]
        if len(lines) != captions:
            raise UsageError(f"{gold}: expected a line for each of the {captions} captions, found {len(lines)}")
        texts = {"correct": lines, "distinct": None}
    for name, strings in texts.items():
        i2t, t2i = caption_retrieval(scores, owner, strings)
        found[f"i2t, duplicates {name}"], found[f"t2i, duplicates {name}"] = asdict(i2t), asdict(t2i)
    _print(found, as_json, "direction")


@app.command("classes")
def classes(predictions: Lines, gold: Gold = None, as_json: JsonFlag = False) -> None:
    """Accuracy, weighted, macro and per-class F1, as scikit-learn computes them."""
    pairs = read_pairs(ClassLine, predictions, gold)
    found = class_scores([str(p.predicted) for p, _ in pairs], [str(g.gold) for _, g in pairs])

    def render() -> None:
        all_rows = {name: getattr(found, name) for name in ("accuracy", "weighted_f1", "macro_f1")}
        _table({"all": {**all_rows, "rows": len(pairs)}}, "classes")
        _table({name: {"f1": found.f1[name], "rows": found.support[name]} for name in found.f1}, "class")

    emit(found, as_json, render)


def _print(found: Mapping[str, Mapping[str, float]], as_json: bool, first: str) -> None:
    """JSON has no nan: a score over nothing is null there."""
    plain = {name: {c: None if v != v else v for c, v in row.items()} for name, row in found.items()}
    emit(plain, as_json, lambda: _table(found, first))


def _table(found: Mapping[str, Mapping[str, float]], first: str) -> None:
    """Five decimals, as the published scorers print them."""
    columns = list(next(iter(found.values())))
    rows = [[n, *(f"{v[c]:.5f}" if isinstance(v[c], float) else v[c] for c in columns)] for n, v in found.items()]
    table("", [first, *columns], rows)
