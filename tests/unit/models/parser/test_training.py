"""Training on a small treebank, stopped and taken up again, without Java."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.exceptions import UsageError
from diptych.models.parser.packed import read_header
from diptych.models.parser.reading import Parser
from diptych.models.parser.training import Paused, Settings, train_parser
from diptych.models.parser.tree import read_treebank
from diptych.sample.treebank import write_grammar_treebank

pytest.importorskip("stanza")
pytestmark = pytest.mark.slow


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    write_grammar_treebank(tmp_path / "tb", 200)
    words = sorted({w.lower() for tree in read_treebank(tmp_path / "tb") for w in tree.leaves()})
    vectors = np.random.default_rng(0).normal(size=(len(words), 8)).round(3)
    (tmp_path / "vectors.txt").write_text(
        "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, vectors.tolist(), strict=True))
    )
    settings = Settings(
        epochs=2, epoch_size=100, hidden=24, delta=4, tagger_hidden=16, tagger_steps=8, vocabulary=5000,
        vectors=str(tmp_path / "vectors.txt"),
    )  # fmt: skip
    said: list[str] = []
    with pytest.raises(Paused, match="epoch 1"):
        train_parser(tmp_path / "tb", tmp_path / "out", settings, minutes=1e-6, say=said.append)
    assert (tmp_path / "out" / "pos.pt").is_file() and not any("epoch" in line for line in said)
    found = train_parser(tmp_path / "tb", tmp_path / "out", settings, say=said.append)
    assert sum(line.startswith("epoch") for line in said) == 2 and sum("tagger" in line for line in said) == 1
    assert 0 < found.score.f1 < 1 and found.score.errors == 0 and found.score.sentences == 8
    header = read_header(found.file)
    assert header["language"] == "en" and str(tmp_path) not in header["parts"]
    again = train_parser(tmp_path / "tb", tmp_path / "out", settings, say=said.append)
    assert again.score == found.score and sum(line.startswith("epoch") for line in said) == 2
    with Parser(found.file) as parser:
        trees = parser.parse([["A", "dog", "."], [], ["(", "x", ")"]])
    assert trees[1] is None and [t.leaves() for t in trees if t] == [["A", "dog", "."], ["-LRB-", "x", "-RRB-"]]
    with pytest.raises(UsageError, match="another treebank or other settings"):
        train_parser(tmp_path / "tb", tmp_path / "out", Settings(hidden=25), say=said.append)
