"""Parsing sentences with the parser that Diptych ships: what becomes of every kind of text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from diptych import weights
from diptych.models.common.trees import Tree as ModelTree
from diptych.models.common.trees import plan_trees
from diptych.models.parser.flat import is_punctuation
from diptych.models.parser.tree import read_brackets
from diptych.stage import Batch, Output
from diptych.stages.parse import Parse, ParseConfig
from diptych.stages.splitting import tokens

pytest.importorskip("stanza")
CAPTION = "A man in a red shirt is riding a horse."


@pytest.fixture(scope="module")
def stage() -> Iterator[Parse]:
    made = Parse()
    made.setup("cpu")
    yield made
    made.close()


def run(stage: Parse, *texts: str | None) -> Output:
    out = stage.process(Batch(tuple(map(str, range(len(texts)))), {"sentence.text": list(texts)}, stage))
    out.check("parse")
    return out


def phrases(out: Output, row: int) -> set[str]:
    value = {name: values[row] for name, values in out.values.items()}
    return {
        " ".join(value["words"][a:b])
        for a, b, phrase in zip(value["start"], value["end"], value["noun_phrase"], strict=True)
        if phrase
    }


def test_a_caption_has_its_noun_phrases(stage: Parse) -> None:
    out = run(stage, CAPTION)
    assert phrases(out, 0) == {"A man in a red shirt", "A man", "a red shirt", "a horse"}
    assert out.values["language"] == ["en"] and out.values["parsed"] == [True]
    assert read_brackets(out.values["bracket"][0]).leaves() == out.values["words"][0] == tokens(CAPTION)


def test_rows_do_not_depend_on_their_neighbours(stage: Parse) -> None:
    texts = [CAPTION, "Two dogs play with a frisbee on the grass.", "A bench", "A dog and a cat sit under a table"]
    together = run(stage, *texts)
    for row, text in enumerate(texts):
        alone = run(stage, text)
        assert {n: v[0] for n, v in alone.values.items()} == {n: v[row] for n, v in together.values.items()}


def test_what_is_not_parsed_says_why(stage: Parse) -> None:
    reasons = {
        "": "no_words", None: "no_words", " \t": "no_words", "?! ...": "no_words", "word " * 81: "too_long",
        "dog " * 10_000: "too_long", "一个男人骑着一匹马。": "no_model", "Собака": "no_model",
        "Ein Mann fährt mit dem Rad durch die Stadt.": "no_model", "الرجل يركب الحصان في المدينة": "no_model",
    }  # fmt: skip
    out = run(stage, CAPTION, *reasons)
    assert [state.code for state in out.states] == ["", *reasons.values()]
    assert out.values["bracket"][1:] == [None] * len(reasons) and phrases(out, 0)
    assert (out.states[5].value, out.states[5].threshold) == (81, 80)


def test_rows_of_every_kind_can_be_stored(stage: Parse, tmp_path: Path) -> None:
    out = run(stage, CAPTION, "", "A \ud800 dog", "一")
    table = pa.table({name: pa.array(out.values[name], stage.outputs.field(name).type) for name in stage.outputs.names})
    pq.write_table(table.cast(stage.outputs), tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet")["words"].to_pylist()[2] == ["A", "\ufffd", "dog"]


def test_odd_text_gives_a_tree_of_its_words(stage: Parse) -> None:
    texts = [
        "A dog 😀 on a bench", "A \0 dog", "a lone \ud800 surrogate on a table", "A (small) dog [here] {x}", "1 2 3",
        "A שלום dog on the grass", "A\u202e dog\u202c runs", "dog", "a b", "A “quoted” dog’s toy & a cat's $5 % bed",
        "😀😀", "A big " + "a" * 15,
    ]  # fmt: skip
    out = run(stage, *texts)
    assert {state.code for state in out.states} == {""}
    for row in range(len(texts)):
        value = {name: values[row] for name, values in out.values.items()}
        leaves = sorted(set(range(len(value["parent"]))) - set(value["parent"]))
        assert [value["words"][value["start"][n]] for n in leaves] == [
            w for w in value["words"] if not is_punctuation(w)
        ]
        "".join(value["words"]).encode("utf-8")
        tree = ModelTree(*(np.array(value[name], np.int64) for name in ("parent", "noun_phrase", "start")))
        assert plan_trees([tree]).nodes == len(value["parent"])


def test_a_sentence_the_parser_cannot_read_is_flat_and_takes_no_other_with_it(
    stage: Parse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage._parsers["en"].parse

    def failing(sentences: Any) -> Any:
        if any("poison" in words for words in sentences):
            raise RuntimeError("broken")
        return real(sentences)

    monkeypatch.setattr(stage._parsers["en"], "parse", failing)
    out = run(stage, CAPTION, "A poison bottle.", CAPTION)
    assert out.values["parsed"] == [True, False, True] and out.values["bracket"][1] is None
    assert out.values["parent"][1] == [-1, 0, 0, 0] and not any(out.values["noun_phrase"][1])
    assert phrases(out, 0) == phrases(out, 2) != set()


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), torch.AcceleratorError("CUDA error"),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")],
    ids=["memory of a device", "device", "memory"],
)  # fmt: skip
def test_a_device_that_fails_makes_no_sentence_flat(
    stage: Parse, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(sentences: Any) -> Any:
        raise error

    monkeypatch.setattr(stage._parsers["en"], "parse", failing)
    with pytest.raises(type(error)):
        run(stage, CAPTION)


def test_the_shipped_parser_is_the_registered_one() -> None:
    assert Parse().weight_names() == ("parser_english",)
    assert weights.state("parser_english") == "present" and weights.path("parser_english").stat().st_size <= 8_000_000
    assert Parse(ParseConfig(models={"de": "x", "en": "x"})).weight_names() == ("x",)


def test_short_sentences_may_be_left_out() -> None:
    stage = Parse(ParseConfig(short="", max_words=5))
    stage.setup("cpu")
    out = run(stage, "A dog.", CAPTION)
    assert [state.code for state in out.states] == ["no_model", "too_long"]


@pytest.mark.slow
@pytest.mark.data("DIPTYCH_COCO")
def test_real_captions_are_parsed(stage: Parse) -> None:
    """Whether the phrases are right was read by hand: docs/models/english-parser.md."""
    files = sorted(Path(os.environ["DIPTYCH_COCO"]).glob("annotations/captions_*.json"))
    captions = [item["caption"].strip() for item in json.loads(files[0].read_text())["annotations"]][:400]
    out = run(stage, *captions)
    assert [state.code for state in out.states if state.code not in ("", "too_long")] == []
    assert all(out.values["parsed"][row] for row, state in enumerate(out.states) if not state.code)
    assert 3 <= sum(map(sum, filter(None, out.values["noun_phrase"]))) / len(captions) <= 5
