"""Hashtags, mentions, addresses and spelling: what the tokens lose, and that the original keeps its offsets."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.stage import Batch
from diptych.stages.sentences import Sentences
from diptych.stages.spelling import american
from diptych.stages.wording import Edit, WordingConfig, edited, edits

POST = "Sunset over #LosAngeles by @ann_lee, see https://t.co/x#y?z=@b. #no1 C# a#b me@example.org #12"
BRITISH = """colour favourite honour centre theatre metres organise organisation analyse catalogue travelling jewellery
defence licence grey tyre programme aluminium plough moustache""".split()
AMERICAN = """color favorite honor center theater meters organize organization analyze catalog traveling jewelry
defense license gray tire program aluminum plow mustache""".split()


def words(text: str, british: bool = False, **config: Any) -> str:
    return edited(text, 0, len(text), edits(text, WordingConfig(**config), british)).strip()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, POST),
        ({"hashtags": "words"}, POST.replace("#Los", "Los").replace("#no1", "no1")),
        ({"hashtags": "strip"}, POST.replace("#LosAngeles", "").replace("#no1", "")),
        ({"mentions": "strip"}, POST.replace("@ann_lee", "")),
        ({"addresses": "strip"}, POST.replace("https://t.co/x#y?z=@b", "")),
    ],
)
def test_marks(config: dict[str, Any], expected: str) -> None:
    assert words(POST, **config) == expected


def test_mentions_in_text_without_blanks() -> None:
    def left(text: str) -> str:
        return words(text, mentions="strip")

    assert left("转自@新浪新闻：你好") == "转自：你好" and left("感谢＠山田，再见") == "感谢，再见"
    assert left("ありがとう@ann_lee!") == "ありがとう!"
    for text in ("写信到me@example.org。", "邮箱：张三@例子.中国", "a@b", "me.@b", "x_@b", "@@b", "＠@b", "价@ 5"):
        assert left(text) == text


@pytest.mark.parametrize("piece", ["a1b2", "#a ", "@b ", "a@", "www.a ", "a@b-"])
def test_edits_of_long_texts_take_no_time(piece: str) -> None:
    start = time.process_time()
    edits(piece * (60_000 // len(piece)), WordingConfig(mentions="strip", hashtags="strip"), british=True)
    assert time.process_time() - start < 2


def test_an_edit_in_each_of_many_sentences_takes_no_time() -> None:
    start = time.process_time()
    found = run({"hashtags": "strip"}, text="A harbour. #Sunset " * 10_000)
    assert len(found["edits"]) == 10_000 and {tuple(i["tokens"]) for i in found["items"]} == {("A", "harbour", ".")}
    assert time.process_time() - start < 2.5


def test_spelling() -> None:
    for british, expected in zip(BRITISH, AMERICAN, strict=True):
        assert american(british) == expected and american(expected) is None
        assert american(british.title()) == expected.title() and american(british.upper()) == expected.upper()
    for word in ("buses", "gauge", "aesthetic", "dialogue", "disc", "four", "promise", "exercise", "our", "well", ""):
        assert american(word) is None
    text = "The grey-haired organiser's COLOURS: #colour @colour www.colour.uk/centre colour@centre.org"
    assert words(text, british=True) == text.replace("grey", "gray").replace(
        "organiser's COLOURS", "organizer's COLORS"
    )
    assert words("colour") == "colour"


def run(config: dict[str, Any], **columns: Any) -> dict[str, Any]:
    stage = Sentences(Sentences.Config.model_validate(config))
    stage.setup("cpu")
    names = ("title", "text", "summary", "language", "keyphrases", "source", "subset")
    values: dict[str, Any] = {f"documents.{n}": [columns.get(n, [] if n == "keyphrases" else "")] for n in names}
    out = stage.process(Batch(("d",), {**values, "pairs.caption": [columns.get("captions", [])]}, stage))
    out.check("sentences")
    return {name: values[0] for name, values in out.values.items()}


def test_the_stage_names_every_edit_and_keeps_the_text() -> None:
    text = "The grey harbour. #Harbour #Sunset\nA new theatre opens @townhall."
    config = {"hashtags": "keyphrases", "mentions": "strip", "british": ["gazette"]}
    found = run(config, text=text, captions=["Colour"], keyphrases=["harbour"], source="gazette", language="en")
    tokens = [" ".join(item["tokens"]) for item in found["items"]]
    assert tokens == ["The gray harbor .", "A new theater opens .", "Color"], "a sentence of hashtags has no words left"
    assert all(text[i["start"] : i["end"]] == i["text"] for i in found["items"] if i["field"] == "text")
    assert found["keyphrases"] == ["harbour", "Harbour", "Sunset"]
    rules = [(e["field"], e["pair"], e["rule"], e["text"]) for e in found["edits"]]
    assert rules == [
        ("text", None, "spelling", "gray"),
        ("text", None, "spelling", "harbor"),
        ("text", None, "hashtag", ""),
        ("text", None, "hashtag", ""),
        ("text", None, "spelling", "theater"),
        ("text", None, "mention", ""),
        ("caption", 0, "spelling", "Color"),
    ]
    assert [e["original"] for e in found["edits"]][:3] == ["grey", "harbour", "#Harbour"]
    assert all(text[e["start"] : e["end"]] == e["original"] for e in found["edits"] if e["field"] == "text")
    elsewhere = run(config, text=text, source="other")
    assert not any(e["rule"] == "spelling" for e in elsewhere["edits"])
    assert run({}, text=text, source="gazette")["edits"] == []


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="a#@ .ghtps:/wcolur\n", max_size=60), st.integers(0, 60))
def test_edits_are_ordered_apart_and_cut_anywhere(text: str, cut: int) -> None:
    config = WordingConfig(hashtags="strip", mentions="strip", addresses="strip")
    found: list[Edit] = edits(text, config, british=True)
    assert all(a.end <= b.start for a, b in zip(found, found[1:], strict=False))
    cut = min(cut, len(text))
    assert edited(text, 0, cut, found) + edited(text, cut, len(text), found) == edited(text, 0, len(text), found)
