"""Agreement of a version's votes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from diptych.commands import votes as commands
from diptych.metrics.agreement import krippendorff_alpha
from diptych.naming import record_id
from diptych.stage import Batch
from diptych.stages.votes import PairVotes, Votes, VotesConfig
from diptych.votes.agreement import agreement, agreement_of
from diptych.votes.answers import Vote, write_votes
from diptych.votes.labels import LabelFile

RECORD = "a" * 32
PAIRS = [f"{RECORD}/{c * 64}" for c in "bcd"]
POSTS = [f"{record_id('posts', post)}/{c * 64}" for post in "12" for c in "bcd"]


def results(tmp_path: Any, votes: list[Vote]) -> list[dict[str, Any]]:
    write_votes(votes, tmp_path / "votes.csv")
    found = []
    for cls, keys in ((PairVotes, PAIRS), (Votes, [RECORD])):
        stage = cls(VotesConfig(file=str(tmp_path / "votes.csv")))
        stage.setup("cpu")
        found += stage.process(Batch(tuple(keys), {}, stage)).values["results"]
    return [r for row in found for r in row]


def cast(kind: str, item: str, *answers: str) -> list[Vote]:
    return [Vote(kind, item, f"annotator{n}", answer) for n, answer in enumerate(answers)]


def test_each_question_has_its_figures(tmp_path: Any) -> None:
    votes = cast("relation", PAIRS[0], "explicit", "explicit", "explicit")
    votes += cast("relation", PAIRS[1], "implicit", "explicit", "irrelevant")
    votes += cast("relation", PAIRS[2], "irrelevant", "irrelevant", "implicit")
    votes += cast("cmi", PAIRS[0], "1", "0.75") + cast("cmi", PAIRS[1], "0", "0", "0.25")
    votes += cast("best_image", RECORD, "b" * 64, "c" * 64)
    best, cmi, relation = agreement_of(results(tmp_path, votes))
    assert (relation.kind, relation.items, relation.votes, relation.decided, relation.tied) == ("relation", 3, 9, 2, 1)
    assert relation.values == {"explicit": 1, "irrelevant": 1}
    # By hand: P = (1 + 0 + 1/3) / 3 = 4/9; shares 4/9, 2/9, 3/9; Pe = 29/81; kappa = (36 - 29) / (81 - 29).
    assert relation.fleiss_kappa == pytest.approx(7 / 52)
    assert relation.mean_entropy == pytest.approx((0 + 1.584963 + 0.918296) / 3, abs=1e-5)
    assert cmi.fleiss_kappa is None and (cmi.items, cmi.decided, cmi.tied) == (2, 1, 1)
    counts = np.array([[0, 0, 0, 1, 1], [2, 1, 0, 0, 0]])
    assert cmi.krippendorff_alpha == pytest.approx(krippendorff_alpha(counts, "interval", [0, 0.25, 0.5, 0.75, 1]))
    assert (best.kind, best.tied, best.krippendorff_alpha, best.mean_entropy) == ("best_image", 1, None, 1.0)


def labelled(tmp_path: Path, votes: list[Vote]) -> Any:
    """What agreement reads of a version with two labelled posts of three pairs each, and votes about pairs."""
    file = tmp_path / "labels.csv"
    file.write_text("id,a,b,c\n1,explicit,explicit,implicit\n2,implicit,implicit,irrelevant\n", encoding="utf-8")
    labels = LabelFile(file=str(file), source="posts", columns={"relation": ("a", "b", "c")})
    write_votes(votes, tmp_path / "votes.csv")
    stage = PairVotes(VotesConfig(file=str(tmp_path / "votes.csv"), labels=(labels,)))
    stage.setup("cpu")
    found = stage.process(Batch(tuple(POSTS), {}, stage)).values["results"]
    entry = SimpleNamespace(config=stage.config.model_dump(mode="json"))
    return SimpleNamespace(
        stages=("pair_votes",),
        manifest=SimpleNamespace(stage=lambda name: entry),
        table=lambda *_, **__: pa.table({"key": POSTS, "results": found}),
    )


def test_a_label_of_a_record_counts_once_whatever_pairs_it_has(tmp_path: Path) -> None:
    (relation,) = agreement(labelled(tmp_path, []))
    assert (relation.items, relation.votes, relation.decided) == (2, 6, 2)
    assert relation.values == {"explicit": 1, "implicit": 1}
    # By hand: P = 1/3; shares 2/6, 3/6, 1/6; Pe = 14/36; kappa = (12 - 14) / (36 - 14).
    assert relation.fleiss_kappa == pytest.approx(-1 / 11)
    votes = cast("relation", POSTS[5], "explicit") + cast("cmi", POSTS[5], "1") + cast("cmi", POSTS[4], "1")
    cmi, relation = agreement(labelled(tmp_path, votes))
    assert (cmi.items, cmi.votes) == (2, 2), "votes about pairs are about each of them"
    assert (relation.items, relation.votes) == (3, 7)


def test_what_is_undefined_is_none(tmp_path: Any) -> None:
    (one,) = agreement_of(results(tmp_path, cast("sc", PAIRS[0], "1", "1")))
    assert one.fleiss_kappa is None and one.krippendorff_alpha is None and one.values == {"1": 1}
    assert agreement_of([]) == ()


def test_a_version_without_votes_has_none(version: Any) -> None:
    assert agreement(version) == ()


def test_the_command_prints_a_dash_for_what_is_undefined(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = agreement_of(results(tmp_path, cast("sc", PAIRS[0], "1", "1")))
    monkeypatch.setattr(commands, "open_version", lambda at, root: (None, None))
    monkeypatch.setattr(commands, "agreement", lambda version: found)
    commands.agreement_of_version("x@1")
    printed = capsys.readouterr().out
    assert "fleiss_kappa" in printed and "None" not in printed
    assert printed.count("│ - ") == 2
