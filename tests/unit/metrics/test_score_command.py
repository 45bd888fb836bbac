"""``diptych score`` on files of any system."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from diptych.cli import app
from diptych.exceptions import UsageError


def score(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["score", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_keyphrases_from_one_file_and_from_two(tmp_path: Path) -> None:
    lines = [
        {"id": 1, "predicted": ["cats", "a dog"], "gold": ["cat"], "source": "two cats", "split": "test"},
        {"id": "b", "predicted": [], "gold": ["tree"], "source": "grass"},
    ]
    one = write(tmp_path / "one.jsonl", *lines)
    found = json.loads(score("keyphrases", "--predictions", one, "--json"))
    assert found["all"]["f1_at_1"] == 0.5 and found["present"]["posts"] == 1 and found["absent"]["f1_at_1"] == 0
    ours = write(tmp_path / "ours.jsonl", *({"id": p["id"], "predicted": p["predicted"]} for p in lines))
    gold = write(tmp_path / "gold.jsonl", "", *({"id": p["id"], "gold": p["gold"]} for p in reversed(lines)))
    second = json.loads(score("keyphrases", "--predictions", ours, "--gold", gold, "--json"))
    assert second == {"all": found["all"]}  # without sources nothing is said about presence
    assert "0.50000" in score("keyphrases", "--predictions", one)


def test_summaries_choose_their_unit(tmp_path: Path) -> None:
    chinese = write(tmp_path / "zh.jsonl", {"id": 1, "predicted": "红色汽车", "gold": "红色的汽车"})
    found = json.loads(score("summaries", "--predictions", chinese, "--json"))
    assert list(found) == ["characters"] and found["characters"]["rouge_1"] == pytest.approx(2 * 4 / 9)
    english = write(tmp_path / "en.jsonl", {"id": 1, "predicted": "a red car", "gold": "a red car"})
    assert "words" in score("summaries", "--predictions", english)
    forced = json.loads(score("summaries", "--predictions", english, "--unit", "characters", "--json"))
    assert forced["characters"]["bleu_4"] == 1.0


def test_classes(tmp_path: Path) -> None:
    file = write(tmp_path / "c.jsonl", {"id": 1, "predicted": 1, "gold": 1}, {"id": 2, "predicted": "0", "gold": 1})
    found = json.loads(score("classes", "--predictions", file, "--json"))
    assert found["accuracy"] == 0.5 and found["f1"] == {"0": 0.0, "1": pytest.approx(2 / 3)}
    assert "0.50000" in score("classes", "--predictions", file)


def test_retrieval_with_and_without_captions(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.1, 0.9, 0.0], [0.9, 0.2, 0.9, 0.3]], np.float32)
    np.save(tmp_path / "s.npy", scores)
    found = json.loads(score("retrieval", "--predictions", tmp_path / "s.npy", "--json"))
    assert list(found) == [f"{way}, {row}" for row in ("chance", "duplicates distinct") for way in ("i2t", "t2i")]
    assert found["t2i, chance"]["recall_at_1"] == 0.5
    assert found["i2t, duplicates distinct"]["recall_at_1"] == 0
    gold = write(tmp_path / "g.jsonl", *({"id": n, "caption": c} for n, c in enumerate(["Dog", "cat", "dog", "man"])))
    found = json.loads(score("retrieval", "--predictions", tmp_path / "s.npy", "--gold", gold, "--json"))
    assert found["i2t, duplicates correct"]["recall_at_1"] == 1
    few = write(tmp_path / "h.jsonl", '{"id": 1, "caption": "a"}')
    with pytest.raises(UsageError, match=r"each of the 4 captions, found 1"):
        score("retrieval", "--predictions", tmp_path / "s.npy", "--gold", few)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"id": 1, "predicted": ["a"], "gold": ["b"]}', "{"], r"p.jsonl:2: expected one JSON object, found: EOF"),
        (["[1]"], r"p.jsonl:1: expected a JSON object, found \[1\]"),
        (['{"predicted": ["a"]}'], r"p.jsonl:1: expected the key 'id', found none"),
        (['{"id": 1, "predicted": "a"}'], r"p.jsonl:1: predicted: expected a list of texts, found 'a'"),
        (['{"id": 1, "predicted": ["a", 3]}'], r"p.jsonl:1: predicted.1: expected a text, found 3"),
        (['{"id": null}'], r"p.jsonl:1: id: expected a text.*found None"),
        (['{"id": 1, "predicted": [], "gold": []}'] * 2, r"p.jsonl:2: expected every id once, found 1 also on line 1"),
        (['{"id": 1, "gold": ["a"]}'], r"expected the key 'predicted'"),
        (['{"id": 1, "predicted": ["a"]}'], r"--gold\): id 1: expected the key 'gold'"),
        ([], r"p.jsonl: expected one JSON object a line, found no line"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        score("keyphrases", "--predictions", write(tmp_path / "p.jsonl", *lines))
    assert error.value.exit_code == 2


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b'{"id": 1, "predicted": "\xff", "gold": "a"}\n')
    with pytest.raises(UsageError, match=r"p.jsonl:1: expected one JSON object, found"):
        score("summaries", "--predictions", tmp_path / "p.jsonl")


def test_ids_must_pair(tmp_path: Path) -> None:
    one, both = '{"id": 1, "predicted": 1, "gold": 1}', '{"id": 2, "predicted": 1, "gold": 1}'
    few, many = write(tmp_path / "few.jsonl", one), write(tmp_path / "many.jsonl", one, both)
    with pytest.raises(UsageError, match=r"each of the 2 ids of .*many.jsonl, found none for 1, the first of them 2"):
        score("classes", "--predictions", few, "--gold", many)
    with pytest.raises(UsageError, match=r"many.jsonl: id 2: expected it in .*few.jsonl too"):
        score("classes", "--predictions", many, "--gold", few)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3)), "same number of captions"),
        (np.zeros(3), r"a matrix of numbers .* found float64 \(3,\)"),
        (np.array([[1.0, np.nan]]), "found nan at row 0, column 1"),
        (np.array([["a"]]), "a matrix of numbers"),
        (np.array([[None]], object), "Object arrays cannot be loaded|cannot be memory-mapped|object"),
        (np.zeros((0, 0)), "same number"),
    ],
)
def test_a_wrong_matrix_is_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "s.npy", array)
    with pytest.raises(UsageError, match=said):
        score("retrieval", "--predictions", tmp_path / "s.npy")


def test_what_is_no_npy_file(tmp_path: Path) -> None:
    (tmp_path / "s.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match="expected an .npy file"):
        score("retrieval", "--predictions", tmp_path / "s.npy")
    np.savez(tmp_path / "s.npz", a=np.zeros(2))
    with pytest.raises(UsageError, match="archive of several arrays"):
        score("retrieval", "--predictions", tmp_path / "s.npz")
