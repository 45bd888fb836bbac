"""Boundaries, tokens and offsets in English, Chinese and odd text."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.stage import Batch
from diptych.stages.sentences import Sentences
from diptych.stages.splitting import SentenceSplitter, paragraphs, tokens

SPLITTER = SentenceSplitter()


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in SPLITTER.split(text)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith paid $3.50 to J. R. R. Tolkien.", 'He said "Go home."', "Then he left."],
        ["The U.S. economy grew 3.2% in Jan. 2020.", "What?!", "No... maybe.", "See e.g. the report."],
        ["It costs approx. 5 dollars (see p. 3).", "Mr. O'Neil of Acme Inc. agreed.", "She doesn't."],
        ["“I am here.” she said.", "‘Never!’ he cried.", "It was 5 p.m. on Monday.", "She left."],
        ["Fig. 3 shows it.", "No. 5 is alive.", "St. Louis is big.", "He lives on Main St.", "The house is red."],
        ["Visit example.com.", "See https://a.b/c?d=e.", "Photo by A. Smith."],
        ["No full stop"],
    ],
)
def test_english(sentences: list[str]) -> None:
    assert split(" ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        [
            "他说：“你好。”",
            "然后走了！",
            "真的吗？",
            "是的……",
            "也许；",
            "好吧。",
            "“我来了！”",
            "她喊道。",
            "3.5米高。",
        ],
        ["第二代GPT-4模型很好!", "对吧?", "共有1,200人；", "完"],
        ["（他笑了。）", "她没有笑。"],
    ],
)
def test_chinese(sentences: list[str]) -> None:
    assert split("".join(sentences)) == sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She can't, it's the dogs' toy.", "She ca n't , it 's the dogs ' toy ."),
        ("A state-of-the-art 1,000.5 kg U.S. robot", "A state-of-the-art 1,000.5 kg U.S. robot"),
        ("Mr. O'Brien met J. K. Rowling at 5 p.m.", "Mr. O'Brien met J. K. Rowling at 5 p.m."),
        ("don’t #tag @you 3.2% $5", "do n’t #tag @you 3.2 % $ 5".replace("3.2 %", "3.2%")),
        ("中文AI模型2024年。", "中 文 AI 模 型 2024 年 。"),
        ("me@x.com http://a.b/c?d", "me@x.com http://a.b/c?d"),
        ('"Hi!" (yes)', '" Hi ! " ( yes )'),
        ("cafe\u0301", "cafe\u0301"),
        ("", ""),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    assert tokens(text) == expected.split()


ALPHABET = st.text(
    st.one_of(st.sampled_from(" \n.!?。！？；…”\"'()中文的A b1,;\u200b\u202e😀é"), st.characters(codec="utf-8")),
    max_size=200,
)


@settings(max_examples=150, deadline=None)
@given(ALPHABET)
def test_offsets_hold_for_any_text(text: str) -> None:
    end = 0
    for a, b in paragraphs(text):
        assert end <= a < b and "\n" not in text[a:b]
        end = b
        last = 0
        for c, d in SPLITTER.split(text[a:b]):
            assert last <= c < d <= b - a
            assert (
                not text[a:b][last:c]
                .strip(
                    "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\ufeff"
                    + "".join(map(chr, range(0x2060, 0x206A)))
                )
                .strip()
            )
            last = d
    rest = text
    for token in tokens(text):
        place = rest.find(token)
        assert token and place >= 0
        rest = rest[place + len(token) :]


def run(language: str = "", **fields: Any) -> list[dict[str, Any]]:
    stage = Sentences()
    stage.setup("cpu")
    columns: dict[str, Any] = {
        "documents.title": "",
        "documents.text": "",
        "documents.summary": "",
        "pairs.caption": [],
        "documents.keyphrases": [],
        "documents.source": "",
        "documents.subset": "",
    }
    columns |= {"documents.language": language}
    columns |= {("pairs.caption" if n == "caption" else f"documents.{n}"): v for n, v in fields.items()}
    out = stage.process(Batch(("d",), {n: [v] for n, v in columns.items()}, stage))
    out.check("sentences")
    return out.values["items"][0]


def test_items_point_into_the_original() -> None:
    text = "First one. Second one.\r\n\n  Third, after a break.\n中文句子。再来一句！"
    captions = ["A dog. It runs.", "", "猫。\nA second caption"]
    items = run(title="A title", text=text, summary="Short.", caption=captions)
    for item in items:
        source = {"title": "A title", "text": text, "summary": "Short."}.get(item["field"]) or captions[
            item["paragraph"]
        ]
        assert source[item["start"] : item["end"]] == item["text"]
        assert item["tokens"] == tokens(item["text"])
    places = [(i["field"], i["paragraph"], i["position"], i["text"]) for i in items]
    assert places == [
        ("title", 0, 0, "A title"),
        ("text", 0, 0, "First one."),
        ("text", 0, 1, "Second one."),
        ("text", 1, 0, "Third, after a break."),
        ("text", 2, 0, "中文句子。"),
        ("text", 2, 1, "再来一句！"),
        ("summary", 0, 0, "Short."),
        ("caption", 0, 0, "A dog."),
        ("caption", 0, 1, "It runs."),
        ("caption", 2, 0, "猫。"),
        ("caption", 2, 1, "A second caption"),
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.one_of(st.sampled_from("\0\ud800\udfff.。 😀👩\u200d\u202eא؟\ufeffa\n"), st.characters()), max_size=120),
    st.sampled_from(["", "en", "zh", "ar", "he", "xx", "en_US"]),
)
def test_any_string_gives_items_that_point_into_it(text: str, language: str) -> None:
    """Also NUL, emoji, right to left, and lone surrogates, which stand as U+FFFD."""
    kept = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    for item in run(language, text=text, caption=[text]):
        assert item["text"] and kept[item["start"] : item["end"]] == item["text"]
        item["text"].encode("utf-8")


def test_odd_texts_have_defined_results() -> None:
    def found(text: str) -> list[str]:
        return [item["text"] for item in run(text=text)]

    assert found("one \ud800 two. Three \udfff.") == ["one \ufffd two.", "Three \ufffd."]
    assert found("A\0b. C") == ["A\0b.", "C"]
    assert found("😀😀. 👩\u200d👧 here. שלום עולם. מה?") == ["😀😀.", "👩\u200d👧 here.", "שלום עולם.", "מה?"]
    many = run(text="This is a short sentence. " * 2000)
    assert len(many) == 2000 and many[-1]["start"] == 1999 * 26 and many[0]["tokens"][-1] == "."


def test_no_text_is_no_items() -> None:
    assert run() == [] and run(title=None, caption=None, text=" \n ") == []


@pytest.mark.parametrize("piece", ["a1b2", "ab.", "a+", "a@b.", "9a-", "a1" * 31 + ".", "+-", "a@" + "b-" * 40])
def test_tokens_of_text_without_breaks_take_no_time(piece: str) -> None:
    start = time.process_time()
    assert "".join(tokens(piece * (40_000 // len(piece)))) == piece * (40_000 // len(piece))
    assert time.process_time() - start < 2


def test_abbreviations_without_a_sentence_between_take_no_time() -> None:
    text = ("approx. 5 " * 2000).strip()
    start = time.process_time()
    assert split(text) == [text]
    assert time.process_time() - start < 2


def test_long_texts_take_no_time() -> None:
    for text in (
        "word " * 10_000,
        " " * 20_000 + "a" + " " * 20_000 + "b",
        "a'" * 20_000,
        "好" * 20_000,
        "a.b." * 5000,
    ):
        assert split(text) is not None and tokens(text)
