"""Scorers of relevance: ``diptych relevance pairs | train | evaluate``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diptych import weights
from diptych.commands.console import JsonFlag, emit
from diptych.models.esim.pairs import BadLine, TextPair, read_pairs, write_pairs

__all__ = ["app"]

app = typer.Typer(help="ESIM, which says whether two texts say the same.", no_args_is_help=True)
Pairs = Annotated[Path, typer.Argument(help="pairs: `first TAB second TAB 0 or 1` a line (LCQMC's format)")]


@app.command("pairs")
def generate(
    to: Annotated[Path, typer.Option("--to", help="the file")],
    scenes: Annotated[int, typer.Option(min=2, help="pairs of sentences about scenes")] = 4000,
    articles: Annotated[int, typer.Option(min=0, help="sample articles whose summaries and captions are paired")] = 400,
    seed: Annotated[int, typer.Option(help="another seed tells of other scenes and articles")] = 1,
) -> None:
    """Write Chinese pairs made from the sample site's words."""
    from diptych.models.esim.generated import generate_pairs

    typer.echo(f"wrote {write_pairs(generate_pairs(seed, scenes, articles), to)} pairs to {to}")


@app.command("train")
def train_esim(
    pairs: Pairs,
    dev: Annotated[Path, typer.Option("--dev", help="pairs that choose the epoch")],
    to: Annotated[Path, typer.Option("--to", help="the checkpoint; its figures go beside it (.json)")],
    language: Annotated[list[str], typer.Option(help="language of the pairs; several times for several")],
    embedding: Annotated[str, typer.Option(help="characters, or a text encoder: bert_base_chinese, minilm")] = (
        "characters"
    ),
    size: Annotated[int, typer.Option(help="length of a character's vector")] = 300,
    hidden: Annotated[int, typer.Option(help="units of each LSTM direction")] = 300,
    dropout: Annotated[float, typer.Option(min=0, max=0.9)] = 0.5,
    learning_rate: Annotated[float, typer.Option()] = 4e-4,
    batch: Annotated[int, typer.Option(min=1)] = 32,
    epochs: Annotated[int, typer.Option(min=1)] = 30,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option()] = "cpu",
    as_json: JsonFlag = False,
) -> None:
    """Train on pairs and write a checkpoint for `relevance_scores: {scorer: esim, checkpoint: FILE}`.

    Control-C stops it at a checkpoint beside that file (.run); the same command goes on from there.
    """
    from diptych.models.esim.checkpoint import save
    from diptych.models.esim.model import EsimConfig
    from diptych.models.esim.task import EsimTraining
    from diptych.models.esim.train import train

    train_pairs, dev_pairs = _read(pairs), _read(dev)
    config = EsimConfig(embedding, size, hidden, dropout)
    settings = EsimTraining(learning_rate=learning_rate, batch=batch, epochs=epochs)
    done = train(
        train_pairs, dev_pairs, config, settings, seed=seed, device=device, folder=to.with_suffix(".run"),
        say=lambda text: typer.echo(text, err=True),
    )  # fmt: skip
    to.parent.mkdir(parents=True, exist_ok=True)
    save(done.scorer.model, config, done.alphabet, language, to)
    report = {
        "checkpoint": to.name,
        "sha256": weights.sha256_of(to),
        "config": asdict(config),
        "settings": {**settings.model_dump(), "seed": seed},
        "pairs": {"file": pairs.name, "sha256": weights.sha256_of(pairs), "pairs": len(train_pairs)},
        "dev": [asdict(m) for m in done.epochs],
        "best_epoch": done.best + 1,
        "seconds": round(done.seconds, 1),
    }
    to.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    best = done.epochs[done.best]
    text = (
        f"wrote {to}: dev accuracy {best.accuracy:.3f}, AUC {best.auc:.3f}, epoch {done.best + 1}, {done.seconds:.0f} s"
    )
    emit(report, as_json, lambda: typer.echo(text))


@app.command("evaluate")
def evaluate(
    pairs: Pairs,
    checkpoint: Annotated[Path, typer.Option("--checkpoint", help="as train wrote it")],
    dev: Annotated[Path | None, typer.Option("--dev", help="pairs on which the cosine's threshold is chosen")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Accuracy and area under the ROC curve, beside the cosine of character n-grams."""
    from diptych.models.esim.checkpoint import load_scorer
    from diptych.models.esim.measuring import best_threshold, cosines, labels_of, measure

    told = _read(pairs)
    other = _read(dev) if dev else told
    scorer, _ = load_scorer(checkpoint)
    esim = measure(scorer.probabilities([p.first for p in told], [p.second for p in told]), labels_of(told))
    cosine = measure(cosines(told), labels_of(told), best_threshold(cosines(other), labels_of(other)))
    lines = [
        f"{name}: accuracy {m.accuracy:.3f}, AUC {m.auc:.3f} on {m.pairs} pairs"
        for name, m in (("esim", esim), ("n-gram cosine", cosine))
    ]
    emit({"esim": asdict(esim), "ngrams": asdict(cosine)}, as_json, lambda: typer.echo("\n".join(lines)))


def _read(file: Path) -> list[TextPair]:
    found, bad = read_pairs(file)
    for line in bad:
        _complain(file, line)
    return found


def _complain(file: Path, line: BadLine) -> None:
    typer.echo(f"{file}, line {line.line}: {line.reason}; left out", err=True)
