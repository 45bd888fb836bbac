"""The text rules one by one, and what counts as which language."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pytest

from diptych.stage import Batch, RowState, Status
from diptych.stages.clean_text import CleanText, CleanTextConfig, boilerplate_share
from diptych.stages.language import LanguageGuesser, mostly_han, normalised
from diptych.stages.relevance_scorers import Ngrams

EN = "The mayor opened the new bridge on Monday. Thousands of people walked across the river in the rain."
ZH = "市长星期一为新桥剪彩。成千上万的人冒雨走过了河。这座桥花了三年时间建成。"
DE = "Der Bürgermeister eröffnete am Montag die neue Brücke. Tausende gingen im Regen über den Fluss."


def run(text: str, title: str = "", language: str = "", **config: Any) -> tuple[RowState, dict[str, Any]]:
    stage = CleanText(CleanTextConfig(**config))
    stage.setup("cpu")
    columns = {"title": title, "text": text, "summary": "", "language": language}
    batch = Batch(("d",), {f"documents.{name}": [value] for name, value in columns.items()}, stage)
    out = stage.process(batch)
    out.check("clean_text")
    return out.states[0], {name: values[0] for name, values in out.values.items()}


@pytest.mark.parametrize(("text", "language", "words"), [(EN, "en", 18), (ZH, "zh", 33)])
def test_good_texts_are_described(text: str, language: str, words: int) -> None:
    state, values = run(text)
    assert state.status is Status.OK
    assert (values["language"], values["characters"], values["words"], values["paragraphs"]) == (
        language,
        len(text),
        words,
        1,
    )


@pytest.mark.parametrize(
    ("text", "config", "rule", "value", "threshold"),
    [
        ("", {}, "empty_text", 0.0, 1.0),
        (" \n\t", {}, "empty_text", 0.0, 1.0),
        ("Short.", {}, "short_text", 6.0, 40.0),
        (EN, {"max_characters": 50}, "long_text", float(len(EN)), 50.0),
        (DE, {}, "language", 1.0, 0.5),
        ("We use cookies to serve you.\nAll rights reserved by us.\nA line.", {}, "boilerplate", None, 0.5),
    ],
)
def test_each_rule(text: str, config: dict[str, Any], rule: str, value: float | None, threshold: float) -> None:
    state, _ = run(text, **config)
    assert (state.status, state.code, state.threshold) == (Status.REJECTED, rule, threshold)
    assert value is None or state.value == pytest.approx(value, abs=0.02)


def test_rules_can_be_switched_off() -> None:
    assert run("", min_characters=0)[0].status is Status.OK
    assert run(DE, languages=())[0].status is Status.OK
    assert run("lorem ipsum dolor sit amet " * 4, max_boilerplate=None, languages=())[0].status is Status.OK


def test_a_declared_language_is_believed_where_the_text_is_short() -> None:
    state, values = run("Brücke", title="", language="de-AT", min_characters=1)
    assert (state.code, values["language"], values["confidence"]) == ("language", "de", 0.0)


def test_marks_on_one_letter_take_no_time() -> None:
    marks = "a" + "\u0300\u0316" * 50_000
    start = time.process_time()
    assert run(marks)[1]["characters"] == 100_000 and len(Ngrams((2,)).counts(marks)) > 1
    assert time.process_time() - start < 5
    for text in ("e\u0301\u0316 \u1112\u1161\u11ab \ufb01 \u30ab\u3099", "\u2026" * 1000 + "e\u0301"):
        for form in ("NFC", "NFKC"):
            assert normalised(form, text) == unicodedata.normalize(form, text)


def test_repeated_lines_are_boilerplate() -> None:
    assert boilerplate_share("a line\na line\nanother") == pytest.approx(6 / 19, abs=1e-6)
    assert boilerplate_share("") == 0.0


def test_a_long_paragraph_about_cookies_is_text() -> None:
    assert boilerplate_share("The cookie policy of the ministry " + "was discussed at length " * 20) == 0.0


def test_script() -> None:
    assert mostly_han("他用 GPT-4 写了这篇文章。") and not mostly_han("The word 桥 means bridge.")
    assert not mostly_han("これは日本語のぶんしょうです。橋")


@pytest.mark.parametrize("text", ["", "12345 !!", "\u202e", "😀" * 100, "word " * 10_000, "\ufffd"])
def test_odd_texts_have_a_defined_result(text: str) -> None:
    guess = LanguageGuesser().guess(text)
    assert 0 <= guess.confidence <= 1
