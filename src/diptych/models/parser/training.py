"""Training a Stanza constituency parser and its tagger from a bracketed treebank, without Java.

Stanza scores each epoch with CoreNLP's EVALB, a Java program; :func:`_python_scores` puts our own bracket scorer in
its place. A folder holds everything that is needed to go on after a stop: the split, the vectors, the tagger once it is
finished, and the parser's checkpoint after every epoch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diptych.exceptions import MissingExtra, UsageError
from diptych.models.parser.packed import load_checkpoint, pack
from diptych.models.parser.scoring import BracketScore, bracket_score
from diptych.models.parser.tree import Tree, read_brackets, read_treebank, write_treebank
from diptych.models.parser.vectors import glove, pretrain, read_vector_file

__all__ = ["Paused", "Settings", "TrainedParser", "train_parser"]

Say = Callable[[str], None]


class Paused(Exception):
    """The time that was given is over; the same call goes on from the last epoch."""


@dataclass(frozen=True)
class Settings:
    """What a training run is made of; a folder that was begun with others is refused."""

    language: str = "en"
    epochs: int = 20
    epoch_size: int = 5000
    hidden: int = 128
    delta: int = 16
    """length of the vectors of the treebank's own words, beside the given ones"""
    tagger_hidden: int = 96
    tagger_steps: int = 1500
    vectors: str = "glove_50d"
    """the registered GloVe, or a file of vectors"""
    vocabulary: int = 40_000
    seed: int = 1234


@dataclass(frozen=True)
class TrainedParser:
    """The packed file, its score on held-out trees with the tagger's own tags, and of noun phrases alone."""

    file: Path
    score: BracketScore
    noun_phrases: BracketScore
    tags_right: float
    epochs: int


def train_parser(
    treebank: Path, out: Path, settings: Settings, *, minutes: float | None = None, say: Say = print
) -> TrainedParser:
    """Train, or go on; ``out`` is the folder, the result lies there as ``parser.safetensors``.

    :class:`Paused` when ``minutes`` ran out between two epochs.
    """
    try:
        import stanza  # noqa: F401 - the message must come before work is done
    except ImportError as error:
        raise MissingExtra("stanza", "parse") from error
    deadline = time.monotonic() + 60 * minutes if minutes else None
    out.mkdir(parents=True, exist_ok=True)
    _begin(treebank, out, settings)
    if not (out / "pretrain.pt").is_file():
        _write_vectors(out, settings)
        say(f"vectors: {settings.vectors}")
    if not (out / "pos.pt").is_file():
        _train_tagger(out, settings)
        say("tagger: trained")
    _train_constituency(out, settings, deadline, say)
    parts = {name: load_checkpoint(out / f"{name}.pt") for name in ("constituency", "pos", "pretrain")}
    # trained on the treebank's own tags, it is to read the tagger's Penn tags; and no path of this machine goes out
    parts["constituency"]["params"]["config"] |= {"retag_package": "own", "retag_method": "xpos"}
    for config in (parts["constituency"]["params"]["config"], parts["pos"]["config"]):
        config |= {key: Path(value).name for key, value in config.items() if isinstance(value, str) and "/" in value}
    target = out / "parser.safetensors"
    pack(parts, target, language=settings.language, half=True, note=f"trained on {treebank.name}")
    return _checked(target, out, settings)


def _begin(treebank: Path, out: Path, settings: Settings) -> None:
    """Write the split, or check that the folder was begun with the same treebank and settings."""
    trees = {part: _part(treebank, part) for part in ("train", "dev", "test")}
    if not all(trees.values()):
        trees = _split(read_treebank(treebank))
    text = "\n".join(tree.bracket() for part in trees.values() for tree in part)
    begun = asdict(settings) | {"epochs": 0, "treebank": hashlib.sha256(text.encode()).hexdigest()}
    note = out / "training.json"
    if note.is_file():
        if json.loads(note.read_text()) != begun:
            raise UsageError(
                f"{out} was begun with another treebank or other settings; take another --out or delete it"
            )
        return
    for part, chosen in trees.items():
        write_treebank(chosen, out / f"{part}.mrg")
        _write_conllu(chosen, out / f"{part}.conllu")
    note.write_text(json.dumps(begun, indent=1) + "\n")


def _part(treebank: Path, part: str) -> list[Tree]:
    files = sorted(p for p in treebank.glob(f"{part}*") if p.suffix in (".mrg", ".txt")) if treebank.is_dir() else []
    return [tree for file in files for tree in read_treebank(file)]


def _split(trees: list[Tree]) -> dict[str, list[Tree]]:
    """By the hash of the words: equal sentences fall together; a twentieth each for development and test."""
    found: dict[str, list[Tree]] = {"train": [], "dev": [], "test": []}
    for tree in trees:
        place = hashlib.sha256(" ".join(tree.leaves()).encode()).digest()[0] % 20
        found["test" if place == 0 else "dev" if place == 1 else "train"].append(tree)
    if not all(found.values()):
        raise UsageError(f"{len(trees)} trees cannot be split into training, development and test; give more")
    return found


def _write_conllu(trees: Sequence[Tree], path: Path) -> None:
    """Words and tags; heads only fill their column."""
    with path.open("w", encoding="utf-8") as lines:
        for tree in trees:
            for number, leaf in enumerate(tree.preterminals(), 1):
                head, relation = (0, "root") if number == 1 else (1, "dep")
                lines.write(f"{number}\t{leaf.word}\t_\t_\t{leaf.label}\t_\t{head}\t{relation}\t_\t_\n")
            lines.write("\n")


def _write_vectors(out: Path, settings: Settings) -> None:
    import torch

    known = {word for tree in read_treebank(out / "train.mrg") for word in tree.leaves()}
    if settings.vectors == "glove_50d":
        words, vectors = glove(known, settings.vocabulary)
    else:
        words, vectors = read_vector_file(Path(settings.vectors), settings.vocabulary)
    torch.save(pretrain(words, vectors), out / "pretrain.pt")


def _train_tagger(out: Path, settings: Settings) -> None:
    from stanza.models import tagger

    width = settings.tagger_hidden
    sizes = {
        "hidden_dim": width, "char_hidden_dim": width, "deep_biaff_hidden_dim": width,
        "word_emb_dim": 16, "char_emb_dim": 32, "transformed_dim": 64, "num_layers": 1,
        "dropout": 0.2, "word_dropout": 0.25,  # Stanza's 0.5 is for layers ten times as wide
    }  # fmt: skip
    tagger.main(
        [
            "--train_file", str(out / "train.conllu"), "--eval_file", str(out / "dev.conllu"),
            "--wordvec_pretrain_file", str(out / "pretrain.pt"), "--no_bert_model", "--lang", settings.language,
            "--shorthand", f"{settings.language}_own", "--save_dir", str(out), "--save_name", "pos.partial.pt",
            "--max_steps", str(settings.tagger_steps), "--eval_interval", str(max(1, settings.tagger_steps // 4)),
            "--fix_eval_interval", "--batch_size", "50", "--seed", str(settings.seed), "--cpu",
            *(text for name, size in sizes.items() for text in (f"--{name}", str(size))),
        ]
    )  # fmt: skip
    (out / "pos.partial.pt").replace(out / "pos.pt")


def _train_constituency(out: Path, settings: Settings, deadline: float | None, say: Say) -> None:
    from stanza.models import constituency_parser

    arguments = [
        "--train_file", str(out / "train.mrg"), "--eval_file", str(out / "dev.mrg"),
        "--wordvec_pretrain_file", str(out / "pretrain.pt"), "--no_bert_model", "--no_multistage", "--no_retag",
        "--lang", settings.language, "--shorthand", f"{settings.language}_own", "--save_dir", str(out),
        "--save_name", "constituency.pt", "--checkpoint_save_name", str(out / "checkpoint.pt"),
        "--epochs", str(settings.epochs), "--epoch_size", str(settings.epoch_size), "--train_batch_size", "50",
        "--hidden_size", str(settings.hidden), "--delta_embedding_dim", str(settings.delta), "--num_lstm_layers", "1",
        "--word_dropout", "0.3", "--rare_word_unknown_frequency", "0.3", "--rare_word_threshold", "0.5",
        "--no_condense_output_layers", "--seed", str(settings.seed), "--cpu",
    ]  # fmt: skip
    with _python_scores(deadline, say):
        constituency_parser.main(arguments)


@contextmanager
def _python_scores(deadline: float | None, say: Say) -> Iterator[None]:
    """Our bracket scorer where Stanza calls Java, and a stop before an epoch that would begin after ``deadline``."""
    from stanza.models.constituency import parser_training

    class Scorer:
        def __init__(self, kbest: int | None = None) -> None:
            pass

        def __enter__(self) -> Scorer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def process(self, results: Sequence[Any]) -> SimpleNamespace:
            pairs = [(read_brackets(str(r.gold)), read_brackets(str(r.predictions[0].tree))) for r in results]
            found = bracket_score(pairs)
            say(f"development F1 {found.f1:.4f}, exact {found.exact / max(found.sentences, 1):.3f}")
            return SimpleNamespace(f1=found.f1, treeF1=[], HasField=lambda name: False)

    java, epoch = parser_training.EvaluateParser, parser_training.train_model_one_epoch

    def bounded(number: int, *rest: Any) -> Any:
        if deadline is not None and time.monotonic() > deadline:
            raise Paused(f"stopped before epoch {number}; the same command goes on from there")
        started = time.monotonic()
        found = epoch(number, *rest)
        say(f"epoch {number}: {time.monotonic() - started:.0f} s")
        return found

    for name in ("stanza", "stanza.constituency.trainer"):
        logging.getLogger(name).setLevel(logging.WARNING)
    parser_training.EvaluateParser, parser_training.train_model_one_epoch = Scorer, bounded
    try:
        yield
    finally:
        parser_training.EvaluateParser, parser_training.train_model_one_epoch = java, epoch


def _checked(file: Path, out: Path, settings: Settings) -> TrainedParser:
    """Parse the held-out trees' words with the packed file and score what comes out."""
    from diptych.models.parser.reading import Parser

    gold = read_treebank(out / "test.mrg")
    with Parser(file) as parser:
        found = parser.parse([tree.leaves() for tree in gold])
    pairs = [(right, guess) for right, guess in zip(gold, found, strict=True) if guess is not None]
    tags = [a.label == b.label for g, f in pairs for a, b in zip(g.preterminals(), f.preterminals(), strict=True)]
    return TrainedParser(
        file,
        bracket_score(pairs),
        bracket_score(pairs, frozenset({"NP"})),
        sum(tags) / max(len(tags), 1),
        settings.epochs,
    )
