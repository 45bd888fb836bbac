"""Constituency parsers: ``diptych parser grammar | train | import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.commands.console import JsonFlag, emit
from diptych.models.parser.importing import import_parser
from diptych.models.parser.training import Paused, Settings, train_parser

__all__ = ["app"]

app = typer.Typer(
    help="Constituency parsers: train one from a treebank, or bring one of Stanza's.", no_args_is_help=True
)
_DEFAULT = Settings()


@app.command("grammar")
def grammar(
    out: Annotated[Path, typer.Argument(help="folder for train.mrg, dev.mrg and test.mrg")],
    count: Annotated[int, typer.Option(min=100, help="training sentences")] = 24_000,
    seed: int = 0,
) -> None:
    """Write the treebank of Diptych's own grammar of captions and short news (English)."""
    from diptych.sample.treebank import write_grammar_treebank

    for part, sentences in write_grammar_treebank(out, count, seed).items():
        typer.echo(f"{out / part}.mrg: {sentences} sentences")


@app.command("train")
def train(
    treebank: Annotated[Path, typer.Option(help="Penn brackets: a file, a folder, or one with train*, dev* and test*")],
    out: Annotated[Path, typer.Option(help="folder of this training; the same command goes on from where it stopped")],
    vectors: Annotated[
        str, typer.Option(help="a GloVe text file, or glove_50d (diptych weights pull glove_50d glove_50d_words)")
    ] = _DEFAULT.vectors,
    language: Annotated[str, typer.Option(help="ISO 639 code")] = _DEFAULT.language,
    epochs: Annotated[int, typer.Option(min=1, help="of the parser; raise it to train on")] = _DEFAULT.epochs,
    epoch_size: Annotated[int, typer.Option(min=1, help="sentences an epoch")] = _DEFAULT.epoch_size,
    hidden: Annotated[int, typer.Option(min=8)] = _DEFAULT.hidden,
    tagger_steps: Annotated[int, typer.Option(min=1, help="batches of 50 sentences")] = _DEFAULT.tagger_steps,
    vocabulary: Annotated[int, typer.Option(min=100, help="words that keep their vector")] = _DEFAULT.vocabulary,
    minutes: Annotated[float | None, typer.Option(help="begin no epoch after so many minutes")] = None,
    seed: int = _DEFAULT.seed,
    as_json: JsonFlag = False,
) -> None:
    """Train a tagger and a Stanza constituency parser, without Java; score both on held-out trees."""
    settings = Settings(
        language=language, epochs=epochs, epoch_size=epoch_size, hidden=hidden, tagger_steps=tagger_steps,
        vectors=vectors, vocabulary=vocabulary, seed=seed,
    )  # fmt: skip
    try:
        found = train_parser(treebank, out, settings, minutes=minutes, say=lambda text: typer.echo(text, err=True))
    except Paused as pause:
        typer.echo(str(pause), err=True)
        return
    emit(
        {"file": found.file, "f1": found.score.f1, "noun_phrase_f1": found.noun_phrases.f1, "tags": found.tags_right},
        as_json,
        lambda: typer.echo(
            f"{found.file}: bracket F1 {found.score.f1:.4f} ({found.score.sentences} held-out sentences, exact "
            f"{found.score.exact}), noun phrases {found.noun_phrases.f1:.4f}, tags {found.tags_right:.4f}"
        ),
    )


@app.command("import")
def import_model(
    place: Annotated[Path, typer.Argument(help="Stanza's folder of a language, or parser.safetensors of a training")],
    name: Annotated[str, typer.Option(help="the name that recipes use")],
    language: Annotated[str | None, typer.Option(help="ISO 639 code; else the folder's name")] = None,
) -> None:
    """Register a parser in the weights cache under its SHA-256; Stanza's files are converted to one safe file."""
    entry = import_parser(place, name, language)
    typer.echo(
        f"imported {entry.name} ({entry.sha256[:12]}); in a recipe: parse: {{models: {{LANGUAGE: {entry.name}}}}}"
    )
