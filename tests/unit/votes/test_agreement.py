"""Agreement of a version's votes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diptych.commands import votes as commands
from diptych.metrics.agreement import krippendorff_alpha
from diptych.stage import Batch
from diptych.stages.votes import PairVotes, Votes, VotesConfig
from diptych.votes.agreement import agreement, agreement_of
from diptych.votes.answers import Vote, write_votes

RECORD = "a" * 32
PAIRS = [f"{RECORD}/{c * 64}" for c in "bcd"]


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
