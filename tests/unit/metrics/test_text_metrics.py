"""ROUGE and BLEU against rouge-score and sacrebleu, and against words counted by hand."""

from __future__ import annotations

import math
import random

import pytest

from diptych.metrics.bleu import bleu, bleu_words
from diptych.metrics.rouge import longest_common_subsequence, rouge
from diptych.metrics.text import characters, unit_of

WORDS = [
    "the",
    "Cat",
    "sat,",
    "on",
    "a",
    "mat.",
    "3.5",
    "10-year",
    "&quot;so&quot;",
    "U.S.",
    "won't",
    "(and)",
    "é",
    ".",
]
HAN = "红色的汽车停在一棵树旁边，2021年 A。"


def texts(seed: int, count: int, pool: list[str] | str, joint: str, longest: int = 14) -> list[str]:
    rng = random.Random(seed)
    return [joint.join(rng.choices(pool, k=rng.randint(0, longest))) for _ in range(count)]


ENGLISH = texts(0, 60, WORDS, " "), texts(1, 60, WORDS, " ")
CHINESE = texts(2, 40, HAN, ""), texts(3, 40, HAN, "")


class Characters:
    def tokenize(self, text: str) -> list[str]:
        return list(text.lower().replace(" ", ""))


@pytest.mark.parametrize(("unit", "pair"), [("words", ENGLISH), ("characters", CHINESE)])
def test_rouge_equals_rouge_score(unit: str, pair: tuple[list[str], list[str]]) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    tokenizer = Characters() if unit == "characters" else None
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False, tokenizer=tokenizer)
    for predicted, gold in zip(*pair, strict=True):
        reference = scorer.score(gold, predicted)
        ours = rouge([predicted], [gold], unit)  # type: ignore[arg-type]
        for name in ("1", "2", "L"):
            assert ours[f"rouge_{name.lower()}"] == pytest.approx(reference[f"rouge{name}"].fmeasure, abs=1e-12)


def test_rouge_is_the_mean_over_documents() -> None:
    found = rouge(["a cat sat", "no"], ["the cat sat down", "yes"])
    assert found["rouge_1"] == pytest.approx((2 * 2 / 3 * 2 / 4 / (2 / 3 + 2 / 4)) / 2)
    assert found["rouge_2"] == pytest.approx((2 * 1 / 2 * 1 / 3 / (1 / 2 + 1 / 3)) / 2)
    assert all(math.isnan(v) for v in rouge([], []).values())
    with pytest.raises(ValueError):
        rouge(["a"], [])


def test_longest_common_subsequence_by_enumeration() -> None:
    rng = random.Random(4)

    def naive(a: str, b: str) -> int:
        if not a or not b:
            return 0
        return max(naive(a[1:], b), naive(a, b[1:]), (a[0] == b[0]) + naive(a[1:], b[1:]))

    for _ in range(60):
        a, b = ("".join(rng.choices("abc", k=rng.randint(0, 6))) for _ in range(2))
        assert longest_common_subsequence(a, b) == naive(a, b)


@pytest.mark.parametrize(("unit", "pair"), [("words", ENGLISH), ("characters", CHINESE)])
def test_bleu_equals_sacrebleu(unit: str, pair: tuple[list[str], list[str]]) -> None:
    from sacrebleu.metrics.bleu import BLEU

    for size in (1, 3, len(pair[0])):
        predicted, gold = pair[0][-size:], pair[1][-size:]
        ours = bleu(predicted, gold, unit)  # type: ignore[arg-type]
        for n in range(1, 5):
            tokenizer = "char" if unit == "characters" else "13a"
            reference = BLEU(lowercase=True, tokenize=tokenizer, max_ngram_order=n).corpus_score(predicted, [gold])
            assert 100 * ours[f"bleu_{n}"] == pytest.approx(reference.score, abs=1e-9), (size, n)


def test_bleu_words_are_those_of_13a() -> None:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    reference = Tokenizer13a()
    for text in [*ENGLISH[0], 'He said: "1,000.5 -- it\'s 9-5"\nfor co-\noperation <skipped> &lt;b&gt; {x}~^`', ""]:
        assert " ".join(bleu_words(text)) == reference(text.lower())


def test_bleu_where_little_matches() -> None:
    assert bleu(["same words here again"], ["same words here again"])["bleu_4"] == 1.0
    assert set(bleu(["", ""], ["a", "b"]).values()) == {0.0} == set(bleu(["x"], ["a"]).values())
    assert bleu(["a b"], ["a b"])["bleu_4"] == 0.0  # no 4-gram at all: sacrebleu says 0, too
    assert bleu(["a"], ["a b"])["bleu_1"] == pytest.approx(math.exp(-1))
    assert all(math.isnan(v) for v in bleu([], []).values())


def test_units() -> None:
    assert characters("一 辆\tCar") == ["一", "辆", "c", "a", "r"]
    assert unit_of(["一辆红色的汽车 BMW"]) == "characters" and unit_of(["a 车"] * 2 + ["red"]) == "words"
    assert unit_of([]) == "words"
